"""Code tasks: executed in a real sandbox, pass@k, and what is no verdict on the candidate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmeval.core import UsageError
from llmeval.sandbox import Sandbox, SandboxError
from llmeval.tasks.options import TaskOptions, Workbench
from tests.tasks.native.support import evaluate, load

TASK = """\
task: c
type: code
data: {path: rows.jsonl}
prompt: "{{ prompt }}"
test: test
entry_point: entry_point
solution: canonical_solution
"""
ROWS = [
    {
        "prompt": "def double(x):\n",
        "entry_point": "double",
        "test": "def check(candidate):\n    assert candidate(2) == 4\n",
        "canonical_solution": "    return 2 * x\n",
    }
]
RIGHT, WRONG, BROKEN = "    return x + x\n", "    return x\n", "    return ("


@pytest.fixture(scope="module")
def workbench() -> Iterator[Workbench]:
    try:
        sandbox = Sandbox()
    except UsageError as error:
        pytest.skip(f"no sandbox works here: {error}")
    with sandbox:
        yield Workbench(sandbox=lambda: sandbox)


def score(folder: Path, workbench: Workbench, said: Any, text: str = TASK, **options: Any) -> Any:
    task = load(folder, text, ROWS, TaskOptions(**options), workbench)
    canned = said if callable(said) else lambda request: said
    return evaluate(task, canned)[0][1]


@pytest.mark.parametrize(("said", "value"), [(RIGHT, 1.0), (WRONG, 0.0), (BROKEN, 0.0), ("", 0.0)])
def test_a_completion_passes_or_fails(
    tmp_path: Path, workbench: Workbench, said: str, value: float
) -> None:
    found = score(tmp_path, workbench, said)["pass@1"]
    assert (found.status, found.value) == ("scored", value)


def test_the_solution_is_the_gold(tmp_path: Path, workbench: Workbench) -> None:
    sample = next(load(tmp_path, TASK, ROWS, workbench=workbench).samples())
    assert sample.gold.text == ROWS[0]["canonical_solution"]
    assert sample.payload.request.prompt == "def double(x):\n"


def test_pass_at_k_is_the_unbiased_estimator(tmp_path: Path, workbench: Workbench) -> None:
    text = f"{TASK}k: [1, 2, 9]\nrepeats: 4\ntemperature: 0.8\n"
    said = [RIGHT, WRONG, WRONG, BROKEN]
    scores = score(tmp_path, workbench, lambda request: said[request.repeat], text)
    # 1 of 4 right: 1/4, and 1 - C(3, 2) / C(4, 2) = 1/2; pass@9 cannot be told from 4 draws.
    assert {name: found.value for name, found in scores.items()} == {"pass@1": 0.25, "pass@2": 0.5}
    assert scores["pass@1"].extracted.startswith("1 of 4 passed; failed: ")


def test_a_fenced_block_is_taken_out_of_a_chat_answer(tmp_path: Path, workbench: Workbench) -> None:
    said = "Sure:\n```python\ndef double(x):\n    return 2 * x\n```\nThat is it."
    assert score(tmp_path, workbench, said)["pass@1"].value == 0.0
    rows = [{**ROWS[0], "prompt": 'def double(x):\n    """Double x."""\n'}]
    task = load(tmp_path, f"{TASK}extract: fence\n", rows, workbench=workbench)
    assert evaluate(task, lambda request: said)[0][1]["pass@1"].value == 1.0


def test_asserts_as_in_mbpp(tmp_path: Path, workbench: Workbench) -> None:
    text = """\
    task: c
    type: code
    data: {path: rows.jsonl}
    prompt: "# {{ text }}\\n"
    asserts: tests
    """
    rows = [{"text": "Double.", "tests": ["assert double(1) == 2", "assert double(3) == 6"]}]
    task = load(tmp_path, text, rows, workbench=workbench)
    right = "def double(x):\n    return 2 * x\n"
    assert evaluate(task, lambda request: right)[0][1]["pass@1"].value == 1.0
    wrong = "def double(x):\n    return 2\n"
    assert evaluate(task, lambda request: wrong)[0][1]["pass@1"].value == 0.0


def test_a_test_that_cannot_run_says_nothing_about_the_candidate(
    tmp_path: Path, workbench: Workbench
) -> None:
    rows = [{**ROWS[0], "test": "def check(candidate:\n"}]
    task = load(tmp_path, TASK, rows, workbench=workbench)
    found = evaluate(task, lambda request: RIGHT)[0][1]["pass@1"]
    assert found.status == "unscored"


def test_a_failing_sandbox_is_an_error_and_no_zero(tmp_path: Path) -> None:
    class Broken:
        def check_function(self, *_: str) -> Any:
            raise SandboxError("no processes left")

    sandbox: Any = Broken()
    found = score(tmp_path, Workbench(sandbox=lambda: sandbox), RIGHT)["pass@1"]
    assert (found.status, found.value) == ("errored", None)


def test_without_a_sandbox_the_task_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no sandbox here"):
        load(tmp_path, TASK, ROWS)

    def refuse() -> Sandbox:
        raise UsageError("only rlimits work")

    with pytest.raises(UsageError, match="only rlimits"):
        load(tmp_path, TASK, ROWS, workbench=Workbench(sandbox=refuse))


def test_draws_must_suffice(tmp_path: Path, workbench: Workbench) -> None:
    with pytest.raises(UsageError, match="pass@5 needs 5 draws"):
        load(tmp_path, f"{TASK}k: [5]\n", ROWS, workbench=workbench)
