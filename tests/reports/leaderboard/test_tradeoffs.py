"""Trade-offs: who is on the Pareto front, and who is in the plot at all."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from llmeval.reports.leaderboard.board import Average, Figures, Row
from llmeval.reports.leaderboard.tradeoffs import find_front, find_tradeoffs

Points = Sequence[tuple[float, float]]


def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] >= other[1] and one != other


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_the_front_is_whom_nobody_beats(points: Points) -> None:
    expected = [not any(beats(other, point) for other in points) for point in points]
    assert find_front(points) == expected


def row(name: str, value: float | None, **figures: float) -> Row:
    average = None if value is None else Average(value, 0.1, (value - 0.2, value + 0.2))
    return Row(name, "model", average=average, figures=Figures(**figures))  # type: ignore[arg-type]


def test_only_rows_with_both_numbers_are_in_a_tradeoff() -> None:
    rows = [
        row("cheap", 0.5, usd_per_1000=1.0),
        row("dear", 0.7, usd_per_1000=9.0),
        row("beaten", 0.6, usd_per_1000=10.0),
        row("unpriced", 0.9),
        row("unmeasured", None, usd_per_1000=0.1),
    ]
    [found] = find_tradeoffs(rows, None)
    assert [spot.row for spot in found.spots] == ["cheap", "dear", "beaten"]
    assert found.front == ["cheap", "dear"]


def test_of_speed_more_is_better() -> None:
    rows = [row("slow", 0.7, tokens_per_second=10), row("fast", 0.6, tokens_per_second=90)]
    rows.append(row("slow and bad", 0.5, tokens_per_second=5))
    [found] = find_tradeoffs(rows, None)
    assert set(found.front) == {"slow", "fast"}


def test_one_row_is_no_tradeoff() -> None:
    assert find_tradeoffs([row("alone", 0.5, usd_per_1000=1.0)], None) == []


def test_where_all_cost_the_same_there_is_no_tradeoff() -> None:
    rows = [row("one", 0.5, parameters=7e9), row("other", 0.6, parameters=7e9)]
    assert find_tradeoffs(rows, None) == []
