"""What a comparison can find: the smallest effect for an n, the n for an effect. Before the run.

All by the normal approximation. `sided` is 2 for "is there a difference?" and 1 for a gate, which
asks in one direction. Effects are in the metric's unit.
"""

from __future__ import annotations

import math


def minimum_detectable_effect(
    stderr: float,
    *,
    df: float = math.inf,
    alpha: float = 0.05,
    power: float = 0.8,
    sided: int = 2,
) -> float:
    """Return the true difference that a test of this standard error finds with the given power.

    (t_alpha + t_power) * stderr, with the normal's quantiles where df is infinite; Miller 2024,
    arXiv 2411.00640, section 5.

    Args:
        stderr: standard error of the difference (paired, clustered, or whatever it is), above 0.
        df: degrees of freedom that it was estimated with, e.g. clusters less one; with few, the
            normal's quantiles promise too much.

    Raises:
        ValueError: an argument lies outside its range.
    """
    return _reach(alpha, power, sided, df) * _positive("stderr", stderr)


def planned_n(
    sd: float, effect: float, *, alpha: float = 0.05, power: float = 0.8, sided: int = 2
) -> int:
    """Return how many pairs find a mean difference: (z_alpha + z_power)^2 sd^2 / effect^2.

    Miller 2024, arXiv 2411.00640, section 5; with sd^2 = 1/9 and an effect of .03, 969. Where items
    are clustered, multiply by the design effect.

    Args:
        sd: standard deviation of the paired differences, above 0.
        effect: the difference to find, not 0.

    Raises:
        ValueError: an argument lies outside its range.
    """
    return _items(_reach(alpha, power, sided) * _positive("sd", sd), effect)


def planned_n_unpaired(
    sd_a: float,
    sd_b: float,
    effect: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    sided: int = 2,
) -> int:
    """Return how many items each side needs where the sides have different items.

    (z_alpha + z_power)^2 (sd_a^2 + sd_b^2) / effect^2.

    Args:
        sd_a, sd_b: standard deviations of each side's scores, above 0.
        effect: the difference to find, not 0.

    Raises:
        ValueError: an argument lies outside its range.
    """
    sd = math.hypot(_positive("sd_a", sd_a), _positive("sd_b", sd_b))
    return _items(_reach(alpha, power, sided) * sd, effect)


def mcnemar_n(
    effect: float, discordance: float, *, alpha: float = 0.05, power: float = 0.8, sided: int = 2
) -> int:
    """Return how many pairs of 0/1 scores let McNemar's test find a difference of accuracies.

    (z_alpha sqrt(psi) + z_power sqrt(psi - d^2))^2 / d^2; Connor 1987, Biometrics 43, 207-211.

    Args:
        effect: the difference d of the two accuracies, not 0.
        discordance: psi, the share of pairs of which just one is right; at least abs(d).

    Raises:
        ValueError: an argument lies outside its range, or the effect exceeds the discordance.
    """
    if not 0 < discordance <= 1 or abs(effect) > discordance:
        raise ValueError(
            f"an effect of {effect} needs a discordance between {abs(effect)} and 1, "
            f"got {discordance}"
        )
    return _items(_mcnemar_reach(effect, discordance, alpha, power, sided), effect)


def mcnemar_mde(
    n: int, discordance: float, *, alpha: float = 0.05, power: float = 0.8, sided: int = 2
) -> float | None:
    """Return the difference of accuracies that McNemar's test finds among n pairs.

    The d that solves `mcnemar_n`'s formula. None where n is so small that no difference within the
    discordance is found with this power.

    Args:
        n: pairs, above 0.
        discordance: psi, the share of pairs of which just one is right, above 0.

    Raises:
        ValueError: an argument lies outside its range.
    """
    if not 0 < discordance <= 1:
        raise ValueError(f"discordance must lie above 0 and at most at 1, got {discordance}")
    root_n = math.sqrt(_positive("n", n))

    def shortfall(effect: float) -> float:
        return _mcnemar_reach(effect, discordance, alpha, power, sided) - root_n * effect

    if shortfall(discordance) > 0:
        return None
    from scipy.optimize import brentq

    return float(brentq(shortfall, 0.0, discordance, xtol=1e-12))


def _mcnemar_reach(
    effect: float, discordance: float, alpha: float, power: float, sided: int
) -> float:
    z_alpha, z_power = _quantiles(alpha, power, sided)
    spread = math.sqrt(max(0.0, discordance - effect**2))
    return z_alpha * math.sqrt(discordance) + z_power * spread


def _reach(alpha: float, power: float, sided: int, df: float = math.inf) -> float:
    """How many standard errors away a difference must lie to be found."""
    return sum(_quantiles(alpha, power, sided, df))


def _quantiles(alpha: float, power: float, sided: int, df: float = math.inf) -> tuple[float, float]:
    if sided not in (1, 2):
        raise ValueError(f"a test is one- or two-sided, got {sided}")
    if not (0 < alpha < 0.5 and 0.5 <= power < 1):
        raise ValueError(f"expected alpha in (0, .5) and power in [.5, 1), got {alpha}, {power}")
    if not df > 0:
        raise ValueError(f"degrees of freedom must be above 0, got {df}")
    from scipy.special import stdtrit  # at infinity the normal's

    return float(stdtrit(df, 1 - alpha / sided)), float(stdtrit(df, power))


def _items(reach: float, effect: float) -> int:
    if not math.isfinite(effect) or effect == 0:
        raise ValueError(f"the effect to find must be a number other than 0, got {effect}")
    needed = (reach / effect) ** 2
    return max(1, math.ceil(needed - 1e-9))


def _positive(name: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be above 0, got {value}")
    return value
