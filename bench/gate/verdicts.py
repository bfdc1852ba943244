"""Error and power of the gate's verdicts, of one task and of several."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from bench.gate.data import CASES, Batch, Case, Floats, outcomes
from bench.gate.table import ALPHA, Share, write_row
from llmeval.stats import Verdict, decide, gate
from llmeval.stats.bounded import Totals, gaffke_pvalue, units_needed


def gate_pvalues(batch: Batch, tolerance: float) -> tuple[Floats, Floats]:
    """[runs] p_noninferior and p_inferior, as `test_noninferiority` computes them one by one."""
    units = batch.counts.sum(axis=1)
    size = (batch.counts * batch.sizes).sum(axis=1) / units
    added = (batch.counts * batch.sizes**2).sum(axis=1) / units / size**2
    moved = (batch.sums + tolerance * batch.sizes) / size[:, None]
    above = gaffke_pvalue(moved, added * (tolerance - 1), batch.counts)
    below = gaffke_pvalue(-moved, -added * (tolerance + 1), batch.counts)
    return above, below


def students_pvalues(batch: Batch, tolerance: float) -> Floats:
    """[runs] p-value of "worse by the tolerance or more" by Student's t, clustered."""
    units = batch.counts.sum(axis=1)
    items = (batch.counts * batch.sizes).sum(axis=1)
    mean = (batch.counts * batch.sums).sum(axis=1) / items
    residuals = batch.sums - mean[:, None] * batch.sizes
    squares = (batch.counts * residuals**2).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (mean + tolerance) * items / np.sqrt(units / (units - 1) * squares)
    p: Floats = np.where(squares > 0, stdtr(units - 1, -t), 1.0)
    return p


def simulate_case(case: Case, runs: int, seed: int) -> tuple[list[Share], list[Share]]:
    """Return the shares that may be 5% at most, with Student's beside them, and those found."""
    rng = np.random.default_rng(seed)
    runs = max(20, round(runs * case.weight))
    tolerance = case.tolerance
    at_edge, same, worse = (
        case.draw(rng, runs, case.units, -times * tolerance) for times in (1, 0, 2)
    )
    passed, regressed = gate_pvalues(at_edge, tolerance)
    errors = [
        Share.of(passed <= ALPHA),
        Share.of(regressed <= ALPHA),
        Share.of(students_pvalues(at_edge, tolerance) <= ALPHA),
    ]
    found = [
        Share.of(gate_pvalues(same, tolerance)[0] <= ALPHA),
        Share.of(gate_pvalues(worse, tolerance)[1] <= ALPHA),
    ]
    return errors, found


def simulate_family(tasks: int, changed: int, runs: int, seed: int) -> list[Share]:
    """Return how often any of the tasks at the edge passes or is called regressed, and the power.

    Each task has 1,000 items of which 10% are discordant, a tolerance of .02, and is at the edge
    where it is among the `changed`, else unchanged; for the last share it is at twice the edge.
    """
    rng = np.random.default_rng(seed)
    draw, tolerance = outcomes(0.1), 0.02
    blank = gate.test_noninferiority(np.zeros(2), tolerance)

    def verdicts(multiples: list[int]) -> NDArray[np.str_]:
        columns = [
            gate_pvalues(draw(rng, runs, 1000, -times * tolerance), tolerance)
            for times in multiples
        ]
        rows = []
        for run in range(runs):
            tests = [
                replace(blank, p_noninferior=float(a[run]), p_inferior=float(b[run]))
                for a, b in columns
            ]
            rows.append(decide(tests, ALPHA))
        return np.array(rows)

    edge = verdicts([1] * changed + [0] * (tasks - changed))
    passed = (edge[:, :changed] == Verdict.PASS).any(axis=1)
    regressed = (edge == Verdict.REGRESSED).any(axis=1)
    same, worse = verdicts([0] * tasks), verdicts([2] * tasks)
    return [
        Share.of(passed),
        Share.of(regressed),
        Share.of((same == Verdict.PASS).ravel()),
        Share.of((worse == Verdict.REGRESSED).ravel()),
    ]


def planned_items(tolerance: float, discordance: float) -> int | None:
    """Return how many 0/1 items pass with 80% probability where nothing has changed."""
    counts = np.array([discordance / 2, 1 - discordance, discordance / 2]) * 1e6
    totals = Totals(np.array([-1.0, 0.0, 1.0]), np.ones(3), counts)
    units = units_needed(totals, -tolerance, (-1.0, 1.0), ALPHA, gate.POWER)
    return None if units is None else int(np.ceil(units))


def write_cases(runs: int, failures: list[str]) -> Iterator[str]:
    """The table of single tasks."""
    yield "One task, alpha 5%:"
    yield ""
    yield from write_row(
        "data", "tolerance", "PASS at -tol", "REGRESSED at -tol", "PASS at -tol by Student's t",
        "PASS at 0", "REGRESSED at -2 tol", head=True,
    )  # fmt: skip
    for seed, case in enumerate(CASES):
        errors, found = simulate_case(case, runs, seed)
        if case.holds:
            failures += [f"{case.data}: {share}" for share in errors[:2] if share.exceeds(ALPHA)]
        yield from write_row(
            case.data + ("" if case.holds else " *"), f"{case.tolerance:g}", *errors, *found
        )


def write_families(runs: int, failures: list[str]) -> Iterator[str]:
    """The table of several tasks."""
    yield "Several tasks (0/1, 10% discordant, 1,000 items, tolerance .02), Holm at 5%:"
    yield ""
    yield from write_row(
        "tasks", "of these at -tol", "any of those PASS", "any REGRESSED",
        "a task PASSes, all at 0", "a task REGRESSED, all at -2 tol", head=True,
    )  # fmt: skip
    for seed, (tasks, changed) in enumerate([(1, 1), (3, 3), (3, 1), (10, 10), (10, 2)]):
        shares = simulate_family(tasks, changed, max(20, runs // 5), 100 + seed)
        failures += [f"{tasks} tasks: {share}" for share in shares[:2] if share.exceeds(ALPHA)]
        yield from write_row(str(tasks), str(changed), *shares)


def write_plan() -> Iterator[str]:
    """The table of items that a tolerance needs."""
    discordances = (0.0, 0.05, 0.1, 0.2, 0.3)
    yield "0/1 items with which an unchanged model passes at 80%, by tolerance and discordance:"
    yield ""
    yield from write_row("tolerance", *(f"{d:.0%}" for d in discordances), head=True)
    for tolerance in (0.005, 0.01, 0.02, 0.03, 0.05, 0.1):
        items = [planned_items(tolerance, discordance) for discordance in discordances]
        yield from write_row(f"{tolerance:g}", *(f"{n:,}" if n else "-" for n in items))
