"""Items are matched by what they are, and what differs is excluded by name."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llmeval.reports.matching import match
from llmeval.reports.scores import Scores


def scores(*rows: tuple[int, int, int, float, str], clusters: list[int] | None = None) -> Scores:
    """Rows of (run, content, asked, value, sample id)."""
    run, content, asked, value, ids = zip(*rows, strict=True)
    return Scores(
        run=np.array(run, dtype=np.int64),
        value=np.array(value, dtype=float),
        content=np.array(content, dtype=np.uint64),
        asked=np.array(asked, dtype=np.uint64),
        cluster=np.array(clusters or [0] * len(run), dtype=np.uint64),
        sample_id=np.array(ids, dtype=object),
    )


def test_neither_order_nor_names_matter() -> None:
    found = match(
        scores(
            *((0, 11, 1, 1.0, "a"), (0, 12, 1, 0.0, "b")),
            *((1, 12, 1, 1.0, "first"), (1, 11, 1, 0.0, "second")),
        )
    )
    assert found.values.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert found.sample_ids == ("a", "b")
    assert found.excluded == ()
    assert found.common.all()


def test_what_differs_is_excluded_by_name() -> None:
    found = match(
        scores(
            *((0, 1, 1, 1.0, "same"), (0, 2, 1, 1.0, "data"), (0, 3, 1, 1.0, "prompt")),
            *((0, 4, 1, 1.0, "gone"), (0, 5, 1, np.nan, "errored")),
            *((1, 1, 1, 0.0, "same"), (1, 22, 1, 1.0, "data"), (1, 3, 9, 1.0, "prompt")),
            *((1, 5, 1, 1.0, "errored"), (1, 6, 1, 1.0, "new")),
        )
    )
    assert {(e.run, e.reason, e.sample_ids) for e in found.excluded} == {
        (0, "changed data", ("data",)),
        (0, "missing", ("new",)),
        (0, "not scored", ("errored",)),
        (1, "changed data", ("data",)),
        (1, "changed prompt", ("prompt",)),
        (1, "missing", ("gone",)),
    }
    assert found.common.sum() == 1


def test_an_item_that_was_not_asked_was_not_asked_otherwise() -> None:
    found = match(
        scores(
            *((0, 1, 0, np.nan, "broke"), (0, 2, 5, 1.0, "asked")),
            *((1, 1, 9, 1.0, "broke"), (1, 2, 0, np.nan, "asked")),
            *((2, 1, 8, 1.0, "broke"), (2, 2, 5, 1.0, "asked")),
        )
    )
    assert {(e.run, e.reason, e.sample_ids) for e in found.excluded} == {
        (0, "not scored", ("broke",)),
        (1, "not scored", ("asked",)),
        (2, "changed prompt", ("broke",)),
    }


def test_prompts_can_be_compared_across() -> None:
    rows = ((0, 1, 1, 1.0, "a"), (1, 1, 2, 0.0, "a"))
    assert match(scores(*rows)).common.sum() == 0
    assert match(scores(*rows), across_prompts=True).common.sum() == 1


def test_a_row_that_a_data_set_holds_twice_is_two_items() -> None:
    found = match(
        scores(
            *((0, 1, 1, 1.0, "a"), (0, 1, 1, 0.0, "b")),
            *((1, 1, 1, 0.5, "a"), (1, 1, 1, 0.25, "b")),
        )
    )
    assert found.values.tolist() == [[1.0, 0.0], [0.5, 0.25]]


def test_an_item_without_a_cluster_stands_alone() -> None:
    found = match(scores(*((0, i, 1, 1.0, str(i)) for i in range(4)), clusters=[7, 7, 0, 0]))
    assert found.clusters is not None
    assert len(set(found.clusters)) == 3
    assert found.clusters[0] == found.clusters[1]


@given(st.lists(st.integers(0, 8), max_size=20), st.lists(st.integers(0, 8), max_size=20))
def test_common_items_are_the_multiset_intersection(a: list[int], b: list[int]) -> None:
    if not a or not b:
        return
    rows = [(0, x, 1, 1.0, "") for x in a] + [(1, x, 1, 1.0, "") for x in b]
    expected = sum(min(a.count(x), b.count(x)) for x in set(a))
    assert match(scores(*rows)).common.sum() == expected
