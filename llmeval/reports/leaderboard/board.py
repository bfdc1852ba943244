"""The nouns of a leaderboard: columns, rows, cells, and where each row stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from llmeval.reports.forms import PromptForm
from llmeval.reports.leaderboard.entries import Entry, Human, LeftOut, Measured

_NAMED = 8  # rows of a front that are told

Kind = Literal["model", "baseline", "reference"]
"""A ``reference`` has no run: chance, and human values that tasks state."""


@dataclass(frozen=True, slots=True)
class Column:
    """A metric of a task or group, asked in one form.

    Attributes:
        key: names the column: task and metric, and the form where a task has several.
        label: what tells its form from the task's other columns; "" where it is the only one.
        parent: the group that this column is folded into; None at the top.
        leaves: of a group: the tasks below it; empty for a task.
        by_size: of a group: whether it weights its tasks by their size; None if that is unknown.
        averaged: whether it is a part of the average; else ``not_averaged`` says why.
        no_tiers: why nothing in it can be compared, None where it can.
        n: samples that most of the numbers shown have.
    """

    key: str
    task: str
    metric: str
    form: PromptForm
    label: str
    higher_is_better: bool
    parent: str | None = None
    leaves: tuple[str, ...] = ()
    by_size: bool | None = None
    averaged: bool = False
    not_averaged: str | None = None
    no_tiers: str | None = None
    n: int = 0
    human: Human | None = None

    @property
    def is_group(self) -> bool:
        return bool(self.leaves)

    @property
    def title(self) -> str:
        """Task, metric and direction for people."""
        form = f" ({self.label})" if self.label else ""
        return f"{self.task}{form} {self.metric} {'↑' if self.higher_is_better else '↓'}"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a row stands in a column, by comparisons on the same items.

    Attributes:
        tier: 1 is the best; rows of a tier are not told apart from its leader.
        best, worst: bounds of its rank, simultaneous over all rows.
    """

    tier: int
    best: int
    worst: int

    @property
    def ranks(self) -> str:
        return str(self.best) if self.best == self.worst else f"{self.best}-{self.worst}"


@dataclass(frozen=True, slots=True)
class Cell:
    """A row's number in a column.

    Attributes:
        measured: the number; a reference has a value and nothing else.
        run: position of the entry that it comes from; None for a reference.
        standing: None where the row cannot be compared, and ``unplaced`` says why.
        at_chance: whether its interval reaches down to chance; None where that is not known.
        faults: what makes the number mean something else, as health checks found.
    """

    measured: Measured
    run: int | None = None
    standing: Standing | None = None
    unplaced: str | None = None
    at_chance: bool | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Average:
    """The unweighted mean over the averaged columns; only a row that has them all has one."""

    value: float
    stderr: float | None
    ci95: tuple[float, float] | None
    standing: Standing | None = None
    unplaced: str | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """What a row took; None where it is not known. Speeds are of what the journal did not answer.

    Attributes:
        usd: of the tasks that the board shows.
        usd_per_1000: for a thousand of their samples.
        tokens_per_second: of prompts and answers, by the time in which the model worked.
        seconds_per_sample: of that time.
        latency: median seconds of a call to the server.
        memory: bytes at the peak.
        parameters: of the model.
        training_seconds, learned_bytes: of a baseline that learns.
    """

    usd: float | None = None
    usd_per_1000: float | None = None
    tokens_per_second: float | None = None
    seconds_per_sample: float | None = None
    latency: float | None = None
    memory: int | None = None
    parameters: int | None = None
    training_seconds: float | None = None
    learned_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A model, a baseline, or a reference.

    Attributes:
        name: unique on the board.
        runs: positions of its entries, newest first.
        cells: by the columns' keys.
        missing: averaged columns that it lacks.
    """

    name: str
    kind: Kind
    runs: tuple[int, ...] = ()
    cells: Mapping[str, Cell] = field(default_factory=dict)
    average: Average | None = None
    missing: tuple[str, ...] = ()
    figures: Figures = Figures()


@dataclass(frozen=True, slots=True)
class Axis:
    """What accuracy is set against.

    Args:
        field: of `Figures`.
        more_is_better: else less is.
        scale: what the figure is divided by on the axis.
    """

    field: str
    title: str
    more_is_better: bool = False
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Spot:
    """A row in a trade-off."""

    row: str
    x: float
    y: float
    ci95: tuple[float, float] | None
    on_front: bool


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """Rows that have both numbers.

    Attributes:
        value: what stands on the other axis: ``average``, or a column's key.
        spots: by x; those of the front are beaten by no other in both.
    """

    axis: Axis
    value: str
    spots: tuple[Spot, ...]

    @property
    def front(self) -> list[str]:
        return [spot.row for spot in self.spots if spot.on_front]

    def describe(self) -> str:
        """Say who is on the front."""
        names, more = self.front[:_NAMED], len(self.front) - _NAMED
        shown = ", ".join(names) + (f" and {more} more" if more > 0 else "")
        return f"Pareto front of {self.value} against {self.axis.title}: {shown}"


@dataclass(frozen=True, slots=True)
class Board:
    """A leaderboard.

    Attributes:
        columns: groups before what is folded into them.
        rows: models, best first; then baselines, best first; then references.
        entries: the runs that the rows are made of.
        sort: key of the column that the rows are sorted by; None for the average.
        normalized: whether the average is of values above chance.
        average: what the average is, as a sentence; None where no row has one.
        left_out: runs that are not on the board.
        notes: what a reader has to know, as sentences.
        tradeoffs: accuracy against what it costs.
    """

    columns: Sequence[Column]
    rows: Sequence[Row]
    entries: Sequence[Entry]
    sort: str | None
    normalized: bool
    average: str | None
    left_out: Sequence[LeftOut]
    notes: Sequence[str]
    tradeoffs: Sequence[Tradeoff]

    @property
    def models(self) -> list[Row]:
        return [row for row in self.rows if row.kind == "model"]

    @property
    def top_columns(self) -> list[Column]:
        return [column for column in self.columns if column.parent is None]
