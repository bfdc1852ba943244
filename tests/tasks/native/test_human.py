"""What people reach is part of a task's file, with who says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmeval.core import UsageError
from tests.tasks.native.support import load

TASK = """\
task: t
type: choice
data: {path: rows.jsonl}
prompt: "{{ q }}"
choices: options
answer: right
"""
ROWS = [{"q": "?", "options": ["no", "yes"], "right": 1}]


def test_a_stated_human_value_is_in_the_record(tmp_path: Path) -> None:
    human = {"value": 0.95, "metric": "acc_norm", "source": "Doe 2024, table 3"}
    task = load(tmp_path, f"{TASK}human: {human}\n", ROWS)
    assert task.describe()["config"]["human"] == human


def test_a_task_without_one_describes_itself_as_before(tmp_path: Path) -> None:
    assert "human" not in load(tmp_path, TASK, ROWS).describe()["config"]


@pytest.mark.parametrize(
    ("human", "complaint"),
    [
        ("{value: 0.9}", "human.source"),
        ("{source: Doe}", "human.value"),
        ("{value: .nan, source: Doe}", "human.value"),
        ("{value: 0.9, source: ''}", "human.source"),
        ("{value: 0.9, source: Doe, metric: f1}", "no metric 'f1'.*it has acc, acc_norm"),
    ],
)
def test_a_value_that_nobody_vouches_for_is_refused(
    tmp_path: Path, human: str, complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        load(tmp_path, f"{TASK}human: {human}\n", ROWS)
