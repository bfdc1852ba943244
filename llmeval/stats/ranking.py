"""Many models on one board: all pairwise comparisons, honest ranks, tiers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmeval.stats.discordance import compare_signs, count_differing, find_step, sign_flip_floor
from llmeval.stats.intervals import ROUNDING, Floats, cluster_codes, finite_rows


@dataclass(frozen=True, slots=True)
class Pairwise:
    """All comparisons of K runs; entry [i, j] is about run i less run j. NaN: not estimable.

    Attributes:
        difference: [K, K] mean over the items that both have.
        stderr: [K, K] its paired (clustered) standard error, about new items like these.
        df: [K, K] degrees of freedom: common items or clusters, less one.
        p: [K, K] two-sided p-value, not adjusted: McNemar's exact test where items are independent
            and take two values; else Student's t, and never below 2^(1 - differing), which is the
            least that flipping signs can give: t takes a few differences of equal sign among many
            items alike for more than they are.
        n: [K, K] items that both have.
        differing: [K, K] items or clusters that differ, or that at least so many do, at 64 or more.
    """

    difference: Floats
    stderr: Floats
    df: Floats
    p: Floats
    n: NDArray[np.int64]
    differing: NDArray[np.int64]


def compare_all(values: ArrayLike, clusters: ArrayLike | None = None) -> Pairwise:
    """Compare every run with every other on the items that both have.

    What `paired_difference` computes for one pair by Student's t, and `mcnemar_exact`, for all
    pairs at once from products of matrices: 1,000 runs of 15,000 items take seconds. With clusters
    and missing items it is exact too, at a cost that grows with how many are missing.

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
    if np.isinf(table).any():
        raise ValueError("scores must be finite, or NaN where there is none")
    codes = None if clusters is None else cluster_codes(clusters, table.shape[1])
    step = find_step(table) if codes is None else None
    table[~present] = 0.0
    rounding = ROUNDING * float(np.abs(table).max(initial=0.0))
    _centre(table, present)
    sums, squares, n = _moments(table, None if present.all() else present.astype(np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = np.where(n > 0, sums / n, np.nan)
    own = (table**2).sum(axis=1)
    noise = 1e-12 * np.add.outer(own, own)
    if codes is None:
        spread = squares - n * np.nan_to_num(difference) ** 2
        result = _estimate(difference, spread, n, n, noise)
        if step is not None:
            return _test_by_signs(result, sums / step, squares / step**2)
        return _test_by_t(result, count_differing(np.where(present, table, np.nan), rounding))
    largest = int(np.bincount(codes).max()) if len(codes) else 1
    spread, units, differing = _clustered_squares(
        table, present, codes, np.nan_to_num(difference), rounding * largest
    )
    return _test_by_t(_estimate(difference, spread, units, n, noise * largest), differing)


def rank_intervals(
    pairwise: Pairwise, alpha: float = 0.05, *, better: NDArray[np.bool_] | None = None
) -> list[tuple[int, int]]:
    """Return (best, worst) rank of each run, simultaneously true with probability 1 - alpha.

    Best is 1 + the number of runs that are significantly better, worst is K - the number that are
    significantly worse, by Holm over all K(K-1)/2 pairs (Mogstad, Romano, Shaikh and Wilhelm 2024,
    Review of Economic Studies 91, 476-518). A pair that cannot be tested counts in the family and
    is never significant.

    Args:
        better: what `significantly_better` returned for it, where that is known.
    """
    if better is None:
        better = significantly_better(pairwise, alpha)
    k = len(better)
    above, below = better.sum(axis=0), better.sum(axis=1)
    return [(1 + int(a), k - int(b)) for a, b in zip(above, below, strict=True)]


def tiers(
    values: ArrayLike,
    pairwise: Pairwise,
    alpha: float = 0.05,
    *,
    better: NDArray[np.bool_] | None = None,
) -> list[int]:
    """Return the tier of each run, 1 the best.

    The run of the highest value opens a tier, and all that are not significantly worse than it
    belong to it; the best of the rest opens the next. So every run of tier t+1 is significantly
    worse than the leader of tier t, and no run is significantly worse than its own leader.

    Args:
        values: [K] finite scores, higher is better.
        pairwise: of the same runs in the same order.
        better: what `significantly_better` returned for it, where that is known.

    Raises:
        ValueError: a value is not finite, or there are not K.
    """
    scores = finite_rows(values)
    if better is None:
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
    small = np.flatnonzero(p <= alpha)  # none of the others can pass
    order = small[np.argsort(p[small], kind="stable")]
    passed = p[order] * (len(p) - np.arange(len(order))) <= alpha
    kept = order[np.cumprod(passed).astype(bool)]
    better = np.zeros((k, k), dtype=bool)
    i, j = rows[kept], columns[kept]
    first = pairwise.difference[i, j] > 0
    better[i[first], j[first]] = True
    better[j[~first], i[~first]] = True
    return better


def _centre(table: Floats, present: NDArray[np.bool_]) -> None:
    """Take each item's mean from all runs, in place: differences stay, rounding errors shrink.

    Whole numbers, such as outcomes of 0 and 1, are left alone: their sums are exact.
    """
    if (table == np.rint(table)).all():
        return
    table -= table.sum(axis=0) / np.maximum(present.sum(axis=0), 1)
    table[~present] = 0.0


def _moments(table: Floats, weights: Floats | None) -> tuple[Floats, Floats, Floats]:
    """[K, K] each: sums of differences, of their squares, and how many items both runs have."""
    cross = table @ table.T
    if weights is None:
        totals, own = table.sum(axis=1), np.diag(cross)
        n = np.full_like(cross, table.shape[1])
        return np.subtract.outer(totals, totals), np.add.outer(own, own) - 2 * cross, n
    sums, squares = table @ weights.T, (table**2) @ weights.T
    return sums - sums.T, squares + squares.T - 2 * cross, weights @ weights.T


def _clustered_squares(
    table: Floats,
    present: NDArray[np.bool_],
    codes: NDArray[np.intp],
    difference: Floats,
    rounding: float,
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """[K, K] each: sums over clusters of squared residual sums, how many clusters both runs have,
    and in how many the runs differ.

    As if every run had every item, in one product of matrices; then the pairs are mended of which
    one lacks an item, cluster by cluster.
    """
    groups = int(codes.max()) + 1 if len(codes) else 0
    sizes = np.bincount(codes, minlength=groups).astype(np.float64)
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)
    sums = np.add.reduceat(table[:, order], starts[:-1], axis=1) if groups else table
    own = sums @ sizes
    # sum_g (s_ig - s_jg - d_ij n_g)^2, multiplied out
    squares = _moments(sums, None)[1] - 2 * difference * np.subtract.outer(own, own)
    squares += difference**2 * float(sizes @ sizes)
    units = np.full_like(squares, groups)
    lacking = np.bincount(codes, ~present.all(axis=0), groups) > 0
    whole = sums.copy()
    for code in np.flatnonzero(lacking):
        inside = order[starts[code] : starts[code + 1]]
        whole[~present[:, inside].all(axis=1), code] = np.nan
    differing = count_differing(whole, rounding)
    for code in np.flatnonzero(lacking):
        inside = order[starts[code] : starts[code + 1]]
        some, values = present[:, inside].astype(np.float64), table[:, inside]
        rows = np.flatnonzero(~present[:, inside].all(axis=1))
        rest = np.setdiff1d(np.arange(len(table)), rows, assume_unique=True)
        common = some[rows] @ some.T
        moved = values[rows] @ some.T - some[rows] @ values.T
        assumed = (
            np.subtract.outer(sums[rows, code], sums[:, code]) - difference[rows] * sizes[code]
        )
        change = (moved - difference[rows] * common) ** 2 - assumed**2
        unlike = (np.abs(moved) > rounding).astype(np.int64)
        for total, delta in ((squares, change), (units, (common > 0) - 1.0), (differing, unlike)):
            total[rows] += delta
            total[np.ix_(rest, rows)] += delta[:, rest].T
    return squares, units, differing


def _test_by_signs(result: Pairwise, sums: Floats, squares: Floats) -> Pairwise:
    """Put in McNemar's exact p-value: differences are -1, 0 or 1 here."""
    differing = np.rint(squares).astype(np.int64)
    gained = (differing + np.rint(sums).astype(np.int64)) // 2
    p = compare_signs(gained, differing)
    return replace(result, p=np.where(np.isnan(result.df), np.nan, p), differing=differing)


def _test_by_t(result: Pairwise, differing: NDArray[np.int64]) -> Pairwise:
    """Put in Student's p-value, bounded by what signs can give."""
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(result.difference / result.stderr)
    p = result.p.copy()
    above = np.triu_indices(len(t), 1)  # the function is slow, and p the same below the diagonal
    p[above] = 2 * stdtr(result.df[above], -t[above])
    p.T[above] = p[above]
    p = np.maximum(p, sign_flip_floor(differing))  # NaN stays NaN
    return replace(result, p=p, differing=differing)


def _estimate(
    difference: Floats, squares: Floats, units: Floats, n: Floats, noise: Floats
) -> Pairwise:
    """Everything but the test."""
    df = np.where(units >= 2, units - 1, np.nan)
    # Rounding leaves a trace where all differences are equal; that is no spread.
    spread = np.where(squares > noise, squares, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        stderr = np.sqrt(units / df * spread) / n
    untested, uncounted = np.full(n.shape, np.nan), np.zeros(n.shape, dtype=np.int64)
    return Pairwise(difference, stderr, df, untested, n.astype(np.int64), uncounted)
