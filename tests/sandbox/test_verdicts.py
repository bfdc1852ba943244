"""Honest programs get the verdict that running them with their test would give."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llmeval.core.errors import UsageError
from llmeval.sandbox import Limits, Sandbox, SandboxError, detect_tier
from llmeval.sandbox.names import find_names
from tests.sandbox.processes import descendants, wait_until_gone
from tests.support.shared import ROOT, shared_dir

PROBLEMS = {
    "arithmetic": (
        "def f(x):\n    '''Double.'''\n",
        "    return 2 * x\n",
        "assert candidate(2) == 4",
    ),
    "tolerance": (
        "import math\ndef f(x):\n    '''Root.'''\n",
        "    return math.sqrt(x)\n",
        "assert abs(candidate(2) - 1.4142135) < 1e-6",
    ),
    "helper of the prompt": (
        "def shift(s):\n    return s[1:] + s[0]\n\ndef f(s):\n    '''Undo shift.'''\n",
        "    return s[-1] + s[:-1]\n",
        "assert candidate(shift('abc')) == 'abc'",
    ),
    "entry point by its own name": (
        "def f(x):\n",
        "    return x\n",
        "assert f(3) == candidate(3) == 3",
    ),
    "in a loop": (
        "def f(x):\n",
        "    return x * x\n",
        "assert all(candidate(i) == i * i for i in range(9))",
    ),
    "raises": (
        "def f(x):\n",
        "    raise ValueError('bad')\n",
        "try:\n        candidate(1)\n        assert False\n    except ValueError as e:\n"
        "        assert str(e) == 'bad'",
    ),
    "own exception class": (
        "def f(x):\n",
        "    class Mine(KeyError): pass\n    raise Mine('k')\n",
        "try:\n        candidate(1)\n        assert False\n    except KeyError:\n        pass",
    ),
    "alters its argument": (
        "def f(xs):\n",
        "    xs.sort()\n",
        "xs = [3, 1, 2]\n    assert candidate(xs) is None\n    assert xs == [1, 2, 3]",
    ),
    "generator": (
        "def f(n):\n",
        "    yield from range(n)\n",
        "assert list(candidate(3)) == [0, 1, 2]",
    ),
    "counter": (
        "def f(s):\n",
        "    import collections\n    return collections.Counter(s)\n",
        "assert candidate('aab') == {'a': 2, 'b': 1}",
    ),
    "type as an argument": (
        "def f(x, kind):\n",
        "    return isinstance(x, kind)\n",
        "assert candidate(1, int)",
    ),
    "not a number": (
        "def f():\n",
        "    return float('nan')\n",
        "assert candidate() != candidate()",
    ),
    "prints a lot": (
        "def f(x):\n",
        "    print('x' * 10**6)\n    return x\n",
        "assert candidate(1) == 1",
    ),
    "keywords": ("def f(a, *, b):\n", "    return a - b\n", "assert candidate(b=1, a=3) == 2"),
    "dataclass": (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass P:\n    x: int\ndef f(x):\n",
        "    return P(x).x\n",
        "assert candidate(5) == 5",
    ),
    "unseeded draws": (
        "def f(x):\n    '''Same.'''\n",
        "    return x\n",
        "import random\n    r = random.random()\n    assert candidate(r) == r",
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_correct_function_passes(sandbox: Sandbox, name: str) -> None:
    prompt, solution, test = PROBLEMS[name]
    verdict = sandbox.check_function(prompt, solution, f"def check(candidate):\n    {test}\n", "f")
    assert verdict.passed, verdict
    assert verdict.tier == sandbox.tier


def test_wrong_function_fails_with_the_assert(sandbox: Sandbox) -> None:
    test = "def check(candidate):\n    assert candidate(2) == 4\n"
    verdict = sandbox.check_function("def f(x):\n", "    return x\n", test, "f")
    assert verdict.status == "failed"
    assert verdict.reason == "AssertionError: assert candidate(2) == 4"


@pytest.mark.parametrize(
    ("code", "asserts", "setup"),
    [
        ("def add(a, b): return a + b", ["assert add(1, 2) == 3"], ""),
        ("def sum(a, b): return a * b", ["assert sum(3, 4) == 12"], ""),
        ("def f(x): return [2, 1]", ["assert set(f(0)) == set([1, 2])"], ""),
        (
            "import sys\ndef size(x): return sys.getsizeof(x)",
            ["assert size(1) == sys.getsizeof(1)"],
            "",
        ),
        (
            "class Pair:\n    def __init__(s, a, b): s.a, s.b = a, b\ndef f(ps): return ps[0].a",
            ["assert f([Pair(5, 24), Pair(1, 2)]) == 5"],
            "",
        ),
        (
            "class Node:\n    def __init__(s, v): s.v, s.left = v, None\ndef f(n): return n.left.v",
            ["assert f(root) == 2"],
            "root = Node(1)\nroot.left = Node(2)",
        ),
        (
            "def f(x): return x / 3",
            ["assert math.isclose(f(1), 0.333, abs_tol=1e-3)"],
            "import math",
        ),
    ],
)
def test_correct_program_passes_its_asserts(
    sandbox: Sandbox, code: str, asserts: list[str], setup: str
) -> None:
    verdict = sandbox.check_asserts(code, asserts, setup)
    assert verdict.passed, verdict


def test_helpers_in_asserts_stay_pythons_own(sandbox: Sandbox) -> None:
    cheat = "set = lambda x: 0\nsys = math = None\ndef f(x): return []"
    assert not sandbox.check_asserts(cheat, ["assert set(f(0)) == set([1])"]).passed
    cheat = "class math:\n    isclose = lambda *a, **k: True\ndef f(x): return 7"
    assert not sandbox.check_asserts(cheat, ["assert math.isclose(f(1), 1)"]).passed


def test_own_object_equals_nothing(sandbox: Sandbox) -> None:
    code = "class A:\n    pass\nx = A()\ndef f(): return x\n"
    for test in (
        "assert f() == f()",
        "assert f() != 3",
        "assert f() in [3, 4]",
        "assert not f() == 1",
    ):
        verdict = sandbox.check_asserts(code, [test])
        assert verdict.status == "failed"
        assert "OpaqueComparison" in verdict.reason


def test_a_broken_test_is_no_verdict(sandbox: Sandbox) -> None:
    code = "def f(x): return x"
    assert sandbox.check_asserts(code, ["assert f("]).status == "error"
    assert sandbox.check_asserts(code, ["assert f(lambda: 0)"]).status == "error"
    assert sandbox.check_function("", code, "def check(c", "f").status == "error"


def test_same_program_gets_the_same_verdict(sandbox: Sandbox) -> None:
    code = "import random\ndef f(): return [random.random(), ''.join({'a', 'b', 'c', 'd'})]"
    asserts = ["v = f()", "assert False, repr(v)"]
    reasons = {sandbox.check_asserts(code, asserts).reason for _ in range(5)}
    assert len(reasons) == 1


def test_names_are_found() -> None:
    names = find_names(
        ["assert f(x) == sys.maxsize", "assert len(g(y)) == 1"], "x = Node(1)\ny = 2"
    )
    assert names.candidate == ("Node", "f", "g")
    assert names.modules == ("sys",)
    assert find_names(["assert max(1, 2) == 2"]).candidate == ("max",)
    assert find_names(["assert max(1) == 2", "assert min(1) == 2"]).candidate == ()


def test_script_is_run_with_its_input(sandbox: Sandbox) -> None:
    output = sandbox.run_script(
        "import sys\nprint(int(input()) * 2)\nprint('e', file=sys.stderr)", "21\n"
    )
    assert output.stdout == "42\n"
    assert output.stderr == "e\n"
    assert (output.exit_code, output.status) == (0, "passed")


@pytest.mark.parametrize(
    ("code", "status", "exit_code"),
    [
        ("import sys\nsys.exit(3)", "failed", 3),
        ("1 / 0", "failed", 1),
        ("while True: pass", "timeout", None),
        ("while True: print('x' * 1000)", "output", None),
        ("x = 'x' * 10**10", "memory", 1),
        ("import os\nos.abort()", "crashed", None),
        ("def f(:", "failed", 1),
    ],
)
def test_script_ends_as_it_does(
    sandbox: Sandbox, code: str, status: str, exit_code: int | None
) -> None:
    sandbox.run_script("")  # the nursery is there
    before = descendants()
    output = sandbox.run_script(code)
    assert (output.status, output.exit_code) == (status, exit_code), output.stderr
    assert len(output.stdout) <= sandbox.limits.output_kb << 10
    assert not wait_until_gone(descendants() - before)


def test_many_threads_share_one_sandbox(sandbox: Sandbox) -> None:
    def check(number: int) -> bool:
        test = f"def check(candidate):\n    assert candidate({number}) == {number * (number % 2)}\n"
        return sandbox.check_function("", "def f(x): return x", test, "f").passed

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(check, range(1, 33))) == [n % 2 == 1 for n in range(1, 33)]


def test_sandbox_survives_the_end_of_the_thread_that_used_it_first(tier: str) -> None:
    with Sandbox(tier=tier, allow_unsafe=True) as sandbox:
        for _ in range(2):
            with ThreadPoolExecutor(1) as pool:
                verdict = pool.submit(
                    sandbox.check_asserts, "def f(): return 1", ["assert f() == 1"]
                )
                assert verdict.result().passed


def test_dead_nursery_is_an_error_then_replaced(tier: str) -> None:
    with Sandbox(tier=tier, allow_unsafe=True) as sandbox, ThreadPoolExecutor(1) as pool:
        assert sandbox.check_asserts("def f(): return 1", ["assert f() == 1"]).passed
        mine = descendants()
        waiting = pool.submit(sandbox.check_asserts, "import time\ntime.sleep(60)", ["assert f()"])
        while descendants() == mine:
            time.sleep(0.05)
        for pid in mine:
            with contextlib.suppress(ProcessLookupError):  # went with the one before it
                os.kill(pid, signal.SIGKILL)
        with pytest.raises(SandboxError):
            waiting.result(30)
        assert sandbox.check_asserts("def f(): return 1", ["assert f() == 1"]).passed


def test_closed_sandbox_takes_no_work_and_leaves_no_process(tier: str) -> None:
    before = descendants()
    sandbox = Sandbox(tier=tier, allow_unsafe=True)
    assert sandbox.check_asserts("def f(): return 1", ["assert f() == 1"]).passed
    sandbox.close()
    assert not wait_until_gone(descendants() - before)
    with pytest.raises(SandboxError):
        sandbox.check_asserts("def f(): return 1", ["assert f() == 1"])


HARNESS = """
import threading
from llmeval.sandbox import Sandbox
with Sandbox(tier={tier!r}, allow_unsafe=True) as sandbox:
    print(sandbox.check_asserts("def f(): return 1", ["assert f() == 1"]).passed, flush=True)
    sandbox.check_asserts("import time\\ntime.sleep(1000)", ["assert f()"])
"""


@pytest.mark.parametrize("closed_stdin", [False, True])
def test_killed_harness_leaves_no_process(tier: str, closed_stdin: bool, tmp_path: Path) -> None:
    command = HARNESS.format(tier=tier)
    shell = ["sh", "-c", 'exec "$0" -c "$1" <&-', sys.executable, command]
    with subprocess.Popen(
        shell if closed_stdin else [sys.executable, "-c", command],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        time.sleep(0.3)
        family = descendants(process.pid)
        assert family
        process.kill()
        assert not wait_until_gone(family)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_has_a_sandbox(tier: str) -> None:
    code = textwrap.dedent(
        """
        import os
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        from llmeval.sandbox.tiers import failure_of
        print(failure_of({tier!r}))
        """
    ).format(tier=tier)
    version = f"sys.version_info[:2] != {sys.version_info[:2]}"
    probe = f"import os, sys; os.setuid(65534); open(os.__file__); sys.exit({version})"
    pythons = [sys.executable, shutil.which("python3", path="/usr/bin:/usr/local/bin")]
    for python in filter(None, pythons):
        if subprocess.run([python, "-c", probe], capture_output=True).returncode == 0:
            break
    else:
        pytest.skip("no Python of this version lies where other users can read it")
    packages = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    answer = subprocess.run(
        [python, "-c", code],
        env={"PYTHONPATH": packages, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == "None"


def test_weakest_tier_wants_the_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    from llmeval.sandbox import tiers

    monkeypatch.setattr(tiers, "failure_of", lambda tier: None if tier == "rlimits" else "not here")
    assert detect_tier(allow_unsafe=True) == "rlimits"
    with pytest.raises(UsageError, match="--allow-unsafe-code"):
        detect_tier()
    with pytest.raises(UsageError):
        Sandbox(tier="rlimits")
    with pytest.raises(UsageError, match="unknown"):
        Sandbox(tier="rlimit", allow_unsafe=True)


def test_absent_bubblewrap_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from llmeval.sandbox import nursery

    monkeypatch.setenv("PATH", "")
    with pytest.raises(SandboxError, match="bubblewrap is not installed"):
        nursery.Nursery("bubblewrap")


@pytest.mark.parametrize(
    "wrong", [{"cpu_seconds": 0}, {"cpu_seconds": 1.5}, {"memory_mb": 8}, {"wall_seconds": -1}]
)
def test_limits_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Limits(**wrong)  # type: ignore[arg-type]


def test_canonical_solutions_of_humaneval_all_pass() -> None:
    path = shared_dir("data", "hub", "openai", "openai_humaneval")
    import pyarrow.parquet as parquet

    rows = parquet.read_table(path / "openai_humaneval" / "test.parquet").to_pylist()
    keys = ("prompt", "canonical_solution", "test", "entry_point")
    with Sandbox(allow_unsafe=True) as sandbox, ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(lambda row: sandbox.check_function(*map(row.get, keys)), rows))
    assert len(verdicts) == 164
    assert [v for v in verdicts if not v.passed] == []


@pytest.mark.slow
def test_reference_programs_of_mbpp_all_pass() -> None:
    path = shared_dir("data", "hub", "google-research-datasets", "mbpp", "full")
    import pyarrow.parquet as parquet

    rows = [
        row
        for file in sorted(path.glob("*.parquet"))
        for row in parquet.read_table(file).to_pylist()
    ]
    keys = ("code", "test_list", "test_setup_code")
    with Sandbox(allow_unsafe=True) as sandbox, ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(lambda row: sandbox.check_asserts(*map(row.get, keys)), rows))
    assert len(verdicts) == 974
    assert [v for v in verdicts if not v.passed] == []
