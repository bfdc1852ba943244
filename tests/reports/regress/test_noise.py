"""A sentinel tells decoding noise from drift."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from llmeval.reports.regress.noise import Noise, measure_noise, weigh_drift
from llmeval.reports.regress.units import UnitName
from tests.reports.regress.support import night_of, records, wrong
from tests.support.records import items_of, write_record

NAME = UnitName("task", "acc", ("task",))


def test_noise_by_hand(tmp_path: Path) -> None:
    """Two of four items differ between two draws: within-item variances are .5, .5, 0, 0."""
    draws = [
        write_record(tmp_path / "a", {"task": items_of([1, 0, 1, 0])}),
        write_record(tmp_path / "b", {"task": items_of([0, 1, 1, 0])}),
    ]
    noise = measure_noise(draws, NAME)
    assert noise is not None
    assert (noise.items, noise.draws, noise.changed) == (4, 2, 0.5)
    assert noise.sd == pytest.approx(math.sqrt(0.25))  # of one answer, on average


def test_only_items_of_every_draw_count(tmp_path: Path) -> None:
    night = write_record(tmp_path / "a", {"task": items_of([1] * 50)})
    sentinel = write_record(tmp_path / "b", {"task": items_of([1] * 50)[10:20]})
    noise = measure_noise([night, sentinel], NAME)
    assert noise is not None and noise.items == 10


def test_without_repeats_there_is_no_noise_to_tell(tmp_path: Path) -> None:
    run = write_record(tmp_path / "a", {"task": items_of([1] * 5)})
    assert measure_noise([run], NAME) is None
    other = write_record(tmp_path / "b", {"another": items_of([1] * 5)})
    assert measure_noise([run, other], NAME) is None


def test_the_sd_of_a_difference_is_what_simulation_gives(tmp_path: Path) -> None:
    """Items that are right with probability .7, independent in every draw."""
    rng = np.random.default_rng(3)
    draws = [
        write_record(tmp_path / str(i), {"task": items_of((rng.random(400) < 0.7).astype(float))})
        for i in range(4)
    ]
    noise = measure_noise(draws, NAME)
    assert noise is not None
    drift = weigh_drift(-0.01, 400, noise, None)
    assert drift is not None
    assert drift.sd == pytest.approx(math.sqrt(2 * 0.7 * 0.3 / 400), rel=0.1)
    assert not drift.stands_out
    far = weigh_drift(-0.2, 400, noise, noise)
    assert far is not None and far.stands_out and "this is drift" in far.says


def test_a_model_that_repeats_itself_has_drifted_if_it_differs(tmp_path: Path) -> None:
    after = items_of(wrong(40, of=200))
    runs = records(tmp_path, {"task": items_of([1.0] * 200)}, {"task": after})
    sentinel = write_record(tmp_path / "sentinel", {"task": after[:50]})
    night, _ = night_of(runs, repeats=(sentinel,))
    drift = night.models[0].drift["task", "acc"]
    assert drift.unseen and drift.stands_out
    assert "all 50 sentinel items got the same score each time" in drift.says


def test_a_few_items_that_repeat_do_not_make_one_lost_item_a_drift(tmp_path: Path) -> None:
    """Rule of three: of 50 items that all repeat, 5.8% may move; sqrt(.058 / 400) is .012."""
    still = Noise(items=50, draws=3, sd=0.0, changed=0.0)
    drift = weigh_drift(-1 / 400, 400, still, still)
    assert drift is not None and not drift.stands_out
    assert drift.sd == pytest.approx(0.012, abs=2e-4)
