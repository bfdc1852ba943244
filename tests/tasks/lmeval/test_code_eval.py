"""humaneval and mbpp of lm-eval, executed in the sandbox, without the hub."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmeval.core import (
    GenerateRequest,
    Generation,
    Request,
    Response,
    Sample,
    Score,
    Unscorable,
    UsageError,
)
from llmeval.sandbox import Sandbox, SandboxError, Verdict
from llmeval.tasks.lmeval.adapter import LmEvalTask, build_tasks
from llmeval.tasks.lmeval.code_eval import (
    CodeEval,
    NoVerdictError,
    code_context,
    replace_code_eval,
)
from llmeval.tasks.lmeval.index import IndexEntry, tasks_root
from llmeval.tasks.options import TaskOptions, Workbench

HUMANEVAL = [
    {
        "task_id": f"Test/{n}",
        "prompt": f'def add{n}(a: int, b: int) -> int:\n    """Add a, b and {n}."""\n',
        "canonical_solution": f"    return a + b + {n}\n",
        "test": f"def check(candidate):\n    assert candidate(1, 2) == {3 + n}\n",
        "entry_point": f"add{n}",
    }
    for n in range(2)
]
MBPP = [
    {
        "task_id": n,
        "text": f"Write a function to add {n}.",
        "code": f"def add(a):\n    return a + {n}",
        "test_list": [f"assert add({i}) == {i + n}" for i in range(3)],
        "test_setup_code": "",
        "challenge_test_list": [],
    }
    for n in range(2)
]
INDEX = {
    "humaneval": IndexEntry("humaneval", "task", "humaneval/humaneval.yaml"),
    "mbpp": IndexEntry("mbpp", "task", "mbpp/mbpp.yaml"),
}


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mirror")
    for name, rows in (
        ("openai/openai_humaneval/openai_humaneval", HUMANEVAL),
        ("google-research-datasets/mbpp/full", MBPP),
    ):
        for split in ("train", "test", "prompt"):
            path = root / name / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def build(name: str, mirror: Path, sandbox: Any, **options: Any) -> LmEvalTask:
    workbench = Workbench(mirror=mirror, sandbox=lambda: sandbox)
    (task,), _ = build_tasks(name, INDEX, tasks_root(), TaskOptions(**options), workbench)
    return task


def evaluate(task: LmEvalTask, sample: Sample, answers: Sequence[str]) -> dict[str, Score]:
    """Evaluate a sample whose draws are answered with the given texts."""

    async def ask(requests: Sequence[Request]) -> list[Response]:
        assert [r.repeat for r in requests if isinstance(r, GenerateRequest)] == [
            *range(len(answers))
        ]
        return [Generation(text) for text in answers]

    return {score.metric: score for score in asyncio.run(task.evaluate(sample, ask))}


@pytest.mark.parametrize(
    ("name", "metric"), [("humaneval", "pass@1,create_test"), ("mbpp", "pass_at_1,none")]
)
def test_right_code_passes_and_wrong_code_fails(
    name: str, metric: str, mirror: Path, sandbox: Sandbox
) -> None:
    task = build(name, mirror, sandbox)
    metric = metric.removesuffix(",none")
    assert metric in task.metrics
    samples = list(task.samples())
    assert len(samples) == 2
    for sample in samples:
        assert sample.gold is not None and sample.gold.text
        assert evaluate(task, sample, [sample.gold.text])[metric].value == 1.0
        assert evaluate(task, sample, ["    return None\n"])[metric].value == 0.0


def test_pass_at_k_is_the_unbiased_estimate(mirror: Path, sandbox: Sandbox) -> None:
    task = build("humaneval", mirror, sandbox, repeats=4)
    sample = next(task.samples())
    assert sample.gold is not None
    right = str(sample.gold.text)
    scores = evaluate(task, sample, [right, "    return 0\n", "    return 0\n", "    return 0\n"])
    assert scores["pass@1,create_test"].value == pytest.approx(1 / 4)


def test_k_beyond_the_draws_is_left_out(sandbox: Sandbox) -> None:
    with code_context(lambda: sandbox, {}):
        values, details = CodeEval().compute(
            references=["assert f() == 1"],
            predictions=[["def f(): return 1", "def f(): return 2"]],
            k=[1, 2, 10],
        )
    assert values == {"pass@1": 0.5, "pass@2": 1.0}
    assert [verdict["passed"] for _, verdict in details[0]] == [True, False]


class Broken:
    def check_asserts(self, *_: object, **__: object) -> Verdict:
        raise SandboxError("no processes left")


def test_a_sandbox_that_fails_gives_no_verdict() -> None:
    with (
        code_context(lambda: Broken(), {}),  # type: ignore[arg-type, return-value]
        pytest.raises(NoVerdictError, match="no processes left"),
    ):
        CodeEval().compute(references=["assert f()"], predictions=[["def f(): pass"]], k=[1])


def test_a_test_that_cannot_run_is_no_verdict_on_the_code(sandbox: Sandbox) -> None:
    with code_context(lambda: sandbox, {}), pytest.raises(Unscorable, match="not Python"):
        CodeEval().compute(references=["assert ("], predictions=[["x = 1"]], k=[1])


def test_without_a_sandbox_nothing_is_executed() -> None:
    with code_context(None, {}), pytest.raises(UsageError, match="no sandbox"):
        CodeEval().compute(references=["assert True"], predictions=[["x = 1"]], k=[1])


def test_other_metrics_come_from_the_real_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    real = types.ModuleType("evaluate")
    real.__spec__ = None
    real.load = lambda path, *_: f"real {path}"  # type: ignore[attr-defined]
    real.marker = 7  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "evaluate", real)
    with replace_code_eval():
        import evaluate

        assert isinstance(evaluate.load("code_eval"), CodeEval)
        assert evaluate.load("rouge") == "real rouge"
        assert evaluate.marker == 7
    assert sys.modules["evaluate"] is real
