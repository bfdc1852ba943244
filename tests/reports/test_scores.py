"""Scores of many records are read as columns."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llmeval.core import UsageError
from llmeval.reports.scores import _put_in_order, read_scores
from llmeval.runs import Run, load_run
from llmeval.session import execute
from tests.support.fake_run import make_spec


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return execute(make_spec(tmp_path_factory.mktemp("workspace"), n=90))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return execute(make_spec(tmp_path_factory.mktemp("workspace"), n=60))


def test_columns_hold_what_the_record_holds(run: Run, other: Run) -> None:
    table = read_scores([other, run], names=True)
    assert table.keys == [("choices", "acc"), ("steps", "acc"), ("mixed", "acc")]
    found = table.scores("choices", "acc")
    expected = [row for row in run.scores.to_pylist() if row["task"] == "choices"]
    assert found.run.tolist() == [0] * 60 + [1] * 90
    assert found.sample_id is not None
    assert found.sample_id[60:].tolist() == [row["sample_id"] for row in expected]
    assert [f"{digest:016x}" for digest in found.content[60:]] == [r["content"] for r in expected]
    assert [f"{digest:016x}" for digest in found.asked[60:]] == [r["asked"] for r in expected]
    assert found.value[60:].tolist() == [row["value"] for row in expected]
    passages = [row["cluster"] for row in expected]
    same = [a == b for a, b in itertools.pairwise(passages)]
    assert [a == b for a, b in itertools.pairwise(found.cluster[60:])] == same


def test_a_run_is_not_compared_with_itself(run: Run) -> None:
    with pytest.raises(UsageError, match="named twice"):
        read_scores([run, load_run(run.path)])


def test_what_is_not_scored_is_not_a_number(run: Run) -> None:
    found = read_scores([run]).scores("mixed", "acc")
    statuses = [r["status"] for r in run.scores.to_pylist() if r["task"] == "mixed"]
    assert "unscored" in statuses
    assert np.isnan(found.value).tolist() == [status != "scored" for status in statuses]
    assert found.errored is not None
    assert found.errored.tolist() == [status == "errored" for status in statuses]


def test_only_the_tasks_that_are_wanted_are_read(run: Run) -> None:
    assert read_scores([run], tasks=["steps"]).keys == [("steps", "acc")]


def test_a_record_without_digests_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    pq.write_table(run.scores.drop_columns(["content"]), tmp_path / "scores.parquet")
    with pytest.raises(UsageError, match=r"content.*an older llmeval wrote it") as caught:
        read_scores([run, load_run(tmp_path)])
    assert caught.value.where == str(tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"PAR1 not really"])
def test_a_record_that_cannot_be_read_is_named(
    run: Run, tmp_path: Path, content: bytes | None
) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    if content is not None:
        (tmp_path / "scores.parquet").write_bytes(content)
    with pytest.raises(UsageError, match=r"scores\.parquet") as caught:
        read_scores([run, load_run(tmp_path)])
    assert str(tmp_path) in str(caught.value)


def test_a_digest_that_is_none_is_an_error_with_the_record(run: Run, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    column = pa.array(["not hex"] * run.scores.num_rows)
    index = run.scores.column_names.index("content")
    pq.write_table(run.scores.set_column(index, "content", column), tmp_path / "scores.parquet")
    with pytest.raises(UsageError, match="cannot be read"):
        read_scores([load_run(tmp_path)])


def test_rows_stand_run_by_run_however_they_come() -> None:
    """DuckDB gave the second of two small files first in one read of twenty."""
    columns = {
        "run": np.array([1, 1, 0, 0], dtype=np.int32),
        "row": np.array([0, 1, 1, 0], dtype=np.int32),
        "value": np.array([10.0, 11.0, 1.0, 0.0]),
    }
    found = _put_in_order(columns)
    assert found["run"].tolist() == [0, 0, 1, 1]
    assert found["value"].tolist() == [0.0, 1.0, 10.0, 11.0]
