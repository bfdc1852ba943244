"""The evidence over nights: false alarms, and how many nights a drop takes to be seen.

Items have chances of being answered rightly (most near 0 or 1), each night draws its answers anew,
and the baseline is pinned. What is known exactly is how far the mean chance lies below it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.optimize import brentq

from bench.gate.data import Floats
from bench.gate.table import ALPHA, Share, write_row
from llmeval.stats import night_evidence

NIGHTS = 200
TOLERANCE = 0.02


def draw_monitor(
    rng: np.random.Generator, items: int, nights: int, below: float, good: int = 0, pins: int = 0
) -> tuple[Floats, Floats]:
    """Return one run's [nights, items] answers and its [items] pinned baseline.

    Args:
        below: how far the mean chance lies below the pinned baseline's mean.
        good: so many nights at the start are not below it at all.
        pins: instead, the baseline is the mean of so many draws from the model itself, which never
            changes: `below` is what chance makes of it.
    """
    chance = rng.beta(0.6, 0.3, items)
    if pins:
        pinned = (rng.random((pins, items)) < chance).mean(axis=0)
        return (rng.random((nights, items)) < chance).astype(float), pinned
    pinned = (rng.random(items) < chance).astype(float)
    same, worse = (move_chances(chance, float(pinned.mean()) - by) for by in (0.0, below))
    level = np.where(np.arange(nights)[:, None] < good, same, worse)
    return (rng.random((nights, items)) < level).astype(float), pinned


def move_chances(chance: Floats, mean: float) -> Floats:
    """Return the chances raised to the power that gives them this mean."""

    def excess(log_power: float) -> float:
        return float((chance ** np.exp(log_power)).mean()) - mean

    moved: Floats = chance ** np.exp(brentq(excess, -12, 6))
    return moved


def weigh_nights(answers: Floats, pinned: Floats, tolerance: float) -> Floats:
    """[nights, bets] what `night_evidence` says of each night, by way of single items."""
    items = len(pinned)
    by_item = np.empty((2, items, len(night_evidence([0.0], tolerance))))
    for level in np.unique(pinned):
        for outcome in (0, 1):
            by_item[outcome, pinned == level] = night_evidence([outcome - level], tolerance)
    evidence: Floats = by_item[0].sum(axis=0) + answers @ (by_item[1] - by_item[0])
    return evidence


def follow_nights(evidence: Floats) -> tuple[Floats, Floats]:
    """Return [nights] e-values after each night: of `combine_nights`, and of the plain product."""
    nights, bets = evidence.shape
    wealth, begun = np.zeros((nights, bets)), np.zeros(bets)
    for night in range(nights):
        begun = (begun + 1 / ((night + 1) * (night + 2))) * np.exp(evidence[night])
        wealth[night] = begun
    mixed = wealth.mean(axis=1) + 1 / (np.arange(nights) + 2)
    return mixed, np.exp(np.cumsum(evidence, axis=0)).mean(axis=1)


def simulate(
    items: int, below: float, runs: int, seed: int, good: int = 0, pins: int = 0
) -> tuple[Floats, Floats]:
    """[runs] the night of the first alarm, inf for none: of `combine_nights`, of the product."""
    rng = np.random.default_rng(seed)
    first = np.full((2, runs), np.inf)
    with np.errstate(over="ignore"):
        for run in range(runs):
            answers, pinned = draw_monitor(rng, items, NIGHTS, below, good, pins)
            found = follow_nights(weigh_nights(answers, pinned, TOLERANCE))
            for way, values in enumerate(found):
                alarms = np.flatnonzero(values >= 1 / ALPHA)
                if len(alarms):
                    first[way, run] = alarms[0] + 1
    return first[0], first[1]


def write_nights(runs: int, failures: list[str]) -> Iterator[str]:
    """The tables of false alarms and of nights to detection."""
    yield f"Alarms within {NIGHTS} nights, tolerance {TOLERANCE:g}, alpha 5% for ever:"
    yield ""
    yield from write_row(
        "items", "at -tol", "unchanged", "unchanged, baseline one run", "baseline mean of 5 runs",
        "of 25 runs", head=True,
    )  # fmt: skip
    for seed, items in enumerate((100, 300, 1000, 3000)):
        count = max(10, min(runs, runs * 300 // items))
        edge = Share.of(np.isfinite(simulate(items, TOLERANCE, count, 200 + seed)[0]))
        if edge.exceeds(ALPHA):
            failures.append(f"nights of {items} items: {edge}")
        others = [simulate(items, 0.0, count, 210 + seed)[0]]
        others += [simulate(items, 0.0, count, 220 + seed, pins=pins)[0] for pins in (1, 5, 25)]
        yield from write_row(f"{items:,}", edge, *(Share.of(np.isfinite(o)) for o in others))
    yield ""
    yield "Nights from the drop to the alarm, median (9 of 10); the drop begins with night 1 or"
    yield f"with night 61 of {NIGHTS}; *product*: bets that all begin with night 1:"
    yield ""
    yield from write_row(
        "items", "drop", "from night 1", "product", "from night 61", "product", head=True
    )
    for seed, items in enumerate((100, 300, 1000)):
        for drop in (0.04, 0.07, 0.12):
            count = max(10, min(runs, runs * 300 // items) // 4)
            cells: list[str] = []
            for good in (0, 60):
                for nights in simulate(items, drop, count, 300 + seed, good=good):
                    cells.append(_write_delay(nights[nights > good] - good))  # false alarms apart
            yield from write_row(f"{items:,}", f"{drop:g}", *cells)


def _write_delay(delays: Floats) -> str:
    middle, most = (
        f"{nights:.0f}" if np.isfinite(nights) else "never"
        for nights in np.quantile(delays, [0.5, 0.9], method="higher")
    )
    return f"{middle} ({most})"
