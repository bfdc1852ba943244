"""The table of a night on a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from llmeval.cli.night_table import lay_out_night
from llmeval.reports.regress.baseline import Baseline, digest_scores
from llmeval.reports.regress.night import Night, Side, judge_night
from llmeval.reports.regress.settings import GateSettings
from tests.reports.regress.support import records
from tests.support.records import items_of

TASKS = ("pocket_a_task_with_a_long_name", "pocket_a_task_with_a_long_nose")
MODELS = ("openai:organisation/a-rather-long-model-name-20260101", "openai:organisation/b-20260101")


@pytest.fixture
def night(tmp_path: Path) -> Night:
    tasks = {name: items_of([1.0] * 40) for name in TASKS}
    sides = []
    for label in MODELS:
        before, after = records(tmp_path / label.replace("/", "-"), tasks, tasks)
        sides.append(Side(label, Baseline(before, digest_scores(before)), after))
    return judge_night(sides, GateSettings(), name="nightly", night="2026-01-01")[0]


def test_long_models_are_cut_and_tasks_are_not(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # of whoever runs the tests
    lines = lay_out_night(night, io.StringIO())
    table = lines[2 : 2 + 2 + 4]
    assert max(map(len, table)) <= 120
    rows = table[2:]
    assert [row.split()[0] for row in rows] == [*TASKS, *TASKS]
    cut = [row.split()[1] for row in rows]
    assert (cut[0], cut[2]) == ("…a-rat…260101", "…b-20260101")
