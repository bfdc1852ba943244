"""Strengths from comparisons of two at a time: the Bradley-Terry model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmeval.stats.intervals import Estimate, Floats, cluster_codes, finite_rows, t_interval

Codes = NDArray[np.intp]
BradleyTerryStatus = Literal["ok", "empty", "single", "disconnected", "separated"]

STEPS = 200  # of Newton's method at most; some five are usual


@dataclass(frozen=True, slots=True)
class BradleyTerry:
    """Strengths of K players.

    Attributes:
        strengths: one Estimate a player, in log-odds, their mean 0; none has a value where status
            is not ``ok``.
        covariance: [K, K] sandwich covariance of the strengths, for differences between two; None
            where status is not ``ok``.
        n: comparisons.
        status: ``ok``; ``empty``, no comparison; ``single``, one comparison or cluster;
            ``disconnected``, some players were never compared, not even through others;
            ``separated``, some players never lost to (or tied with) any of the rest, so that their
            lead has no bound.
    """

    strengths: list[Estimate]
    covariance: Floats | None
    n: int
    status: BradleyTerryStatus


def bradley_terry(
    first: ArrayLike,
    second: ArrayLike,
    outcome: ArrayLike,
    players: int,
    clusters: ArrayLike | None = None,
) -> BradleyTerry:
    """Fit P(i beats j) = 1 / (1 + exp(s_j - s_i)) by maximum likelihood.

    Bradley and Terry 1952; a tie is half a win for each. The covariance is the sandwich
    H^-1 (G/(G-1) sum_g u_g u_g') H^-1, u_g being the score of cluster g (White 1982), which stays
    right where ties or a misfit break the binomial variance; intervals are Student's with G-1
    degrees of freedom. They are about new comparisons (new clusters, e.g. prompts) between these
    players.

    Args:
        first, second: [C] indices 0..players-1 of who met.
        outcome: [C] 1 where the first won, 0 where the second did, .5 for a tie.
        players: K, at least 2.
        clusters: [C] labels; comparisons with the same label are not independent.

    Raises:
        ValueError: lengths differ, an index or outcome lies outside its range, or a player meets
            himself.
    """
    one, other = np.asarray(first, dtype=np.intp), np.asarray(second, dtype=np.intp)
    won = finite_rows(outcome)
    _check(one, other, won, players)
    c = len(won)
    codes = np.arange(c) if clusters is None else cluster_codes(clusters, c)
    groups = int(codes.max()) + 1 if c else 0
    method = "bradley-terry, sandwich" + ("" if clusters is None else ", clustered")
    shown = None if clusters is None else groups
    status = _tell_status(one, other, won, players, groups)
    if status != "ok":
        blank = Estimate(None, None, None, c, method, shown, "undefined" if c else "empty")
        return BradleyTerry([blank] * players, None, c, status)
    strengths, bread = _fit(one, other, won, players)
    meat = _sum_scores(one, other, won - _win_chance(strengths[one] - strengths[other]), codes)
    covariance: Floats = groups / (groups - 1) * bread @ meat @ bread
    estimates = []
    for value, variance in zip(strengths.tolist(), np.diag(covariance).tolist(), strict=True):
        stderr = math.sqrt(max(variance, 0.0))
        interval = t_interval(value, stderr, groups - 1)
        estimates.append(Estimate(value, stderr, interval, c, method, shown))
    return BradleyTerry(estimates, covariance, c, "ok")


def _fit(one: Codes, other: Codes, won: Floats, players: int) -> tuple[Floats, Floats]:
    """Return [K] strengths of mean 0 and [K, K], the inverse information about them."""
    wins, met = np.zeros((players, players)), np.zeros((players, players))
    np.add.at(wins, (one, other), won)
    np.add.at(wins, (other, one), 1 - won)
    np.add.at(met, (one, other), 1.0)
    met = met + met.T
    strengths: Floats = np.zeros(players)
    for _ in range(STEPS):
        chance = _win_chance(np.subtract.outer(strengths, strengths))
        bread = _invert_laplacian(met * chance * chance.T)
        step = bread @ (wins - met * chance).sum(axis=1)
        # A whole step overshoots where someone nearly always wins.
        strengths = strengths + step * min(1.0, 1.0 / max(float(np.abs(step).max()), 1e-300))
        if np.abs(step).max() < 1e-8:  # the next would be of the order of its square
            return strengths - strengths.mean(), bread
    raise ArithmeticError(f"Bradley-Terry strengths did not settle in {STEPS} steps")


def _sum_scores(one: Codes, other: Codes, residuals: Floats, codes: Codes) -> Floats:
    """[K, K] sum over clusters of the outer product of their scores."""
    from scipy.sparse import coo_array

    rows, columns = np.concatenate([codes, codes]), np.concatenate([one, other])
    scores = coo_array((np.concatenate([residuals, -residuals]), (rows, columns))).tocsr()
    result: Floats = (scores.T @ scores).toarray()
    return result


def _win_chance(lead: Floats) -> Floats:
    from scipy.special import expit

    chance: Floats = expit(lead)
    return chance


def _invert_laplacian(weights: Floats) -> Floats:
    """[K, K] the pseudo-inverse of a connected graph's Laplacian, whose null space is known."""
    laplacian = np.diag(weights.sum(axis=1)) - weights
    level = float(np.trace(laplacian)) / len(weights) ** 2
    inverse = np.linalg.inv(laplacian + level) - 1 / (level * len(weights) ** 2)
    return inverse.astype(np.float64)


def _check(one: Codes, other: Codes, won: Floats, players: int) -> None:
    if players < 2:
        raise ValueError(f"expected at least two players, got {players}")
    if one.shape != won.shape or other.shape != won.shape:
        raise ValueError(f"{len(won)} outcomes of {one.shape} against {other.shape} players")
    both = np.concatenate([one, other])
    if len(both) and (both.min() < 0 or both.max() >= players):
        raise ValueError(f"players are numbered 0 to {players - 1}")
    if (one == other).any():
        raise ValueError("a player cannot meet himself")
    if ((won < 0) | (won > 1)).any():
        raise ValueError("an outcome is 1, 0 or .5")


def _tell_status(
    one: Codes, other: Codes, won: Floats, players: int, groups: int
) -> BradleyTerryStatus:
    """Strengths are finite just where everyone beat everyone through some chain (Ford 1957)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if len(won) == 0:
        return "empty"
    winners = np.concatenate([one[won > 0], other[won < 1]])
    losers = np.concatenate([other[won > 0], one[won < 1]])
    beaten = coo_array((np.ones(len(winners)), (winners, losers)), shape=(players, players))
    if connected_components(beaten, connection="weak")[0] > 1:
        return "disconnected"
    if connected_components(beaten, connection="strong")[0] > 1:
        return "separated"
    return "ok" if groups > 1 else "single"
