"""Accuracy against what it costs, and who is on the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

from llmeval.reports.leaderboard.board import Axis, Column, Figures, Row, Spot, Tradeoff

AXES = (
    Axis("usd_per_1000", "USD per 1,000 samples"),
    Axis("seconds_per_sample", "seconds per sample"),
    Axis("latency", "median seconds per call"),
    Axis("tokens_per_second", "prompt and answer tokens per second", more_is_better=True),
    Axis("memory", "peak memory, GB", scale=1e9),
    Axis("parameters", "parameters, billions", scale=1e9),
)


def find_tradeoffs(rows: Sequence[Row], column: Column | None) -> list[Tradeoff]:
    """Return the trade-offs for which two rows or more have both numbers, and differ in the cost.

    Args:
        rows: models; baselines cost next to nothing and would be the front.
        column: whose values they are about; the average if None.
    """
    found = []
    better = 1 if column is None or column.higher_is_better else -1
    for axis in AXES:
        points = [
            (row.name, x / axis.scale, *value)
            for row in rows
            if (x := _figure(row.figures, axis)) and (value := _value(row, column)) is not None
        ]
        if len({x for _, x, _, _ in points}) < 2:
            continue
        sign = -1 if axis.more_is_better else 1
        front = find_front([(sign * x, better * y) for _, x, y, _ in points])
        spots = [Spot(*point, on) for point, on in zip(points, front, strict=True)]
        spots.sort(key=lambda spot: (spot.x, -spot.y, spot.row))
        found.append(Tradeoff(axis, "average" if column is None else column.key, tuple(spots)))
    return found


def find_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Return which points (cost, value) no other beats: none costs as little or less for as much or
    more, and is better in one of the two."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    front = [False] * len(points)
    best, at = float("-inf"), float("nan")
    for i in order:
        cost, value = points[i]
        front[i] = value > best or (value == best and cost == at)
        if value > best:
            best, at = value, cost
    return front


def _figure(figures: Figures, axis: Axis) -> float | None:
    value = getattr(figures, axis.field)
    return None if value is None else float(value)


def _value(row: Row, column: Column | None) -> tuple[float, tuple[float, float] | None] | None:
    if column is None:
        return None if row.average is None else (row.average.value, row.average.ci95)
    cell = row.cells.get(column.key)
    if cell is None or cell.measured.value is None:
        return None
    return cell.measured.value, cell.measured.ci95
