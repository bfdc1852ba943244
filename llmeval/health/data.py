"""The rows and their scores: items that come twice, answers that are all alike, or missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmeval.health.counting import FrequentKeys
from llmeval.health.finding import Finding, Metrics, Share
from llmeval.health.seen import Seen

TWICE = "duplicate items"
NO_SPREAD = "no spread"
ERRORED = "questions without an answer"
NOT_SCORED = "samples not scored"

_TWICE = 0.05  # of samples: fewer are in most public data, and change little
_TWICE_LEAST = 2
_SPREAD_LEAST = 20  # samples: of fewer, all may well be right
_ERRORED = 0.01  # of samples
_GRAVE = 0.05  # of samples: where a run counts as invalid by default
_NOT_SCORED = 0.05  # of samples: below that the coverage beside the number tells enough
_NOT_SCORED_LEAST = 3
_MINORITY = 0.5  # of samples: the number is then of less than half of them
_REASON = 120  # characters


class Duplicates:
    """Rows that are equal in all fields and in their answer; a hash of each is kept, in a set."""

    def __init__(self) -> None:
        self._contents: set[int] = set()
        self._share = Share()

    def add(self, seen: Seen) -> None:
        self._share.add(seen.content in self._contents, seen.sample.id)
        self._contents.add(seen.content)

    @property
    def tests(self) -> Mapping[str, int]:
        return {}

    def find(self, metrics: Metrics) -> Iterator[Finding]:
        if self._share.is_above(_TWICE, _TWICE_LEAST):
            yield self._share.finding(
                TWICE,
                "warning",
                f"{self._share} items are copies of an earlier one",
                "drop them (llmeval data add, after deduplication): a copy counts twice, and the "
                "interval is too narrow",
            )


class Spread:
    """Metrics in which every sample has the same value."""

    def __init__(self) -> None:
        self._ranges: dict[str, tuple[float, float, int]] = {}
        self._examples: list[str] = []

    def add(self, seen: Seen) -> None:
        if len(self._examples) < 3:
            self._examples.append(seen.sample.id)
        for score in seen.scores:
            value = score.value
            if score.status == "scored" and value is not None:
                low, high, n = self._ranges.get(score.metric, (value, value, 0))
                self._ranges[score.metric] = (min(low, value), max(high, value), n + 1)

    @property
    def tests(self) -> Mapping[str, int]:
        return {NO_SPREAD: 1}

    def find(self, metrics: Metrics) -> Iterator[Finding]:
        """All metrics must be so: one filter that reads nothing is another finding."""
        ranges = self._ranges
        n = min((n for _, _, n in ranges.values()), default=0)
        if n < _SPREAD_LEAST or any(low != high for low, high, _ in ranges.values()):
            return
        values = {name: low for name, (low, _, _) in ranges.items()}
        by_luck = max(_luck(value, n, metrics.get(name, {})) for name, value in values.items())
        words = {0.0: "every answer is wrong", 1.0: "every answer is right"}
        alike = set(values.values())
        named = ", ".join(f"{name} {value:g}" for name, value in values.items())
        what = words.get(alike.pop(), "") if len(alike) == 1 else ""
        yield Finding(
            check=NO_SPREAD,
            severity="warning",
            what=f"{what or 'all samples have the same score'} ({named}; n {n:,})",
            mend=(
                "read some samples: nothing may be read as it was meant; else the task tells this "
                "model from no other"
            ),
            count=n,
            n=n,
            examples=tuple(self._examples),
            p=by_luck,
        )


def _luck(value: float, n: int, metric: Mapping[str, Any]) -> float:
    """Return how likely it is that one who guesses is wrong, or right, in all of n samples."""
    chance = metric.get("chance")
    if chance is None or value not in (0.0, 1.0):
        return 0.0
    return float(chance if value else 1 - chance) ** n


class Errored:
    """Samples to which no answer came, or whose judging broke."""

    def __init__(self) -> None:
        self._share = Share()
        self._reasons: FrequentKeys[str] = FrequentKeys(16)

    def add(self, seen: Seen) -> None:
        reason = next((s.reason for s in seen.scores if s.status == "errored"), None)
        self._share.add(reason is not None, seen.sample.id)
        if reason is not None:
            self._reasons.add(reason[:_REASON])

    @property
    def tests(self) -> Mapping[str, int]:
        return {}

    def find(self, metrics: Metrics) -> Iterator[Finding]:
        top = self._reasons.top()
        if top is not None and self._share.is_above(_ERRORED):
            yield self._share.finding(
                ERRORED,
                "error" if self._share.share > _GRAVE else "warning",
                f"{self._share} samples errored, mostly: {top[0]}",
                "give the same command again: it asks only these; those lost are seldom a random "
                "part of the data",
            )


class NotScored:
    """Samples of which no metric was scored, though nothing broke."""

    def __init__(self) -> None:
        self._share = Share()
        self._reasons: FrequentKeys[str] = FrequentKeys(16)

    def add(self, seen: Seen) -> None:
        statuses = {score.status for score in seen.scores}
        lost = statuses == {"unscored"}
        self._share.add(lost, seen.sample.id)
        if lost:
            self._reasons.add((seen.scores[0].reason or "no reason given")[:_REASON])

    @property
    def tests(self) -> Mapping[str, int]:
        return {}

    def find(self, metrics: Metrics) -> Iterator[Finding]:
        top, share = self._reasons.top(), self._share
        if top is not None and share.is_above(_NOT_SCORED, _NOT_SCORED_LEAST):
            yield share.finding(
                NOT_SCORED,
                "error" if share.share > _MINORITY else "warning",
                f"{share} samples have no score, mostly: {top[0]}",
                "the number is of the others only, which are seldom a random part: report how "
                "many, and compare it with runs that scored the same samples"
                if share.count < share.n
                else "the task has no number: mend the reason, or leave it out",
            )
