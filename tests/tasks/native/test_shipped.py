"""The tasks that come with llmeval, and every YAML that the documentation shows."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from llmeval.core import GenerateRequest, Request, UsageError
from llmeval.core.protocols import Task
from llmeval.models.baselines import load_baseline
from llmeval.pocket import DATA_DIR
from llmeval.sandbox import Sandbox
from llmeval.tasks.lmeval.index import load_index
from llmeval.tasks.native import Suite, load_native, scan
from llmeval.tasks.options import TaskOptions, Workbench
from tests.tasks.native.support import Conversation

ROOT = Path(__file__).resolve().parents[3]
TASKS = ROOT / "tasks"
DOCS = ROOT / "docs" / "tasks.md"


def yaml_blocks() -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.M | re.S)


def load(path: Path) -> Any:
    def sandbox() -> Sandbox:
        try:
            return Sandbox()
        except UsageError as error:
            pytest.skip(f"no sandbox works here: {error}")

    return load_native(path, TaskOptions(), Workbench(sandbox=sandbox))


@pytest.mark.parametrize("header", scan(TASKS), ids=lambda header: header.name)
def test_every_shipped_file_loads_under_its_own_name(header: Any) -> None:
    assert header.path.stem == header.name
    assert header.description
    loaded = load(header.path)
    assert loaded.name == header.name
    if not isinstance(loaded, Suite):
        assert isinstance(loaded, Task)
        assert len(loaded) == len(list(loaded.samples()))
        json.dumps(loaded.describe())
        assert [len(data["digest"]) for data in loaded.data()] == [32]


def test_suites_name_tasks_that_exist() -> None:
    names = {header.name for header in scan(TASKS)}
    assert [m.task for m in load(TASKS / "pocket.yaml").members] == [
        "pocket_mmlu",
        "pocket_hellaswag",
        "pocket_truthfulqa",
        "pocket_humaneval",
    ]
    index = load_index()
    for suite in ("pocket", "capability", "quick"):
        for member in load(TASKS / f"{suite}.yaml").members:
            assert member.task in names or member.task in index


def test_a_suite_carries_settings_of_its_members() -> None:
    members = {member.task: member.options for member in load(TASKS / "capability.yaml").members}
    assert members["mmlu"] == {"num_fewshot": 5}
    assert members["humaneval"] == {}


@pytest.mark.parametrize("name", ["pocket_mmlu", "pocket_hellaswag", "pocket_truthfulqa"])
def test_the_oracle_is_always_right(name: str) -> None:
    task, oracle = load(TASKS / f"{name}.yaml"), load_baseline("oracle")
    for sample in task.samples():

        async def ask(requests: Any, sample: Any = sample) -> list[Any]:
            return list(oracle.answer_sample(name, sample, requests))

        scores = asyncio.run(task.evaluate(sample, ask))
        assert [s.value for s in scores if s.metric != "brier_score"] == [1.0, 1.0][: len(scores)]


def test_pocket_prompts_are_those_of_the_data() -> None:
    """As llmeval/pocket/measure.py, which measures the known values without this code."""
    rows = {
        name: json.loads((DATA_DIR / name / file).read_text().split("\n")[0])
        for name, file in [
            ("pocket_mmlu", "test.jsonl"),
            ("pocket_hellaswag", "validation.jsonl"),
            ("pocket_truthfulqa", "validation.jsonl"),
        ]
    }
    contexts = {name: next(load(TASKS / f"{name}.yaml").samples()).payload.context for name in rows}
    assert contexts == {
        "pocket_mmlu": f"Question: {rows['pocket_mmlu']['question']}\nAnswer:",
        "pocket_hellaswag": rows["pocket_hellaswag"]["ctx"],
        "pocket_truthfulqa": f"Q: {rows['pocket_truthfulqa']['question']}\nA:",
    }


def test_self_critique_builds_each_question_from_the_answers_before() -> None:
    task = load(TASKS / "pocket_self_critique.yaml")

    def canned(request: Request) -> str:
        assert isinstance(request, GenerateRequest)
        assert isinstance(request.prompt, str)
        if "Critique of this answer:" in request.prompt:
            return " doubtful"
        return " sea grass" if "first answer" not in request.prompt else " pale figs."

    sample = next(task.samples())
    conversation = Conversation(canned)
    (score,) = asyncio.run(task.evaluate(sample, conversation))
    first, critique, final = (asked[0].prompt for asked in conversation.asked)
    assert "sea grass" not in first
    assert critique == f"{first} sea grass\nCritique of this answer:"
    assert final.startswith(
        "A first answer to the question below was: sea grass\nA critique of it: doubtful\n"
    )
    assert score.value == float(sample.target == "pale figs")


def test_the_documentation_shows_every_type() -> None:
    types = {kind for block in yaml_blocks() for kind in re.findall(r"^type: (\w+)", block, re.M)}
    assert types == {"choice", "generate", "code", "steps", "suite"}


@pytest.mark.parametrize("number", range(len(yaml_blocks())))
def test_every_yaml_of_the_documentation_loads(tmp_path: Path, number: int) -> None:
    block = yaml_blocks()[number]
    rows = {
        "capitals.jsonl": {"country": "Peru", "cities": ["Lima", "Quito"], "right": 0},
        "sums.jsonl": {"question": "1 + 2?", "reasoning": "1 + 2 = 3", "result": "3", "level": 1},
        "functions.jsonl": {
            "prompt": "def f():\n",
            "test": "def check(candidate):\n    assert candidate() == 1\n",
            "entry_point": "f",
        },
    }
    for name, row in rows.items():
        (tmp_path / name).write_text("".join(json.dumps({**row, "n": i}) + "\n" for i in range(4)))
    path = tmp_path / "task.yaml"
    path.write_text(block, encoding="utf-8")
    loaded = load(path)
    assert isinstance(loaded, Suite) or len(list(loaded.samples())) == 4
