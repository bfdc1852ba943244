"""Hostile candidates: each is contained, and each is scored as failed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmeval.sandbox import Limits, Sandbox, Verdict
from llmeval.sandbox.guest import landlock
from tests.sandbox.conftest import LIMITS
from tests.sandbox.processes import descendants, wait_until_gone
from tests.support.shared import ROOT

TEST = "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(3) == 6\n"
HELD = "def check(candidate):\n    assert candidate(2) == 'done'\n"


def attack(sandbox: Sandbox, code: str, test: str = TEST) -> Verdict:
    """Run a whole program as the candidate and check that no process of it is left."""
    before = descendants()
    verdict = sandbox.check_function("", textwrap.dedent(code), test, "f")
    assert not wait_until_gone(descendants() - before)
    return verdict


@pytest.fixture(autouse=True)
def _warm(sandbox: Sandbox) -> None:
    """Start the nursery, so that every process a test sees appear is a box's."""
    assert sandbox.check_function("", "def f(x):\n    return 2 * x\n", TEST, "f").passed


FORGERIES = {
    "os._exit before the tests": "import os\nos._exit(0)",
    "sys.exit before the tests": "import sys\nsys.exit(0)",
    "os._exit in the call": "import os\ndef f(x): os._exit(0)",
    "sys.exit in the call": "import sys\ndef f(x): sys.exit(0)",
    "keyboard interrupt": "def f(x): raise KeyboardInterrupt",
    "always equal": """
        class Yes:
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            __hash__ = None
        def f(x): return Yes()
        """,
    "always equal int": """
        class Yes(int):
            def __eq__(self, other): return True
            __hash__ = int.__hash__
        def f(x): return Yes(7)
        """,
    "always equal through a metaclass": """
        class Meta(type):
            def __eq__(cls, other): return True
            __hash__ = type.__hash__
        class int(metaclass=Meta): pass
        def f(x): return int
        """,
    "always equal inside a list": """
        class Yes(str):
            def __eq__(self, other): return True
            __hash__ = str.__hash__
        def f(x): return [Yes()]
        """,
    "patched builtins": """
        import builtins
        builtins.len = builtins.abs = builtins.all = lambda *a: True
        builtins.AssertionError = type("Nothing", (Exception,), {})
        builtins.isinstance = lambda *a: True
        def f(x): return 0
        """,
    "patched modules": """
        import sys
        for name in list(sys.modules):
            if name.startswith("guest"):
                for key, value in list(vars(sys.modules[name]).items()):
                    if callable(value):
                        setattr(sys.modules[name], key, lambda *a, **k: True)
        def f(x): return 4
        """,
    "forged verdicts on every descriptor": """
        import os, struct
        body = b"l\\0\\0\\0\\3" + b"s\\0\\0\\0\\6passed" * 3
        for fd in range(256):
            try: os.write(fd, struct.pack(">I", len(body)) + body)
            except OSError: pass
        def f(x): return 0
        """,
    "garbage on every descriptor": """
        import os
        for fd in range(256):
            try: os.write(fd, os.urandom(4096))
            except OSError: pass
        def f(x): return 2 * x
        """,
    "closed descriptors": "import os\nos.closerange(0, 256)\ndef f(x): return 2 * x",
    "closed descriptors, then asleep": """
        import os, time
        os.closerange(0, 256)
        time.sleep(1000)
        """,
    "recursion without end": "def f(x): return f(x)",
    "recursion past the stack": """
        import sys
        sys.setrecursionlimit(10**9)
        class A:
            def __getattr__(self, name): return getattr(self, name + "x")
        def f(x): return [f([x])] if not isinstance(x, list) else f([x])
        """,
    "a cyclic value": "def f(x):\n    a = []\n    a.append(a)\n    return a",
    "a deep value": "def f(x):\n    a = 4\n    for _ in range(100000): a = [a]\n    return a",
    "a huge integer": "def f(x): return 1 << 10_000_000",
    "a huge integer below the limit": "def f(x): return 1 << 500_000",
    "a huge string": "def f(x): return 'x' * 5_000_000",
    "an endless iterator": "import itertools\ndef f(x): return itertools.count()",
    "an exception whose text raises": """
        class E(Exception):
            def __str__(self): raise SystemExit(0)
        def f(x): raise E
        """,
    "no function": "g = 4",
    "no Python": "def f(x:",
    "a null byte": "def f(x): return 4 \0",
    "a foreign system call": """
        import ctypes
        ctypes.CDLL(None).syscall(0x40000000 + 39)
        def f(x): return 0
        """,
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_fails(sandbox: Sandbox, name: str) -> None:
    verdict = attack(sandbox, FORGERIES[name])
    assert not verdict.passed
    assert verdict.status in ("failed", "crashed", "output", "memory", "timeout")
    assert verdict.reason
    assert "\n" not in verdict.reason


EXHAUSTIONS = {
    "endless loop": ("def f(x):\n    while True: pass", "timeout"),
    "endless loop at import": ("while True: pass", "timeout"),
    "endless loop that ignores signals": (
        """
        import signal
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        while True: pass
        """,
        "timeout",
    ),
    "memory bomb": ("def f(x): return len('x' * 10**10)", "memory"),
    "slow memory bomb": (  # on a slow machine it runs out of time before it runs out of memory
        "def f(x):\n    a = []\n    while True: a.append('x' * 10**6 + str(len(a)))",
        "memory or timeout",
    ),
    "endless output": ("def f(x):\n    while True: print('x' * 10000)", "timeout"),
}


@pytest.mark.parametrize("name", EXHAUSTIONS)
def test_exhaustion_is_stopped_by_its_limit(sandbox: Sandbox, name: str) -> None:
    code, statuses = EXHAUSTIONS[name]
    verdict = attack(sandbox, code)
    assert not verdict.passed
    assert verdict.status in statuses.split(" or "), verdict


def test_sleep_is_stopped_by_the_clock(tier: str) -> None:
    with Sandbox(Limits(wall_seconds=1.0), tier=tier, allow_unsafe=True) as sandbox:
        before = descendants()
        verdict = sandbox.check_function("", "import time\ntime.sleep(10**6)", TEST, "f")
        assert verdict.status == "timeout"
        assert verdict.seconds < 15
    assert not wait_until_gone(descendants() - before)


def test_fork_bomb_is_stopped_where_processes_are_refused(sandbox: Sandbox) -> None:
    code = """
        import os
        made = 0
        def f(x):
            global made
            for _ in range(10000):
                try: os.fork(); made += 1
                except OSError: pass
            return 4 if made else "none"
        """
    assert not attack(sandbox, code).passed
    assert attack(sandbox, code, "def check(candidate): assert candidate(2) == 'none'").passed


def test_fork_bomb_is_stopped_by_the_count(tier: str) -> None:
    if tier == "rlimits" or (tier == "bubblewrap" and os.geteuid() == 0):
        pytest.skip(f"{tier} cannot count processes here and refuses all, tested above")
    limits = Limits(cpu_seconds=1, wall_seconds=5, memory_mb=256, processes=8)
    with Sandbox(limits, tier=tier) as sandbox:
        assert sandbox.check_function("", "def f(x):\n    return 2 * x\n", TEST, "f").passed
        before = descendants()
        code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n"
        verdict = sandbox.check_function("", code, TEST, "f")
        assert not verdict.passed
        assert not wait_until_gone(descendants() - before)


def test_daemon_does_not_outlive_its_check(tier: str) -> None:
    limits = Limits(cpu_seconds=1, wall_seconds=20, memory_mb=256, processes=8)
    code = """
        import os, time, signal
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(10**6)
            os._exit(0)
        def f(x): return 0
        """
    with Sandbox(limits, tier=tier, allow_unsafe=True) as sandbox:
        assert sandbox.check_function("", "def f(x):\n    return 2 * x\n", TEST, "f").passed
        before = descendants()
        assert not sandbox.check_function("", textwrap.dedent(code), TEST, "f").passed
        assert not wait_until_gone(descendants() - before)


def test_thread_does_not_outlive_its_check(sandbox: Sandbox) -> None:
    code = """
        import threading, time
        threading.Thread(target=time.sleep, args=(10**6,)).start()
        def f(x): return 0
        """
    assert attack(sandbox, code).status == "failed"


def test_parent_and_others_cannot_be_signalled(sandbox: Sandbox) -> None:
    code = f"""
        import os, signal
        for number in (signal.SIGKILL, signal.SIGSTOP):
            for pid in (os.getppid(), 1, {os.getpid()}, {os.getppid()}, -1, 0):
                try: os.kill(pid, number)
                except OSError: pass
        try: os.killpg(0, 9)
        except OSError: pass
        def f(x): return 0
        """
    assert not attack(sandbox, code).passed
    # The nursery still serves: it was not hit either.
    assert sandbox.check_function("", "def f(x): return 2 * x", TEST, "f").passed


@pytest.fixture
def outside(tmp_path: Path, tier: str) -> Path:
    """A file of the user's that a candidate goes for."""
    if tier == "rlimits" and not landlock.version():
        pytest.skip("the rlimits tier keeps files only with Landlock")
    tmp_path.chmod(0o777)
    file = tmp_path / "secret"
    file.write_text("done")
    file.chmod(0o666)
    return file


def test_secret_file_cannot_be_read(sandbox: Sandbox, outside: Path) -> None:
    code = f"def f(x): return open({str(outside)!r}).read()"
    assert not attack(sandbox, code, HELD).passed


def test_files_outside_cannot_be_changed_or_deleted(sandbox: Sandbox, outside: Path) -> None:
    code = f"""
        import os, shutil
        for act in (
            lambda: open({str(outside)!r}, "w").write("gone"),
            lambda: os.truncate({str(outside)!r}, 0),
            lambda: open({str(outside.parent / "new")!r}, "w").write("new"),
            lambda: os.mkdir({str(outside.parent / "newdir")!r}),
            lambda: os.unlink({str(outside)!r}),
            lambda: shutil.rmtree({str(outside.parent)!r}),
        ):
            try: act()
            except Exception: pass
        def f(x): return "done" if os.path.exists({str(outside.parent / "new")!r}) else "no"
        """
    assert not attack(sandbox, code, HELD).passed
    assert outside.read_text() == "done"
    assert [path.name for path in outside.parent.iterdir()] == ["secret"]


def test_system_cannot_be_written(sandbox: Sandbox, outside: Path) -> None:
    code = """
        import os, sys
        def f(x):
            for folder in ("/", "/usr", "/dev", "/etc", "/proc", "/var/tmp", sys.prefix):
                try:
                    open(folder + "/llmeval-was-here", "w").close()
                    os.unlink(folder + "/llmeval-was-here")
                    return "done"
                except OSError: pass
        """
    assert not attack(sandbox, code, HELD).passed


def test_scratch_folder_is_writable_bounded_and_fresh(sandbox: Sandbox) -> None:
    code = """
        import os
        def f(x):
            old = os.listdir(".")
            with open("mine", "w") as file: file.write("x")
            try:
                with open("big", "wb") as file: file.write(bytes(LIMIT + 4096))
            except OSError: return [old, "refused"]
            return [old, "written"]
        """.replace("LIMIT", str(LIMITS.file_kb << 10))
    test = "def check(candidate): assert candidate(1) == [[], 'refused']"
    for _ in range(2):
        assert (verdict := attack(sandbox, code, test)).passed, verdict


SECRETIVE = """
import os
from llmeval.sandbox import Sandbox
code = f'''
import os, glob
def f(x):
    found = [repr(os.environ)]
    for path in ["/proc/{os.getpid()}/environ", *glob.glob("/proc/*/environ")]:
        try: found.append(open(path, "rb").read().decode("latin-1"))
        except OSError: pass
    return "sk-very-secret" in "".join(found)
'''
with Sandbox(tier=%r, allow_unsafe=True) as sandbox:
    for answer in (False, True):
        test = f"def check(candidate): assert candidate(1) is {answer}"
        print(sandbox.check_function("", code, test, "f").passed)
"""


def test_environment_of_the_harness_cannot_be_read(tier: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", SECRETIVE % tier],
        env={**os.environ, "LLMEVAL_TEST_KEY": "sk-very-secret"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.split() == ["True", "False"]


def test_memory_of_others_cannot_be_read(sandbox: Sandbox) -> None:
    code = f"""
        import ctypes, glob, os
        libc = ctypes.CDLL(None, use_errno=True)
        def f(x):
            for path in ["/proc/{os.getpid()}/mem", "/proc/1/mem", f"/proc/{{os.getppid()}}/mem"]:
                try: open(path, "rb"); return "done"
                except OSError: pass
            for pid in ({os.getpid()}, 1, 2, os.getppid()):
                if libc.ptrace(16, pid, 0, 0) == 0: return "done"
            return "no"
        """
    assert not attack(sandbox, code, HELD).passed


@pytest.fixture
def server() -> Iterator[tuple[int, list[object]]]:
    """A TCP server on this machine and the connections it got."""
    calls: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, address = listener.accept()
                except OSError:
                    return
                calls.append(address)
                connection.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1], calls
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_network_is_out_of_reach(sandbox: Sandbox, server: tuple[int, list[object]]) -> None:
    port, calls = server
    code = f"""
        import socket
        def f(x):
            try:
                socket.create_connection(("127.0.0.1", {port}), 2).close()
                return "done"
            except OSError: return "no"
        """
    assert not attack(sandbox, code, HELD).passed
    assert calls == []


def test_unix_sockets_are_out_of_reach(sandbox: Sandbox, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    abstract = f"\0llmeval-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.bind(path)
        second.bind(abstract)
        for listener in (first, second):
            listener.listen()
            listener.settimeout(0.2)
        code = f"""
            import socket
            def f(x):
                for path in ({path!r}, {abstract!r}):
                    try:
                        socket.socket(socket.AF_UNIX).connect(path)
                        return "done"
                    except OSError: pass
            """
        assert not attack(sandbox, code, HELD).passed
        for listener in (first, second):
            with pytest.raises(TimeoutError):
                listener.accept()


def test_candidate_finds_neither_test_nor_nonce_in_its_memory(sandbox: Sandbox) -> None:
    code = """
        import gc
        def f(x):
            needle = "_".join(["a", "name", "that", "only", "the", "test", "has"])
            texts = [o for o in gc.get_objects() if isinstance(o, (dict, list, tuple))]
            return "done" if needle in repr(texts) else "no"
        """
    test = "def check(candidate):\n    a_name_that_only_the_test_has = 1\n"
    assert not attack(sandbox, code, test + "    assert candidate(2) == 'done'\n").passed


def test_a_test_that_swallows_everything_still_notices_the_end(sandbox: Sandbox) -> None:
    test = "def check(candidate):\n    try: candidate(2)\n    except BaseException: pass\n"
    assert not attack(sandbox, "import os\ndef f(x): os._exit(0)", test).passed
    assert not attack(sandbox, "def f(x): raise SystemExit(0)", test).passed


def test_checks_cannot_find_each_other(sandbox: Sandbox) -> None:
    code = """
        import os
        def f(x):
            with open("/tmp/message", "w") as file: file.write("here")
            return os.listdir("/tmp") == ["message"]
        """
    if sandbox.tier == "rlimits":
        pytest.skip("the rlimits tier has a scratch folder for each check, but the machine's /tmp")
    for _ in range(2):
        verdict = attack(sandbox, code, "def check(candidate): assert candidate(1) is True")
        assert verdict.passed, verdict
