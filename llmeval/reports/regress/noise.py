"""How far a model moves by itself: the same questions asked again on one night (a sentinel).

Decoding noise separates chance from drift. Its population is *these very items, answered again*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmeval.reports.matching import Matched, match
from llmeval.reports.regress.units import UnitName
from llmeval.reports.scores import Floats, Scores, read_scores
from llmeval.runs import Run
from llmeval.stats import decoding_stderr

_STANDS_OUT = 2.0  # SDs of decoding
_UNSEEN = 0.05  # chance that no item moves, of the largest noise that is held possible then


@dataclass(frozen=True, slots=True)
class Noise:
    """What repeated answers say about one unit.

    Attributes:
        items, draws: how many items were asked, how often each on one night.
        sd: standard deviation of an item's score over its draws; 0 where all of them agree.
        changed: share of the items whose draws do not all have the same score.
    """

    items: int
    draws: int
    sd: float
    changed: float

    @property
    def largest(self) -> float:
        """The largest SD that all of the items would often hide, of a metric in [0, 1].

        An item that is right with probability p has the variance p (1 - p), and two draws of it
        differ with twice that. So the mean variance is at most half of the share of moving items,
        of which none is seen with 5%.
        """
        return math.sqrt((1 - _UNSEEN ** (1 / self.items)) / 2)


@dataclass(frozen=True, slots=True)
class Drift:
    """A difference beside what decoding alone would make of it.

    Attributes:
        tonight: noise of tonight's answers; ``baseline`` of the baseline's, None where it was not
            repeated and tonight's stands for it.
        difference: of the two means; positive is better.
        sd: its standard deviation by decoding alone; the largest possible where ``unseen``.
        unseen: whether all answers repeated, so that noise is only known to be small.
    """

    tonight: Noise
    baseline: Noise | None
    difference: float
    sd: float
    unseen: bool = False

    @property
    def z(self) -> float:
        """The difference in SDs."""
        return self.difference / self.sd

    @property
    def stands_out(self) -> bool:
        """Whether decoding alone does not explain the difference."""
        return abs(self.z) >= _STANDS_OUT

    @property
    def says(self) -> str:
        """What it means."""
        most = " at most" if self.unseen else ""
        same = f"all {self.tonight.items} sentinel items got the same score each time; "
        noise = f"decoding alone moves the mean by {self.sd:.3f} (SD{most})"
        text = f"{same if self.unseen else ''}{noise}"
        if not self.difference:
            return text
        verdict = "this is drift" if self.stands_out else "it can be noise"
        return f"{text}, the difference is {abs(self.z):.1f} times that: {verdict}"


def measure_noise(
    draws: Sequence[Run], name: UnitName, unscored: float | None = None
) -> Noise | None:
    """Return the noise of a unit; None where there are no two draws of any item.

    Args:
        draws: a night's run and its sentinel's, which asked some of its items again.
        unscored: the score of an answer that could not be judged; None leaves its item out.
    """
    if len(draws) < 2:
        return None
    table = read_scores(draws, tasks=name.leaves, metrics=[name.metric])
    parts: list[Floats] = []
    for leaf in name.leaves:
        if (leaf, name.metric) not in table.keys:
            continue
        scores = table.scores(leaf, name.metric)
        found = match(scores)
        if len(found.runs) == len(draws):
            parts.append(_common_values(scores, found, unscored).T)
    values = np.concatenate(parts) if parts else np.empty((0, 0))
    if len(values) == 0:
        return None
    stderr = decoding_stderr(values).stderr or 0.0
    return Noise(
        items=len(values),
        draws=len(draws),
        sd=stderr * math.sqrt(len(values)),
        changed=float(np.mean(np.ptp(values, axis=1) > 0)),
    )


def _common_values(scores: Scores, found: Matched, unscored: float | None) -> Floats:
    """Return [draws, items] of the items that every draw has a score of."""
    values = found.values
    if unscored is not None and scores.errored is not None:
        answered = (found.rows >= 0) & ~scores.errored[found.rows]
        values = np.where(np.isnan(values) & answered, unscored, values)
    return values[:, ~np.isnan(values).any(axis=0)]


def weigh_drift(
    difference: float | None,
    n: int,
    tonight: Noise | None,
    baseline: Noise | None,
    span: float = 1.0,
) -> Drift | None:
    """Compare a mean difference over n items with what decoding makes of it.

    That no item of a few moved does not say that none would: the largest noise is taken then.

    Args:
        span: greatest value of the metric less the least.
    """
    if tonight is None or difference is None or n == 0:
        return None
    before = baseline or tonight
    variance = tonight.sd**2 + before.sd**2
    unseen = variance == 0
    if unseen:
        variance = 2 * (span * tonight.largest) ** 2
    return Drift(tonight, baseline, difference, math.sqrt(variance / n), unseen)
