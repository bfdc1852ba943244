"""What a row's numbers come to, in words."""

from __future__ import annotations

from llmeval.reports.compare.comparison import ALPHA, Row, Verdict
from llmeval.reports.formats import format_interval, format_pvalue, format_value

FEWEST = 6
"""Items or clusters from which on a test can reach 5% at all: 2 / 2^6, all to one side."""


def judge(row: Row, family: int) -> tuple[Verdict, str]:
    """Return the verdict on the challenger, and why.

    Args:
        row: with its adjusted p-value.
        family: how many tests are in its family.
    """
    if why := _find_obstacle(row):
        return "not estimable", why
    test, value = row.test, row.difference.value
    assert test.p is not None and test.p_holm is not None and value is not None
    if test.p_holm > ALPHA or value == 0:
        return "no difference seen", _tell_limit(row, family)
    within = f" by Holm among {family} tests" if family > 1 else ""
    better = (value > 0) == row.higher_is_better
    return "better" if better else "worse", f"p {format_pvalue(test.p_holm)}{within}"


def _find_obstacle(row: Row) -> str | None:
    """Say why a row has no verdict."""
    if row.difference.status == "undefined" and not row.common:
        return row.test.name.removeprefix("none: ")
    if row.n == 0:
        return "no item in common"
    if row.difference.value is None:
        return f"the difference is {row.difference.status}"
    if (units := row.difference.clusters or row.n) < FEWEST:
        what = "item" if row.difference.clusters is None else "cluster"
        return f"{units} {what}{'s' if units > 1 else ''} in common, and it takes {FEWEST}"
    if row.test.p is None:
        return row.test.name.removeprefix("none: ")
    return None


def _tell_limit(row: Row, family: int) -> str:
    """Say what was not seen, and how much could have been missed."""
    interval = row.difference.ci95
    if row.flips is not None and row.flips.lost + row.flips.gained == 0:
        bound = f"; 95% interval {format_interval(interval, signed=True)}" if interval else ""
        return f"no item differs{bound}"
    assert row.test.p is not None
    alone = ""
    if row.test.p <= ALPHA:
        alone = f" (p {format_pvalue(row.test.p)} alone, but not among {family} tests)"
    if row.mde is None:
        return f"no spread was seen{alone}"
    return f"differences below {format_value(row.mde)} cannot be excluded{alone}"
