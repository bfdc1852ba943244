"""Worse than guessing: right answers that are rarer than chance, in a task or in a part of it.

A model that knows nothing is at chance. One that is clearly below it is asked or judged wrongly
(labels shifted by one, a wrong answer key, choices in another order), or the items mislead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmeval.health.counting import TESTED, few
from llmeval.health.finding import EXAMPLES, Finding, Metrics
from llmeval.health.seen import Seen, TaskFacts

BELOW = "below chance"
PART_BELOW = "a part below chance"

_LEAST = 20  # samples of a task or a part; of fewer, even none right says little
_MOST_VALUES = 512  # of a field that makes parts: with more it names rows rather than kinds of them
_SHOWN = 3  # parts that a finding names
_RELATIVE = 0.9
"""Of chance: at 15,000 samples a thousandth is significant, and says nothing of labels."""

_PART_FIELDS = (
    "subject", "category", "subcategory", "topic", "domain", "language", "lang", "source",
    "difficulty", "level", "activity_label", "type",
)  # fmt: skip
"""Fields by which data sets name kinds of rows, for tasks that declare no metadata."""


@dataclass(slots=True)
class _Part:
    """Samples that are tested together.

    Attributes:
        guessed: right answers that guessing would give.
        right: for each position, how many samples have a right choice there.
        picked: samples of which it is known what was picked and what is right.
    """

    n: int = 0
    hits: int = 0
    guessed: float = 0.0
    picked: int = 0
    right: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, seen: Seen, hit: bool, guessed: float) -> None:
        self.n += 1
        self.hits += hit
        self.guessed += guessed
        if seen.pick is not None and seen.right:
            self.picked += 1
            for position in seen.right:
                self.right[position] += 1
        if not hit and len(self.wrong) < EXAMPLES:
            self.wrong.append(seen.sample.id)


class BelowChance:
    """Compares right answers with what knowing nothing would give.

    That is the lower of two: the share of choices that are right, and what the model's habits alone
    would give (it says yes nine times in ten, and no is right in half of the cases). The second is
    another finding, of one answer being favoured.
    """

    def __init__(self, facts: TaskFacts) -> None:
        levels = {name: level for name, level in (facts.chance or {}).items() if level is not None}
        self._metric = "acc" if "acc" in levels else next(iter(levels), None)
        self._level = levels.get(self._metric or "")
        self._all = _Part()
        self._picks: Counter[int] = Counter()
        self._parts: dict[str, dict[Any, _Part]] = {}
        self._dropped: set[str] = set()

    def add(self, seen: Seen) -> None:
        score = next((s for s in seen.scores if s.metric == self._metric), None)
        if score is None or score.value is None:
            return
        guessed = self._guess(seen)
        if guessed is None or score.value not in (0.0, 1.0):
            return
        hit = score.value == 1.0
        self._all.add(seen, hit, guessed)
        if seen.pick is not None:
            self._picks[seen.pick] += 1
        for name, value in _name_parts(seen):
            self._part(name, value, seen, hit, guessed)

    def _guess(self, seen: Seen) -> float | None:
        if self._level != "choices":
            return self._level
        gold = seen.sample.gold
        if gold is None or not gold.choices:
            return None
        return len(gold.right) / len(gold.choices)

    def _part(self, name: str, value: Any, seen: Seen, hit: bool, guessed: float) -> None:
        if name in self._dropped:
            return
        parts = self._parts.setdefault(name, {})
        if value not in parts and len(parts) == _MOST_VALUES:
            self._dropped.add(name)
            del self._parts[name]
            return
        parts.setdefault(value, _Part()).add(seen, hit, guessed)

    @property
    def tests(self) -> Mapping[str, int]:
        parts = sum(1 for _ in self._tested_parts())
        return {BELOW: int(self._all.n >= _LEAST), PART_BELOW: parts}

    def find(self, metrics: Metrics) -> Iterator[Finding]:
        effect = _design_effect(metrics.get(self._metric or "", {}))
        p = self._test(self._all, effect)
        if p is not None and p < TESTED:
            yield self._finding(p)
            return
        parts = list(self._tested_parts())
        found = [
            (p, f"{name}={value}", part)
            for name, value, part in parts
            # Each that is named must hold by itself: one bad part must not accuse others.
            if (p := self._test(part, effect)) is not None and p * len(parts) < TESTED
        ]
        if found:
            yield _parts_finding(sorted(found, key=lambda item: item[0]))

    def _tested_parts(self) -> Iterator[tuple[str, Any, _Part]]:
        for name, parts in self._parts.items():
            for value, part in parts.items():
                if _LEAST <= part.n < self._all.n:
                    yield name, value, part

    def _test(self, part: _Part, effect: float) -> float | None:
        """Return the p-value of being below chance; None where it is not, or not by much."""
        if part.n < _LEAST:
            return None
        expected = min(part.guessed / part.n, self._by_habit(part))
        if part.hits >= _RELATIVE * expected * part.n:
            return None
        return few(part.hits / effect, part.n / effect, expected)

    def _by_habit(self, part: _Part) -> float:
        """Return how often picks would be right that are as frequent, but independent of rows."""
        total = self._picks.total()
        if not total or part.picked < part.n:
            return 1.0
        hits = sum(self._picks[position] * count for position, count in part.right.items())
        return hits / total / part.n

    def _finding(self, p: float) -> Finding:
        part, chance = self._all, self._all.guessed / self._all.n
        return Finding(
            check=BELOW,
            severity="error",
            what=(
                f"{self._metric} is {part.hits / part.n:.3f}, below the {chance:.3f} of guessing: "
                f"{part.hits:,} of {part.n:,} are right"
            ),
            mend=(
                "compare target and choices of some samples with the data's answer key: labels may "
                "be shifted, or choices in another order; adversarial items do this to weak models"
            ),
            count=part.n - part.hits,
            n=part.n,
            examples=tuple(part.wrong),
            p=p,
        )


def _parts_finding(found: list[tuple[float, str, _Part]]) -> Finding:
    p, _, worst = found[0]
    shown = [
        f"{name}: {part.hits:,} of {part.n:,} right, guessing gives {part.guessed / part.n:.3f}"
        for _, name, part in found[:_SHOWN]
    ]
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return Finding(
        check=PART_BELOW,
        severity="error",
        what=f"worse than guessing in {'; '.join(shown)}{more}",
        mend="check the answer key of this part of the data: its labels may be shifted or wrong",
        count=worst.n - worst.hits,
        n=worst.n,
        examples=tuple(worst.wrong),
        p=p,
    )


def _name_parts(seen: Seen) -> Iterator[tuple[str, Any]]:
    sample = seen.sample
    values = sample.metadata or {n: sample.fields[n] for n in _PART_FIELDS if n in sample.fields}
    for name, value in values.items():
        if isinstance(value, str | int):
            yield name, value
    if sample.cluster is not None:
        yield "cluster", sample.cluster


def _design_effect(metric: Mapping[str, Any]) -> float:
    """Return by how much clusters make a sample smaller: their variance by that of single rows."""
    value, stderr, n = metric.get("value"), metric.get("stderr"), metric.get("n") or 0
    if value is None or stderr is None or n < 2 or not 0 < value < 1:
        return 1.0
    effect: float = stderr**2 * (n - 1) / (value * (1 - value))
    return max(1.0, effect)
