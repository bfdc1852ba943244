"""The verdicts of one night: each unit's, each model's, and that of the whole."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from llmeval.reports.regress.faults import Fault
from llmeval.reports.regress.pairing import Pairs
from llmeval.reports.regress.settings import GateSettings
from llmeval.stats import (
    Estimate,
    Noninferiority,
    decide,
    holm,
    test_noninferiority,
    tested_bounds,
)


class Outcome(StrEnum):
    """What is said of a unit, a model or a night; the worse one stands first."""

    INVALID = "INVALID"
    REGRESSED = "REGRESSED"
    INCONCLUSIVE = "INCONCLUSIVE"
    PASS = "PASS"


PASSED, FAILED, NOT_VALID = 0, 3, 4


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the nights since the pin say together.

    Attributes:
        e_value: how much better "it is worse than tolerated" foretold the scores than the contrary,
            at a fair bet: an e-value.
        threshold: an alarm stands where it is reached: units / alpha.
        nights: how many are counted.
        since: the first of them.
        counted: whether tonight is among them, and ``why_not`` where it is not.
        begun_anew: why earlier nights do not count any more, where tonight is the first.
    """

    e_value: float
    threshold: float
    nights: int
    since: str | None = None
    counted: bool = True
    why_not: str | None = None
    begun_anew: str | None = None

    @property
    def alarm(self) -> bool:
        return self.e_value >= self.threshold


@dataclass(frozen=True, slots=True)
class Judged:
    """A unit with its verdict.

    Attributes:
        test: both one-sided tests; None where there is a fault.
        tonight: by tonight's scores alone.
        p_pass, p_regressed: adjusted over all units by Holm.
        bounds: of the difference, each end as it was tested: one-sided, at its level by Holm.
        needed_n: items that would decide with the plan's power, at the difference that was seen.
        evidence: over nights; None where no state is kept.
    """

    model: str
    pairs: Pairs
    tonight: Outcome
    test: Noninferiority | None = None
    p_pass: float | None = None
    p_regressed: float | None = None
    bounds: tuple[float, float] | None = None
    needed_n: int | None = None
    evidence: Evidence | None = None

    @property
    def outcome(self) -> Outcome:
        """Tonight's, or REGRESSED where the nights together say so."""
        if self.tonight is not Outcome.INVALID and self.evidence and self.evidence.alarm:
            return Outcome.REGRESSED
        return self.tonight

    @property
    def fault(self) -> Fault | None:
        return self.pairs.fault

    @property
    def difference(self) -> Estimate | None:
        """The mean difference; positive is better."""
        return self.test.difference if self.test else None

    @property
    def improved(self) -> bool:
        """Whether it is better than the baseline beyond the noise of items."""
        difference, bounds = self.difference, self.bounds
        if bounds is None or difference is None or difference.ci95 is None:
            return False
        return min(difference.ci95[0], bounds[0]) > 0


Key = tuple[str, str, str]
"""Model, task, metric."""


def key_of(model: str, pairs: Pairs) -> Key:
    return model, pairs.name.task, pairs.name.metric


def judge(
    units: Sequence[tuple[str, Pairs]],
    settings: GateSettings,
    evidence: Mapping[Key, Evidence] | None = None,
) -> list[Judged]:
    """Judge all units of a night together.

    Holm holds the chance of any wrong PASS, and that of any wrong REGRESSED, at alpha. A unit with
    a fault counts in the family.

    Args:
        units: each with its model's label.
        evidence: over nights, of the units that have any.
    """
    if not units:
        return []
    first_step = settings.alpha / len(units)
    tests = [None if pairs.fault else _test(pairs, first_step) for _, pairs in units]
    untested = _untested()
    results = [test or untested for test in tests]
    verdicts = decide(results, settings.alpha)
    bounds = tested_bounds(results, settings.alpha)
    passing = holm([test.p_noninferior if test else None for test in tests])
    failing = holm([test.p_inferior if test else None for test in tests])
    return [
        Judged(
            model=model,
            pairs=pairs,
            tonight=Outcome.INVALID if test is None else Outcome(verdict.value),
            test=test,
            p_pass=p_pass,
            p_regressed=p_regressed,
            bounds=ends,
            needed_n=test.needed_n if test else None,
            evidence=(evidence or {}).get(key_of(model, pairs)),
        )
        for (model, pairs), test, verdict, p_pass, p_regressed, ends in zip(
            units, tests, verdicts, passing, failing, bounds, strict=True
        )
    ]


def _test(pairs: Pairs, alpha: float) -> Noninferiority:
    return test_noninferiority(
        pairs.differences, pairs.tolerance, pairs.clusters, pairs.bounds, alpha
    )


def _untested() -> Noninferiority:
    nothing = Estimate(None, None, None, 0, "none", status="empty")
    return Noninferiority(nothing, math.inf, None, None, None, "empty")


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the overall outcome: INVALID before REGRESSED before INCONCLUSIVE before PASS.

    Nothing at all is INVALID.
    """
    found = set(outcomes)
    return next((outcome for outcome in Outcome if outcome in found), Outcome.INVALID)


def exit_code(outcome: Outcome, settings: GateSettings) -> int:
    """Return what the process ends with."""
    if outcome is Outcome.INVALID:
        return NOT_VALID
    failed = outcome is Outcome.REGRESSED or (
        outcome is Outcome.INCONCLUSIVE and settings.inconclusive == "fail"
    )
    return FAILED if failed else PASSED
