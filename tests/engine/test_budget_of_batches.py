"""Budgets where a model answers in batches."""

from __future__ import annotations

from pathlib import Path

import pytest

import llmeval
from llmeval.core import BudgetReached
from tests.support.fakes import FakeModel, FakeTask


def test_a_bound_below_a_batch_is_used_up_and_not_run_over(tmp_path: Path) -> None:
    task = FakeTask(n=20, kind="generate", theme="budget")
    distinct = len({task.question(i) for i in range(20)})
    asked: list[object] = []
    for bound in (5, 9):
        model = FakeModel(batch=64)
        with pytest.raises(BudgetReached, match=f"{bound} of {bound} requests"):
            llmeval.run(
                model, task, workspace=tmp_path, out=tmp_path / "results", max_requests=bound
            )
        asked += model.asked
        assert len(asked) == bound
    model = FakeModel(batch=64)
    run = llmeval.run(model, task, workspace=tmp_path, out=tmp_path / "results")
    assert run.status == "complete"
    assert len(asked) + len(model.asked) == distinct
