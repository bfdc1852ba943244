"""What a night says agrees with its verdicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from llmeval.reports.regress.settings import GateSettings
from llmeval.reports.regress.words import (
    HEAD,
    explain,
    explain_control,
    format_bounds,
    format_tolerance,
    list_rows,
)
from tests.reports.regress.support import night_of, records, wrong
from tests.support.records import items_of


def printed(text: str) -> tuple[float, float]:
    low, high = text.split(" … ")
    return float(low), float(high)


@given(st.floats(-1, 1), st.floats(0, 1), st.sampled_from([0.02, 0.05, 0.0125, 0.3, 1 / 3]))
def test_printed_bounds_stand_on_the_side_of_the_tolerance_that_they_are_on(
    low: float, width: float, tolerance: float
) -> None:
    shown = float(format_tolerance(tolerance))
    assume(min(abs(low + tolerance), abs(low + width + tolerance)) > 1e-7)
    written = printed(format_bounds((low, low + width), tolerance))
    for bound, text in zip((low, low + width), written, strict=True):
        assert (text > -shown) == (bound > -tolerance)
        assert text == pytest.approx(bound, abs=5e-4)


def test_a_pass_is_printed_beside_a_bound_above_the_tolerance(tmp_path: Path) -> None:
    """64 unchanged items: the two-sided 95% interval reaches to -.056, the bound to -.046."""
    good = [1.0] * 200
    before = {"same": items_of(good[:64]), "few": items_of(good[:40])}
    after = {"same": items_of(good[:64]), "few": items_of(wrong(3, of=40))}
    one, _ = night_of(
        records(tmp_path, {"same": before["same"]}, {"same": after["same"]}),
        GateSettings(tolerance=0.05),
    )
    (row,) = list_rows(one)
    cells = dict(zip(HEAD, row, strict=True))
    assert (cells["verdict"], cells["tested bounds"]) == ("PASS", "-0.046 … +0.046")
    assert "PASS where the lower one is above -tolerance" in explain_control(one)[1]
    both, _ = night_of(records(tmp_path / "two", before, after), GateSettings(tolerance=0.05))
    for row in list_rows(both):
        cells = dict(zip(HEAD, row, strict=True))
        low, high = printed(cells["tested bounds"])
        assert cells["verdict"] == "INCONCLUSIVE"
        assert low < -0.05 < high


def test_only_a_nightly_file_has_a_baseline_to_pin(tmp_path: Path) -> None:
    """Two records are compared: a new baseline is another record, not a line in a file."""
    runs = records(tmp_path, {"a": items_of([1.0] * 9)}, {"a": items_of([1.0] * 9)}, num_fewshot=5)
    night, _ = night_of(runs)
    (unit,) = night.units
    assert "pin a new baseline with --set-baseline" in explain(night, unit)
    said = explain(replace(night, name=None), unit)
    assert "--set-baseline" not in said
    assert said.endswith("or name another record with --baseline)")
