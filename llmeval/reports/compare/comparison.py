"""What a comparison of runs says: plain data, from which every output is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from llmeval.reports.matching import Reason
from llmeval.stats import Estimate

ALPHA = 0.05
POWER = 0.8

Side = Literal["baseline", "challenger"]
Direction = Literal["lost", "gained"]
Family = Literal["headline", "subtasks"]
"""Rows that are tested together: groups and tasks of no group; what is inside of groups."""

Verdict = Literal["better", "worse", "no difference seen", "not estimable"]
"""What is said of the challenger.

- ``better``, ``worse``: p, adjusted by Holm, is below 5%.
- ``no difference seen``: a difference below the minimum detectable one cannot be excluded.
- ``not estimable``: the row's ``why`` says why.
"""

POPULATION = (
    "Standard errors are about items like these: other items of the same kind, each answered once. "
    "The same model asked again would differ by its decoding noise, which is not separated."
)


@dataclass(frozen=True, slots=True)
class Contestant:
    """A run that is compared.

    Attributes:
        label: the model's name; with the run's id where two runs have the same.
        usage, seconds: of the whole run, as in its summary.
    """

    run_id: str
    path: str
    label: str
    model: str
    fingerprint: str | None
    status: str
    usage: Mapping[str, Any]
    seconds: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FormDifference:
    """One aspect of how tasks were asked in which two runs differ."""

    aspect: str
    baseline: str
    challenger: str
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Excluded:
    """Items of a row that are not compared.

    Attributes:
        side: the run that lacks a comparable number.
        sample_ids: their names; those of a group's items have the task before them.
    """

    side: Side
    reason: Reason
    count: int
    sample_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Test:
    """A test that there is no difference, two-sided.

    Attributes:
        name: which one, or why there is none.
        p: None where nothing could be tested.
        p_holm: p adjusted within the family.
    """

    name: str
    p: float | None
    p_holm: float | None
    family: Family


@dataclass(frozen=True, slots=True)
class Flip:
    """An item that the challenger answered better or worse than the baseline.

    Attributes:
        prompt: the first question's; a chat is JSON.
        extracted: what was read out of each answer, where the task says.
        answers: each answer: the completion, or the likeliest of the choices.
    """

    direction: Direction
    task: str
    sample_id: str
    scores: tuple[float, float]
    prompt: str | None
    extracted: tuple[str | None, str | None]
    answers: tuple[str | None, str | None]
    target: str | None


@dataclass(frozen=True, slots=True)
class Flips:
    """Items whose score changed.

    Attributes:
        graded: scores are not just right and wrong, so these went down and up.
        lost, gained: how many got worse, and better.
        lost_ids, gained_ids: their names; those of a group's items have the task before them.
        examples: some of each, told in full.
    """

    graded: bool
    lost: int
    gained: int
    lost_ids: tuple[str, ...]
    gained_ids: tuple[str, ...]
    examples: tuple[Flip, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One task or group by one metric.

    Attributes:
        parent: the top-level group above it, None for a headline.
        depth: how many groups stand above it.
        aggregation: how items become the value; of a group ``weighted by size`` or ``unweighted``.
        baseline, challenger: on the common items, each with its own interval; on all items of each
            run where ``common`` is false (nothing is known of the aggregation).
        difference: challenger minus baseline, on pairs.
        mde: the true difference that this n and spread find with 80% power, unadjusted.
        needed_n: common items that would find the observed difference with 80% power.
        flips: None for a corpus metric, which has no value for an item.
        across: the items were asked in different forms.
        why: what the verdict rests on, in words.
    """

    name: str
    metric: str
    is_group: bool
    parent: str | None
    depth: int
    higher_is_better: bool
    aggregation: str
    n: int
    common: bool
    baseline: Estimate
    challenger: Estimate
    difference: Estimate
    test: Test
    mde: float | None
    needed_n: int | None
    flips: Flips | None
    excluded: tuple[Excluded, ...]
    across: bool
    verdict: Verdict
    why: str

    @property
    def is_headline(self) -> bool:
        return self.parent is None


@dataclass(frozen=True, slots=True)
class Pair:
    """A challenger against the baseline.

    Attributes:
        forms: in what the prompt forms differ; empty unless compared across forms.
        only_baseline, only_challenger: tasks that the other run does not have.
        notes: what else a reader must know, a sentence each.
    """

    challenger: Contestant
    rows: tuple[Row, ...]
    forms: tuple[FormDifference, ...]
    only_baseline: tuple[str, ...]
    only_challenger: tuple[str, ...]
    notes: tuple[str, ...]

    def count(self, verdict: Verdict) -> int:
        """Return how many of the headlines have a verdict."""
        return sum(row.is_headline and row.verdict == verdict for row in self.rows)

    def family_size(self, family: Family) -> int:
        return sum(row.test.family == family for row in self.rows)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One baseline and its challengers."""

    baseline: Contestant
    pairs: tuple[Pair, ...]
    across_forms: bool

    @property
    def contestants(self) -> tuple[Contestant, ...]:
        return (self.baseline, *(pair.challenger for pair in self.pairs))

    @property
    def is_worse(self) -> bool:
        """Whether any challenger is significantly worse in a headline, after Holm."""
        return any(pair.count("worse") for pair in self.pairs)
