"""One label favoured: do lost items go to it more often than errors without preference would?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmeval.stats import holm

_MOST_LABELS = 26
_LEAST = 5  # lost items, from which a preference can be told
_EXCESS = 0.15  # of the lost items, beyond what is expected
_ALPHA = 0.01


@dataclass(frozen=True, slots=True)
class Favoured:
    """A label that wrong answers go to.

    Attributes:
        picked: how many of the ``wrong`` items name it, where ``expected`` would.
        before, after: its share of all answers in the two runs.
        p: one-sided, adjusted over labels.
    """

    label: str
    picked: int
    wrong: int
    expected: float
    before: float
    after: float
    p: float


@dataclass(frozen=True, slots=True)
class Answers:
    """What one task's answers name.

    Args:
        wrong: picks of the items that a side has wrong and the other one right.
        right: picks of all items that the other side has right: the labels that are right.
        before, after: all picks of the two runs by sample.
    """

    wrong: Sequence[str]
    right: Sequence[str]
    before: Mapping[str, str]
    after: Mapping[str, str]

    @property
    def labels(self) -> set[str]:
        return set(self.before.values()) | set(self.after.values())

    def expect(self) -> dict[str, float]:
        """Return how many of the wrong answers name each label, had they no preference.

        An error then falls on each of the k - 1 other labels equally often, and on items of each
        right label alike: so a share (1 - g) / (k - 1) of the errors names a label which is right
        in a share g.
        """
        labels, right = self.labels, Counter(self.right)
        most = len(self.wrong) / (len(labels) - 1)
        return {label: most * (1 - right[label] / len(self.right)) for label in labels}


def find_favoured(tasks: Sequence[Answers]) -> list[Favoured]:
    """Return the labels that a side's wrong answers favour, over all tasks of a unit.

    One-sided binomial test with the mean of the tasks' shares, which errs on the safe side where
    they differ (Hoeffding 1956); Holm over labels.
    """
    tasks = [one for one in tasks if one.right and 2 <= len(one.labels) <= _MOST_LABELS]
    counts = Counter(pick for one in tasks for pick in one.wrong)
    expected: Counter[str] = Counter()
    for one in tasks:
        expected.update(one.expect())
    total = counts.total()
    if total < _LEAST or len(expected) > _MOST_LABELS:
        return []
    from scipy.special import bdtrc

    pvalues = [
        float(bdtrc(counts[label] - 1, total, expected[label] / total)) if counts[label] else 1.0
        for label in sorted(expected)
    ]
    return [
        Favoured(
            label=label,
            picked=counts[label],
            wrong=total,
            expected=expected[label],
            before=_share([one.before for one in tasks], label),
            after=_share([one.after for one in tasks], label),
            p=p,
        )
        for label, p in zip(sorted(expected), holm(pvalues), strict=True)
        if p is not None and p < _ALPHA and counts[label] - expected[label] >= _EXCESS * total
    ]


def _share(picks: Sequence[Mapping[str, str]], label: str) -> float:
    said = [pick for one in picks for pick in one.values()]
    return said.count(label) / len(said) if said else 0.0
