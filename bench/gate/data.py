"""What is simulated: differences of scores whose true mean is known, many comparisons at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Batch:
    """Many simulated comparisons: [runs, units] sums of differences, sizes, and how many alike."""

    sums: Floats
    sizes: Floats
    counts: Floats


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table of single tasks.

    Attributes:
        data: what is drawn, in words.
        units: items, or clusters.
        tolerance: of the gate.
        draw: (generator, runs, units, true difference) -> Batch.
        weight: how many runs are drawn, relative to binary data.
        holds: False where the gate's documented assumption is violated on purpose.
    """

    data: str
    units: int
    tolerance: float
    draw: Callable[[np.random.Generator, int, int, float], Batch]
    weight: float = 1.0
    holds: bool = True


def outcomes(discordance: float) -> Callable[[np.random.Generator, int, int, float], Batch]:
    """0/1 scores on both sides; `discordance` 0 means no more than the difference needs."""

    def draw(rng: np.random.Generator, runs: int, units: int, difference: float) -> Batch:
        share = max(discordance, abs(difference))
        lost, gained = (share - difference) / 2, (share + difference) / 2
        counts = rng.multinomial(units, [lost, 1 - share, gained], runs).astype(float)
        values = np.broadcast_to([-1.0, 0.0, 1.0], counts.shape)
        return Batch(values, np.ones_like(counts), counts)

    return draw


def graded(rng: np.random.Generator, runs: int, units: int, difference: float) -> Batch:
    """Scores between 0 and 1 that shift a little, everywhere."""
    values = np.clip(rng.normal(difference, 0.2, (runs, units)), -1, 1)
    return Batch(values, np.ones_like(values), np.ones_like(values))


def broken(rng: np.random.Generator, runs: int, units: int, difference: float) -> Batch:
    """Scores that hardly change, but a few answers are lost altogether."""
    values = rng.uniform(-0.1, 0.1, (runs, units))
    values[rng.random(values.shape) < -difference] = -1.0
    return Batch(values, np.ones_like(values), np.ones_like(values))


def _sizes(rng: np.random.Generator, runs: int, units: int, spread: bool) -> Floats:
    """Clusters of 5 items, or of 1 and more with a mean of about 5."""
    if not spread:
        return np.full((runs, units), 5.0)
    return 1.0 + np.minimum(rng.negative_binomial(1, 0.2, (runs, units)), 40)


def passages(spread: bool) -> Callable[[np.random.Generator, int, int, float], Batch]:
    """0/1 scores in clusters whose items tend to change alike."""
    discordance = 0.15

    def draw(rng: np.random.Generator, runs: int, units: int, difference: float) -> Batch:
        sizes = _sizes(rng, runs, units, spread)
        changed = rng.beta(1.5, 1.5 * (1 - discordance) / discordance, sizes.shape)
        up = 0.5 + difference / discordance / 2
        moved = rng.binomial(sizes.astype(int), changed)
        gained = rng.binomial(moved, rng.beta(2 * up, 2 * (1 - up), sizes.shape))
        return Batch(2.0 * gained - moved, sizes, np.ones_like(sizes))

    return draw


def lost_passages(
    spread: bool, only_above: int = 0
) -> Callable[[np.random.Generator, int, int, float], Batch]:
    """Whole clusters are lost, or only those that have more than so many items."""

    def draw(rng: np.random.Generator, runs: int, units: int, difference: float) -> Batch:
        sizes = _sizes(rng, runs, units, spread)
        reference = _sizes(rng, 1, 400_000, spread)
        chance = -difference * reference.mean() / (reference * (reference > only_above)).mean()
        lost = (rng.random(sizes.shape) < chance) & (sizes > only_above)
        return Batch(-sizes * lost, sizes, np.ones_like(sizes))

    return draw


CASES = [
    Case("0/1, only losses, 100 items", 100, 0.05, outcomes(0)),
    Case("0/1, 20% discordant, 100 items", 100, 0.05, outcomes(0.2)),
    Case("0/1, only losses, 300 items", 300, 0.02, outcomes(0)),
    Case("0/1, 10% discordant, 300 items", 300, 0.02, outcomes(0.1)),
    Case("0/1, 20% discordant, 300 items", 300, 0.05, outcomes(0.2)),
    Case("0/1, only losses, 1,000 items", 1000, 0.02, outcomes(0)),
    Case("0/1, 10% discordant, 1,000 items", 1000, 0.02, outcomes(0.1)),
    Case("0/1, 30% discordant, 1,000 items", 1000, 0.02, outcomes(0.3)),
    Case("0/1, only losses, 5,000 items", 5000, 0.01, outcomes(0)),
    Case("0/1, 10% discordant, 5,000 items", 5000, 0.01, outcomes(0.1)),
    Case("0/1, 30% discordant, 5,000 items", 5000, 0.02, outcomes(0.3)),
    Case("graded, SD .2, 100 items", 100, 0.05, graded, 0.2),
    Case("graded, SD .2, 1,000 items", 1000, 0.02, graded, 0.05),
    Case("graded, few answers lost, 100 items", 100, 0.05, broken, 0.2),
    Case("graded, few answers lost, 300 items", 300, 0.02, broken, 0.1),
    Case("graded, few answers lost, 1,000 items", 1000, 0.02, broken, 0.05),
    Case("passages of 5, 60 passages", 60, 0.05, passages(False), 0.2),
    Case("passages of 5, 150 passages", 150, 0.05, passages(False), 0.2),
    Case("passages of 5, 400 passages", 400, 0.02, passages(False), 0.1),
    Case("passages of 1 to 41, 150 passages", 150, 0.05, passages(True), 0.2),
    Case("passages of 1 to 41, 400 passages", 400, 0.05, passages(True), 0.1),
    Case("whole passages of 5 lost, 150 passages", 150, 0.05, lost_passages(False), 0.2),
    Case("whole passages of 5 lost, 400 passages", 400, 0.02, lost_passages(False), 0.1),
    Case("whole passages of 1 to 41 lost, 150 passages", 150, 0.05, lost_passages(True), 0.2),
    Case("whole passages of 1 to 41 lost, 400 passages", 400, 0.02, lost_passages(True), 0.1),
    Case(
        "only passages above 10 lost, whole, 60 passages",
        60,
        0.1,
        lost_passages(True, 10),
        0.2,
        holds=False,
    ),
]
