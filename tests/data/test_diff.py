"""Differences of two splits: exactly the rows that were added, removed or changed."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmeval.core.errors import UsageError
from llmeval.data.diff import DataDiff, diff
from llmeval.data.fingerprint import row_digests

BASE = [{"id": i, "q": f"question {i}", "answer": i % 4} for i in range(10)]


def shape(found: DataDiff) -> tuple[int, int, int]:
    return len(found.added), len(found.removed), len(found.changed)


def test_equal_splits_do_not_differ() -> None:
    found = diff(BASE, [dict(row) for row in BASE])
    assert found.same and found.unchanged == 10


def test_a_key_column_finds_the_changed_row_wherever_it_stands() -> None:
    after = [dict(row) for row in BASE if row["id"] != 3]
    after[5] |= {"answer": 9}
    after.insert(0, {"id": 77, "q": "new", "answer": 0})
    random.Random(0).shuffle(after)
    found = diff(BASE, after)
    assert shape(found) == (1, 1, 1)
    assert found.rule == "same id"
    assert found.added[0].row["id"] == 77 and found.removed[0].row["id"] == 3
    assert (found.changed[0].key, found.changed[0].columns) == (6, ("answer",))
    assert found.changed[0].before.row["answer"] == 2 and found.changed[0].after.row["answer"] == 9
    assert found.reordered and not found.same


def test_without_a_key_equal_lengths_pair_by_position() -> None:
    before = [{"text": f"passage {i}"} for i in range(5)]
    after = [dict(row) for row in before]
    after[2] = {"text": "passage two, corrected"}
    found = diff(before, after)
    assert shape(found) == (0, 0, 1)
    assert (found.rule, found.changed[0].key) == ("same position", 2)


def test_without_a_key_other_lengths_pair_what_is_alike() -> None:
    before = [{"q": f"question {i}", "a": i, "b": i * i, "c": "x"} for i in range(6)]
    after = [{"q": "quite new", "a": 90, "b": 91, "c": "y"}, *[dict(row) for row in before]]
    after[4] |= {"q": "question three"}
    found = diff(before, after)
    assert shape(found) == (1, 0, 1)
    assert found.rule == "at least half of the columns equal"
    assert found.changed[0].columns == ("q",)
    assert found.changed[0].before.index == 3 and found.changed[0].after.index == 4


def test_an_id_that_repeats_is_no_key() -> None:
    before = [{"id": i // 2, "text": str(i)} for i in range(4)]
    after = [dict(row) for row in before]
    after[0] = {"id": 0, "text": "changed"}
    assert diff(before, after).rule == "same position"


def test_a_named_key_must_tell_rows_apart() -> None:
    with pytest.raises(UsageError, match="'answer' does not tell the rows of the first apart: 0 "):
        diff(BASE, BASE, key="answer")
    with pytest.raises(UsageError, match="it has None"):
        diff(BASE[:1], BASE[:1], key="nope")
    assert diff(BASE, BASE, key="q").rule == "same q"


def test_repeated_rows_are_counted() -> None:
    row = {"text": "same"}
    assert shape(diff([row] * 3, [row])) == (0, 2, 0)
    assert shape(diff([row], [row] * 3)) == (2, 0, 0)


def test_a_mere_reordering_is_named() -> None:
    found = diff(BASE, BASE[::-1])
    assert shape(found) == (0, 0, 0) and found.unchanged == 10
    assert found.reordered and not found.same


def test_nothing_against_something() -> None:
    assert shape(diff([], BASE)) == (10, 0, 0)
    assert shape(diff(BASE, [])) == (0, 10, 0)
    assert diff([], []).same


cells = st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), min_size=1)
tables = st.lists(cells | st.fixed_dictionaries({"id": st.integers(0, 9)}), max_size=8)


@settings(deadline=None)
@given(tables, tables)
def test_every_row_is_accounted_for_once(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    found = diff(before, after)
    assert found.unchanged + len(found.removed) + len(found.changed) == len(before)
    assert found.unchanged + len(found.added) + len(found.changed) == len(after)
    gone = [r.row for r in found.removed] + [c.before.row for c in found.changed]
    come = [r.row for r in found.added] + [c.after.row for c in found.changed]
    rebuilt = Counter(row_digests(before)) - Counter(row_digests(gone))
    rebuilt += Counter(row_digests(come))
    assert rebuilt == Counter(row_digests(after))
    assert found.same == (row_digests(before) == row_digests(after))
    assert all(change.columns for change in found.changed)
