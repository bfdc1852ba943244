"""Where rows stand: every pair compared on the same items, tiers and bounds of ranks from that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from llmeval.reports.leaderboard.board import Column, Row, Standing
from llmeval.reports.leaderboard.entries import Entry
from llmeval.reports.leaderboard.items import read_items
from llmeval.reports.leaderboard.totals import PairTotals, settle, take
from llmeval.stats import Pairwise, compare_all, rank_intervals, significantly_better, tiers

AVERAGE = "average"  # among columns' keys, which have a blank
_MEANS = ("mean", "nanmean")
_ANOTHER_RUN = "its tasks come from another run"


@dataclass(slots=True)
class Places:
    """A column's standings and what keeps rows out of them, by the rows' positions.

    Attributes:
        no_tiers: why nothing in the column can be compared.
    """

    standings: dict[int, Standing] = field(default_factory=dict)
    unplaced: dict[int, str] = field(default_factory=dict)
    no_tiers: str | None = None


def compare_rows(
    columns: Sequence[Column],
    rows: Sequence[Row],
    entries: Sequence[Entry],
    averages: Mapping[int, float],
    weights: Mapping[str, float],
) -> dict[str, Places]:
    """Compare all rows with each other, in every column and by their averages.

    Args:
        rows: those that compete: baselines and references do not.
        averages: of the rows that have one, by position.
        weights: of the averaged columns, by key: a difference there is multiplied with it.
    """
    places = {c.key: Places(no_tiers=_refuse(c, columns, rows, entries)) for c in columns}
    total = PairTotals(len(rows))
    groups = [
        _Group(c, columns, rows) for c in columns if c.is_group and not places[c.key].no_tiers
    ]
    tasks = [c for c in columns if not c.is_group and not places[c.key].no_tiers]
    for column, items in read_items(tasks, rows, entries):
        places[column.key].unplaced = dict(items.unplaced)
        if not items.rows:
            continue
        pairwise = settle(compare_all(items.values, items.clusters))
        found = [(column, items.rows, pairwise)]
        found += [whole for group in groups for whole in group.add(column, items.rows, pairwise)]
        for one, compared, result in found:
            places[one.key].standings = _place(one, rows, compared, result)
            if one.key in weights:
                total.add(compared, result, weights[one.key])
    for group in groups:
        group.explain(places)
    places[AVERAGE] = _place_averages(total, averages, list(weights), places)
    return places


def _refuse(
    column: Column, columns: Sequence[Column], rows: Sequence[Row], entries: Sequence[Entry]
) -> str | None:
    """Say why the rows of a column cannot be compared by their samples."""
    if not column.is_group:
        cells = [cell for row in rows if (cell := row.cells.get(column.key)) is not None]
        kinds = {cell.measured.aggregation for cell in cells} - set(_MEANS)
        return f"no mean over samples ({min(map(str, kinds))})" if kinds else None
    if column.by_size is None:
        return "how it weights its tasks is not known"
    shown = {(c.task, c.metric) for c in columns}
    for entry in entries:
        for leaf in column.leaves:
            known = leaf in entry.tasks and column.metric in entry.tasks[leaf].metrics
            if known and (leaf, column.metric) not in shown:
                return f"{leaf} is shown by another metric"
    return None


def _place(
    column: Column, rows: Sequence[Row], compared: Sequence[int], pairwise: Pairwise
) -> dict[int, Standing]:
    sign = 1 if column.higher_is_better else -1
    measured = [rows[row].cells[column.key].measured.value for row in compared]
    values = [sign * value for value in measured if value is not None]
    return _stand(compared, values, pairwise)


def _stand(
    compared: Sequence[int], values: Sequence[float], pairwise: Pairwise
) -> dict[int, Standing]:
    if len(compared) < 2:
        return {}  # nothing to stand before or behind
    better = significantly_better(pairwise)
    tier, ranks = tiers(values, pairwise, better=better), rank_intervals(pairwise, better=better)
    return {row: Standing(t, *bounds) for row, t, bounds in zip(compared, tier, ranks, strict=True)}


def _place_averages(
    total: PairTotals,
    averages: Mapping[int, float],
    parts: Sequence[str],
    places: Mapping[str, Places],
) -> Places:
    """Place the rows that were compared in every column of the average."""
    refused = next((f"{key}: {why}" for key in parts if (why := places[key].no_tiers)), None)
    if refused is not None:
        return Places(no_tiers=refused)
    compared = [row for row in total.rows(len(parts)) if row in averages]
    unplaced = {}
    for row in averages.keys() - set(compared):
        reasons = [f"{key}: {why}" for key in parts if (why := places[key].unplaced.get(row))]
        unplaced[row] = reasons[0] if reasons else "not compared in every column"
    values = [averages[row] for row in compared]
    return Places(_stand(compared, values, total.compare(compared)), unplaced)


class _Group:
    """Adds up the comparisons of a group's tasks until they are all there."""

    def __init__(self, column: Column, columns: Sequence[Column], rows: Sequence[Row]) -> None:
        self.column = column
        self._size = len(rows)
        self._shown = {
            row: cell.run
            for row, one in enumerate(rows)
            if (cell := one.cells.get(column.key)) is not None and cell.measured.value is not None
        }
        self._rows = rows
        self._parts = [c for leaf in column.leaves if (c := self._find(leaf, columns)) is not None]
        self._waiting = {part.key for part in self._parts}
        self._totals: PairTotals | None = None

    def _find(self, leaf: str, columns: Sequence[Column]) -> Column | None:
        """Return the column that shows most of the numbers that the group was made of."""
        options = [c for c in columns if c.task == leaf and c.metric == self.column.metric]
        return max(options, key=lambda c: len(self._same_run(c)), default=None)

    def _same_run(self, part: Column) -> list[int]:
        """Return the rows that show the same run in a task as in the group."""
        cells = {row: self._rows[row].cells.get(part.key) for row in self._shown}
        return [row for row, cell in cells.items() if cell and cell.run == self._shown[row]]

    def add(
        self, part: Column, compared: Sequence[int], pairwise: Pairwise
    ) -> Iterator[tuple[Column, tuple[int, ...], Pairwise]]:
        """Take a task's comparisons; with the last one, yield the group's."""
        if part.key not in self._waiting:
            return
        self._waiting.remove(part.key)
        self._totals = self._totals or PairTotals(self._size)
        same = set(self._same_run(part))
        kept = [k for k, row in enumerate(compared) if row in same]
        by_size = None if self.column.by_size else 1.0
        self._totals.add([compared[k] for k in kept], take(pairwise, kept), by_size)
        if not self._waiting:
            whole = self._totals.rows(len(self._parts))
            yield self.column, whole, self._totals.compare(whole)
            self._totals = None  # these are large

    def explain(self, places: Mapping[str, Places]) -> None:
        """Say why rows have no place: their tasks have none, or come from another run."""
        own = places[self.column.key]
        if self._waiting or not self._parts:
            own.no_tiers = "not all of its tasks could be compared"
            return
        for row in self._shown.keys() - own.standings.keys():
            reasons = [
                f"{part.task}: {why}"
                for part in self._parts
                if (why := places[part.key].unplaced.get(row))
            ]
            if reasons or len(self._shown) > 1:
                own.unplaced[row] = reasons[0] if reasons else _ANOTHER_RUN
