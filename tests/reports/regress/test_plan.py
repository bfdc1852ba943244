"""A plan promises what the gate then keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llmeval.reports.regress.nights import State
from llmeval.reports.regress.noise import Noise
from llmeval.reports.regress.plan import Spread, count_items, expect_spread, plan_unit
from llmeval.reports.regress.settings import GateSettings
from llmeval.reports.regress.units import UnitName
from llmeval.reports.scores import read_scores
from llmeval.stats.bounded import collect_totals, mean_pvalues
from tests.support.records import items_of, write_record

NAME = UnitName("task", "acc", ("task",))


def plan(n: int, sd: float, tolerance: float, units: int = 1) -> tuple[float | None, int | None]:
    settings = GateSettings(tolerance=tolerance)
    made = plan_unit("m", NAME, settings, units, n, Spread(sd, "earlier nights"))
    return made.detects, made.needed_n


def power(n: int, lost: float, gained: float, tolerance: float, *, passes: bool) -> float:
    """Return how often the gate decides, of 300 simulated nights."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(300):
        moved = rng.choice([-1.0, 0.0, 1.0], n, p=[lost, 1 - lost - gained, gained])
        above, below = mean_pvalues(collect_totals(moved), -tolerance, (-1.0, 1.0))
        hits += (above if passes else below) <= 0.05
    return hits / 300


def test_without_any_spread_it_is_the_exact_count() -> None:
    """.98^n <= .05 from n = 149 on."""
    assert plan(100, 0.0, 0.02)[1] == 149


def test_the_drop_that_is_detected_is_detected_four_times_in_five() -> None:
    drop, _ = plan(400, 0.2, 0.03)
    assert drop is not None and drop > 0.04  # sd^2: then every item that moves is lost
    assert 0.75 <= power(400, drop, 0.0, 0.03, passes=False) <= 0.92


def test_an_unchanged_model_passes_four_times_in_five_from_the_planned_n_on() -> None:
    _, n = plan(400, 0.3, 0.04)
    assert n is not None
    assert 0.75 <= power(n, 0.045, 0.045, 0.04, passes=True) <= 0.92


def test_more_units_need_more_items() -> None:
    alone, among = plan(200, 0.3, 0.05), plan(200, 0.3, 0.05, units=20)
    assert alone[0] is not None and among[0] is not None and among[0] > alone[0]
    assert alone[1] is not None and among[1] is not None and among[1] > alone[1]


def test_a_handful_of_items_detects_nothing() -> None:
    assert plan(2, 0.3, 0.02)[0] is None


def test_the_spread_comes_from_the_best_source(tmp_path: Path) -> None:
    run = write_record(tmp_path / "run", {"task": items_of([1.0, 0.0] * 50)})
    table = read_scores([run])
    bound = expect_spread(table, NAME, State(), "m", None)
    assert bound is not None and bound.basis == "independent answers"
    assert bound.sd == pytest.approx(np.sqrt(2) * np.std([1.0, 0.0] * 50, ddof=1))
    noise = Noise(items=50, draws=4, sd=0.1, changed=0.2)
    repeated = expect_spread(table, NAME, State(), "m", noise)
    assert repeated == Spread(pytest.approx(np.sqrt(2) * 0.1), "repeated answers")
    assert count_items(run, NAME, None) == 100
    assert count_items(run, NAME, {"task": 30}) == 30
    still = expect_spread(table, NAME, State(), "m", Noise(items=50, draws=3, sd=0.0, changed=0.0))
    assert still is not None and still.sd == pytest.approx(0.24, abs=0.003)  # sqrt(.058)
