"""A sentinel is always the same samples of a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmeval.core import Sample, Task, UsageError
from llmeval.session import execute
from llmeval.tasks.subset import SubsetTask
from tests.models.learnable import Learnable, labelled
from tests.support.fake_run import make_spec
from tests.support.fakes import FakeTask


def ids(task: Task) -> list[str]:
    return [sample.id for sample in task.samples()]


def test_the_same_samples_every_time_in_the_tasks_order() -> None:
    whole = FakeTask("choices", 200)
    chosen = ids(SubsetTask(whole, 30))
    assert len(chosen) == len(SubsetTask(whole, 30)) == 30
    assert chosen == ids(SubsetTask(FakeTask("choices", 200), 30))
    assert chosen == [id for id in ids(whole) if id in set(chosen)]
    assert chosen != ids(whole)[:30]


def test_a_longer_task_keeps_most_of_its_sentinel() -> None:
    """Of the 30 smallest among 220, those are among the 30 smallest of the first 200, too."""
    before, after = ids(SubsetTask(FakeTask("a", 200), 30)), ids(SubsetTask(FakeTask("a", 220), 30))
    grown = set(ids(FakeTask("a", 220))) - set(ids(FakeTask("a", 200)))
    assert set(after) - grown <= set(before)


def test_a_short_task_is_asked_whole() -> None:
    whole = FakeTask("choices", 5)
    assert ids(SubsetTask(whole, 30)) == ids(whole)
    assert len(SubsetTask(whole, 30)) == 5


def test_a_run_of_a_subset_says_so_and_can_journal_elsewhere(tmp_path: Path) -> None:
    from dataclasses import replace

    journal = tmp_path / "elsewhere" / "journal.sqlite"
    run = execute(replace(make_spec(tmp_path, n=60), subset=7, journal=journal))
    assert run.summary["tasks"]["choices"]["n"] == 7
    assert run.manifest["tasks"]["choices"]["subset"] == 7
    assert journal.is_file()
    assert not (tmp_path / ".llmeval" / "journal.sqlite").exists()


def test_what_is_learned_is_the_whole_tasks() -> None:
    whole: Any = Learnable([labelled("a", 0), labelled("b", 1)])
    assert SubsetTask(whole, 1).training_rows().size == 2
    assert SubsetTask(whole, 1).question(Sample("1", {"question": "a"})) == "a"
    with pytest.raises(UsageError, match="no task whose answers could be labels"):
        SubsetTask(FakeTask(), 1).training_rows()
