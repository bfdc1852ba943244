"""From numbers to rows: what could be seen, p-values adjusted within their family, verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llmeval.reports.compare.comparison import ALPHA, POWER, Excluded, Flips, Row, Test
from llmeval.reports.compare.measures import MCNEMAR, NOTHING_DIFFERS, Measure
from llmeval.reports.compare.pairs import Pairs
from llmeval.reports.compare.verdicts import judge
from llmeval.stats import holm, mcnemar_mde, mcnemar_n, minimum_detectable_effect, planned_n


def make_row(
    name: str, parts: Sequence[Pairs], measure: Measure, flips: Flips | None, *, across: bool
) -> Row:
    """Return a headline without a verdict: `decide` gives it, with all of its family.

    Args:
        parts: the tasks that it is about, one or more.
    """
    return Row(
        name=name,
        metric=parts[0].metric,
        is_group=False,
        parent=None,
        depth=0,
        higher_is_better=parts[0].higher_is_better,
        aggregation=parts[0].aggregation,
        n=measure.n,
        common=measure.common,
        baseline=measure.baseline,
        challenger=measure.challenger,
        difference=measure.difference,
        test=Test(measure.test, measure.p, None, "headline"),
        mde=_find_mde(measure, flips),
        needed_n=_find_needed_n(measure, flips),
        flips=flips,
        excluded=_merge_excluded(parts),
        across=across,
        verdict="not estimable",
        why="",
    )


def _find_mde(measure: Measure, flips: Flips | None) -> float | None:
    """Return the true difference that would be found; of right and wrong, by McNemar's test."""
    if flips is not None and _is_mcnemar(measure, flips):
        return _mcnemar_mde(measure.n, (flips.lost + flips.gained) / measure.n)
    difference = measure.difference
    if not difference.stderr:
        return None
    units = difference.n if difference.clusters is None else difference.clusters
    return minimum_detectable_effect(difference.stderr, df=units - 1, alpha=ALPHA, power=POWER)


def _is_mcnemar(measure: Measure, flips: Flips) -> bool:
    independent = measure.difference.clusters is None and not flips.graded
    return measure.n > 0 and independent and measure.test in (MCNEMAR, NOTHING_DIFFERS)


def _mcnemar_mde(n: int, discordance: float) -> float | None:
    """Of few discordant pairs, or none, suppose that a difference would be all of them."""
    found = mcnemar_mde(n, discordance, alpha=ALPHA, power=POWER) if discordance else None
    if found is not None or mcnemar_n(1.0, 1.0, alpha=ALPHA, power=POWER) > n:
        return found
    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        enough = mcnemar_n(middle, middle, alpha=ALPHA, power=POWER) <= n
        low, high = (low, middle) if enough else (middle, high)
    return high


def _find_needed_n(measure: Measure, flips: Flips | None) -> int | None:
    """Clusters and strata are taken to stay as they are: the design effect is in the spread."""
    difference = measure.difference
    if not difference.stderr or not difference.value:
        return None
    if flips is not None and _is_mcnemar(measure, flips):
        discordance = (flips.lost + flips.gained) / measure.n
        return mcnemar_n(difference.value, discordance, alpha=ALPHA, power=POWER)
    spread = difference.stderr * difference.n**0.5
    return planned_n(spread, difference.value, alpha=ALPHA, power=POWER)


def _merge_excluded(parts: Sequence[Pairs]) -> tuple[Excluded, ...]:
    if len(parts) == 1:
        return parts[0].excluded
    merged: dict[tuple[str, str], Excluded] = {}
    for part in parts:
        for found in part.excluded:
            names = tuple(f"{part.task}/{name}" for name in found.sample_ids)
            key = found.side, found.reason
            known = merged.get(key, replace(found, count=0, sample_ids=()))
            merged[key] = replace(
                known, count=known.count + found.count, sample_ids=known.sample_ids + names
            )
    return tuple(merged.values())


def decide(rows: Sequence[Row]) -> list[Row]:
    """Adjust the p-values of each family and say what they come to."""
    decided = list(rows)
    for family in ("headline", "subtasks"):
        places = [i for i, row in enumerate(rows) if row.test.family == family]
        adjusted = holm([rows[i].test.p for i in places])
        for place, p in zip(places, adjusted, strict=True):
            row = replace(rows[place], test=replace(rows[place].test, p_holm=p))
            verdict, why = judge(row, len(places))
            decided[place] = replace(row, verdict=verdict, why=why)
    return decided
