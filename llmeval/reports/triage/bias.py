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


def find_favoured(
    wrong: Sequence[str],
    right_picks: Sequence[str],
    before: Mapping[str, str],
    after: Mapping[str, str],
) -> list[Favoured]:
    """Return the labels that a side's wrong answers favour.

    An error without preference falls on each of the k - 1 other labels equally often, and on items
    of each right label alike: so a share (1 - g) / (k - 1) of the errors names a label which is
    right in a share g. One-sided binomial test, Holm over labels.

    Args:
        wrong: picks of the items that this side has wrong and the other one right.
        right_picks: picks of all items that the other side has right: the labels that are right.
        before, after: all picks of the two runs by sample.
    """
    labels = set(before.values()) | set(after.values())
    if not 2 <= len(labels) <= _MOST_LABELS or len(wrong) < _LEAST or not right_picks:
        return []
    from scipy.special import bdtrc

    counts, right = Counter(wrong), Counter(right_picks)
    shares = {
        label: (1 - right[label] / len(right_picks)) / (len(labels) - 1) for label in sorted(labels)
    }
    pvalues = {
        label: float(bdtrc(counts[label] - 1, len(wrong), share)) if counts[label] else 1.0
        for label, share in shares.items()
    }
    adjusted = dict(zip(pvalues, holm(list(pvalues.values())), strict=True))
    return [
        Favoured(
            label=label,
            picked=counts[label],
            wrong=len(wrong),
            expected=share * len(wrong),
            before=_share(before, label),
            after=_share(after, label),
            p=p,
        )
        for label, share in shares.items()
        if (p := adjusted[label]) is not None
        and p < _ALPHA
        and counts[label] / len(wrong) >= share + _EXCESS
    ]


def _share(picks: Mapping[str, str], label: str) -> float:
    return sum(pick == label for pick in picks.values()) / len(picks) if picks else 0.0
