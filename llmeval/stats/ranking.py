"""Many models on one board: all pairwise comparisons, honest ranks, tiers, Bradley-Terry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmeval.stats.intervals import Estimate, Floats, cluster_codes, finite_rows, t_interval

Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Pairwise:
    """All comparisons of K runs; entry [i, j] is about run i less run j. NaN: not estimable.

    Attributes:
        difference: [K, K] mean over the items that both have.
        stderr: [K, K] its paired (clustered) standard error, about new items like these.
        df: [K, K] degrees of freedom: common items or clusters, less one.
        p: [K, K] two-sided p-value of Student's t, not adjusted.
        n: [K, K] items that both have.
    """

    difference: Floats
    stderr: Floats
    df: Floats
    p: Floats
    n: NDArray[np.int64]


def compare_all(values: ArrayLike, clusters: ArrayLike | None = None) -> Pairwise:
    """Compare every run with every other on the items that both have.

    What `paired_difference` computes for one pair by Student's t, for all pairs at once from
    products of matrices: 1,000 runs of 15,000 items take seconds. With clusters, those in which any
    run lacks an item are gone through one by one (some milliseconds each at 1,000 runs).

    Args:
        values: [K, N] scores, higher is better; NaN where a run has none.
        clusters: [N] labels; items with the same label are not independent.

    Returns:
        Matrices with NaN where nothing can be estimated: no common item, a single common item or
        cluster, or no spread among the differences.

    Raises:
        ValueError: a score is infinite, or shapes do not fit.
    """
    table = np.array(values, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"expected [runs, items], got shape {table.shape}")
    present = ~np.isnan(table)
    if not np.isfinite(table[present]).all():
        raise ValueError("scores must be finite, or NaN where there is none")
    table[~present] = 0.0
    codes = None if clusters is None else cluster_codes(clusters, table.shape[1])
    weights = present.astype(np.float64)
    n = weights @ weights.T
    scale = _own_squares(table, weights)
    if present.all() or not present.size:
        sums = np.subtract.outer(table.sum(axis=1), table.sum(axis=1))
    else:
        sums = table @ weights.T
        sums = sums - sums.T
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = sums / n
    if codes is None:
        squares, units = _squares(table, weights) - n * difference**2, n
    else:
        squares, units = _clustered_squares(table, weights, codes, difference)
    return _test(difference, squares, units, n, scale)


def rank_intervals(pairwise: Pairwise, alpha: float = 0.05) -> list[tuple[int, int]]:
    """Return (best, worst) rank of each run, simultaneously true with probability 1 - alpha.

    Best is 1 + the number of runs that are significantly better, worst is K - the number that are
    significantly worse, by Holm over all K(K-1)/2 pairs (Mogstad, Romano, Shaikh and Wilhelm 2024,
    Review of Economic Studies 91, 476-518). A pair that cannot be tested counts in the family and
    is never significant.
    """
    better = significantly_better(pairwise, alpha)
    k = len(better)
    above, below = better.sum(axis=0), better.sum(axis=1)
    return [(1 + int(a), k - int(b)) for a, b in zip(above, below, strict=True)]


def tiers(values: ArrayLike, pairwise: Pairwise, alpha: float = 0.05) -> list[int]:
    """Return the tier of each run, 1 the best.

    The run of the highest value opens a tier, and all that are not significantly worse than it
    belong to it; the best of the rest opens the next. So every run of tier t+1 is significantly
    worse than the leader of tier t, and no run is significantly worse than its own leader.

    Args:
        values: [K] finite scores, higher is better.
        pairwise: of the same runs in the same order.

    Raises:
        ValueError: a value is not finite, or there are not K.
    """
    scores = finite_rows(values)
    better = significantly_better(pairwise, alpha)
    if len(scores) != len(better):
        raise ValueError(f"{len(scores)} values for {len(better)} runs")
    tier = [0] * len(scores)
    rest = np.argsort(-scores, kind="stable").tolist()
    current = 0
    while rest:
        current += 1
        leader = rest[0]
        left = [run for run in rest if better[leader, run]]
        for run in set(rest) - set(left):
            tier[run] = current
        rest = left
    return tier


def significantly_better(pairwise: Pairwise, alpha: float = 0.05) -> NDArray[np.bool_]:
    """Return [K, K]: run i is better than run j, by Holm's procedure over all pairs."""
    k = len(pairwise.p)
    rows, columns = np.triu_indices(k, 1)
    p = pairwise.p[rows, columns]
    family = len(p)
    order = np.argsort(np.where(np.isnan(p), np.inf, p), kind="stable")
    passed = p[order] * (family - np.arange(family)) <= alpha
    kept = order[np.cumprod(passed).astype(bool)]
    better = np.zeros((k, k), dtype=bool)
    i, j = rows[kept], columns[kept]
    first = pairwise.difference[i, j] > 0
    better[i[first], j[first]] = True
    better[j[~first], i[~first]] = True
    return better


def _squares(table: Floats, weights: Floats) -> Floats:
    """[K, K] sums of squared differences over the items that both have."""
    own = _own_squares(table, weights)
    return own + own.T - 2 * (table @ table.T)


def _own_squares(table: Floats, weights: Floats) -> Floats:
    """[K, K] entry [i, j]: sum of run i's squares over the items that j has too."""
    result: Floats = (table**2) @ weights.T
    return result


def _clustered_squares(
    table: Floats, weights: Floats, codes: NDArray[np.intp], difference: Floats
) -> tuple[Floats, Floats]:
    """[K, K] sums over clusters of squared residual sums, and how many clusters are common."""
    k = len(table)
    squares, units = np.zeros((k, k)), np.zeros((k, k))
    mean = np.nan_to_num(difference)
    for code in range(int(codes.max()) + 1 if len(codes) else 0):
        inside = codes == code
        sums = table[:, inside] @ weights[:, inside].T
        counts = weights[:, inside] @ weights[:, inside].T
        squares += (sums - sums.T - mean * counts) ** 2
        units += counts > 0
    return squares, units


def _test(difference: Floats, squares: Floats, units: Floats, n: Floats, scale: Floats) -> Pairwise:
    from scipy.special import stdtr

    # Rounding leaves a trace where all differences are equal; that is no spread.
    squares = np.where(squares > 1e-12 * (scale + scale.T), squares, np.nan)
    df = np.where(units >= 2, units - 1, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        stderr = np.sqrt(units / df * squares) / n
        p = 2 * stdtr(df, -np.abs(difference / stderr))
    return Pairwise(difference, stderr, df, p, n.astype(np.int64))


BradleyTerryStatus = Literal["ok", "empty", "single", "disconnected", "separated"]


@dataclass(frozen=True, slots=True)
class BradleyTerry:
    """Strengths of K players, in log-odds, their mean 0.

    Attributes:
        strengths: one Estimate a player; without value where status is not ``ok``.
        covariance: [K, K] sandwich covariance of the strengths; None likewise.
        n: comparisons.
        status: ``ok``; ``empty``, no comparison; ``single``, one cluster; ``disconnected``, some
            players were never compared even indirectly; ``separated``, a group of players never
            lost (or tied) against the others, so that its strength is unbounded.
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
    H^-1 (G/(G-1) sum_g u_g u_g') H^-1 (White 1982; u_g is a cluster's score), which stays right
    where ties or a misfit break the binomial variance; Student's t with G-1 degrees of freedom. It
    is about new comparisons (new clusters, e.g. prompts) between these players.

    Args:
        first, second: [C] indices 0..players-1 of who met.
        outcome: [C] 1 where the first won, 0 where the second did, .5 for a tie.
        players: K.
        clusters: [C] labels; comparisons with the same label are not independent.

    Raises:
        ValueError: lengths differ, an index or outcome lies outside its range, or someone meets
            himself.
    """
    one, other = np.asarray(first, dtype=np.intp), np.asarray(second, dtype=np.intp)
    won = finite_rows(outcome)
    _check_comparisons(one, other, won, players)
    c = len(won)
    codes = np.arange(c) if clusters is None else cluster_codes(clusters, c)
    groups = len(np.unique(codes))
    status = _estimable(one, other, won, players, groups)
    if status != "ok":
        blank = Estimate(None, None, None, c, "bradley-terry", groups, "undefined")
        return BradleyTerry([blank] * players, None, c, status)
    design = np.zeros((c, players))
    design[np.arange(c), one], design[np.arange(c), other] = 1.0, -1.0
    strengths = np.zeros(players)
    for _ in range(100):
        share = 1 / (1 + np.exp(-design @ strengths))
        hessian = design.T @ (design * (share * (1 - share))[:, None])
        step = np.linalg.pinv(hessian, hermitian=True) @ (design.T @ (won - share))
        strengths += step
        if np.abs(step).max() < 1e-12:
            break
    bread = np.linalg.pinv(hessian, hermitian=True)
    scores = np.zeros((groups, players))
    np.add.at(scores, codes, design * (won - share)[:, None])
    covariance = groups / (groups - 1) * bread @ (scores.T @ scores) @ bread
    method = "bradley-terry, sandwich" + ("" if clusters is None else ", clustered")
    estimates = []
    for value, variance in zip(strengths.tolist(), np.diag(covariance).tolist(), strict=True):
        stderr = math.sqrt(max(variance, 0.0))
        interval = t_interval(value, stderr, groups - 1)
        estimates.append(
            Estimate(value, stderr, interval, c, method, None if clusters is None else groups)
        )
    return BradleyTerry(estimates, covariance, c, "ok")


def _check_comparisons(
    one: NDArray[np.intp], other: NDArray[np.intp], won: Floats, players: int
) -> None:
    if one.shape != won.shape or other.shape != won.shape:
        raise ValueError(f"{one.shape} and {other.shape} players but {won.shape} outcomes")
    both = np.concatenate([one, other])
    if len(both) and (both.min() < 0 or both.max() >= players):
        raise ValueError(f"players are numbered 0 to {players - 1}")
    if (one == other).any():
        raise ValueError("a player cannot meet himself")
    if ((won < 0) | (won > 1)).any():
        raise ValueError("an outcome is 1, 0 or .5")


def _estimable(
    one: NDArray[np.intp], other: NDArray[np.intp], won: Floats, players: int, groups: int
) -> BradleyTerryStatus:
    """Strengths are finite just where everyone beat everyone through some chain (Ford 1957)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if len(won) == 0 or players < 2:
        return "empty"
    winners = np.concatenate([one[won > 0], other[won < 1]])
    losers = np.concatenate([other[won > 0], one[won < 1]])
    graph = coo_array((np.ones(len(winners)), (winners, losers)), shape=(players, players))
    if connected_components(graph, connection="weak")[0] > 1:
        return "disconnected"
    if connected_components(graph, connection="strong")[0] > 1:
        return "separated"
    return "ok" if groups > 1 else "single"
