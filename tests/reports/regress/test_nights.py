"""Evidence over nights: counted once, begun anew for a reason, never silently lost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from llmeval.reports.regress.faults import Fault
from llmeval.reports.regress.nights import (
    State,
    forget_nights,
    read_state,
    write_history,
    write_state,
)
from llmeval.reports.regress.settings import GateSettings
from llmeval.reports.regress.verdicts import Evidence, Outcome
from llmeval.stats import night_evidence
from tests.reports.regress.support import night_of
from tests.support.records import items_of, write_record

N = 100


class Nights:
    """Nights of one task against one baseline, all items right in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state: State | None = State()
        self.baseline = write_record(folder / "baseline", {"task": items_of([1.0] * N)})

    def add(
        self, name: str, lost: int, tolerance: float = 0.05, **side: object
    ) -> tuple[Outcome, Evidence]:
        values = [0.0] * lost + [1.0] * (N - lost)
        run = write_record(self.folder / name, {"task": items_of(values)})
        gate = GateSettings(tolerance=tolerance)
        night, self.state = night_of(
            (self.baseline, run), gate, state=self.state, name=name, **side
        )
        (unit,) = night.units
        assert unit.evidence is not None
        return unit.outcome, unit.evidence


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path)


def test_a_drop_too_small_for_one_night_is_found_over_several(nights: Nights) -> None:
    outcomes = [nights.add(f"night{i}", lost=10)[0] for i in range(8)]
    assert outcomes[0] is Outcome.INCONCLUSIVE
    assert outcomes[-1] is Outcome.REGRESSED
    assert outcomes == sorted(outcomes, key=list(Outcome).index, reverse=True)  # once and for all


def test_good_nights_never_raise_an_alarm(nights: Nights) -> None:
    values = [nights.add(f"night{i}", lost=i % 3)[1].e_value for i in range(12)]
    assert max(values) < 1.0


def test_a_night_counts_once(nights: Nights) -> None:
    _, first = nights.add("night", lost=10)
    _, again = nights.add("night", lost=10)
    assert again == first
    assert again.nights == 1


def test_the_first_night_by_hand(nights: Nights) -> None:
    """One night that a bet may begin with: half of its e-value, and half for what is to come."""
    _, evidence = nights.add("night", lost=10)
    alone = np.exp(night_evidence([-1.0] * 10 + [0.0] * 90, 0.05)).mean()
    assert evidence.e_value == pytest.approx(alone / 2 + 1 / 2)
    assert evidence.threshold == pytest.approx(1 / 0.05)


def test_another_tolerance_begins_anew_and_says_so(nights: Nights) -> None:
    nights.add("one", lost=10)
    _, evidence = nights.add("two", lost=10, tolerance=0.06)
    assert (evidence.nights, evidence.begun_anew) == (1, "tolerance changed")


def test_another_baseline_begins_anew_and_says_so(nights: Nights) -> None:
    nights.add("one", lost=10)
    nights.baseline = write_record(nights.folder / "new", {"task": items_of([0.0] + [1.0] * 99)})
    _, evidence = nights.add("two", lost=10)
    assert (evidence.nights, evidence.begun_anew) == (1, "baseline changed")


def test_other_settings_of_the_model_begin_anew(nights: Nights) -> None:
    nights.add("one", lost=10, settings="temperature 0")
    _, evidence = nights.add("two", lost=10, settings="temperature 1")
    assert (evidence.nights, evidence.begun_anew) == (1, "model settings changed")


def test_answers_from_a_journal_are_no_evidence(nights: Nights) -> None:
    nights.add("one", lost=10)
    _, evidence = nights.add("two", lost=50, stale="its answers were journaled before")
    assert (evidence.nights, evidence.counted) == (1, False)


def test_a_night_that_was_asked_twice_counts_once(nights: Nights) -> None:
    nights.add("one", lost=10)
    run = write_record(nights.folder / "again", {"task": items_of([0.0] * 50 + [1.0] * 50)})
    gate = GateSettings(tolerance=0.05)
    night, _ = night_of((nights.baseline, run), gate, state=nights.state, name="one")
    evidence = night.units[0].evidence
    assert evidence is not None and (evidence.nights, evidence.counted) == (1, False)
    assert evidence.why_not == "night one counts already, with another run"


def test_nights_can_be_forgotten(nights: Nights) -> None:
    nights.add("one", lost=30)
    assert nights.state is not None
    nights.state = forget_nights(nights.state)
    _, evidence = nights.add("two", lost=0)
    assert evidence.nights == 1


def test_what_is_kept_comes_back(nights: Nights, tmp_path: Path) -> None:
    nights.add("one", lost=10)
    assert nights.state is not None
    write_state(tmp_path, nights.state)
    assert read_state(tmp_path) == nights.state


def test_without_a_state_the_evidence_is_empty(tmp_path: Path) -> None:
    assert read_state(tmp_path) == State()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"version": 2, "units": []}',
        '{"version": 1, "units": [{}]}',
        '{"version": 1, "unit": []}',
        '{"version": 1, "units": [{"model": "m", "task": "t", "metric": "a", "about": "x",'
        ' "settings": {}, "nights": [{"run_id": "r", "night": "n", "n": 5, "sd": 0.1,'
        ' "log_evidence": [NaN]}]}]}',
        '{"version": 1, "units": [{"model": "m", "task": "t", "metric": "a", "about": "x",'
        ' "settings": {}, "nights": [{"run_id": "r", "night": "n", "n": 5, "sd": 0.1,'
        ' "log_evidence": [0.1]}, {"run_id": "s", "night": "o", "n": 5, "sd": 0.1,'
        ' "log_evidence": [0.1, 0.2]}]}]}',
    ],
)
def test_a_corrupted_state_is_a_fault_that_says_how_to_mend_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    found = read_state(tmp_path)
    assert isinstance(found, Fault)
    assert found.kind == "nights unreadable"
    assert "state.json" in found.mend


def test_history_has_a_line_a_night(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text('{"night": "0"}\nnot JSON\n')
    write_history(tmp_path, "1", {"night": "1", "verdict": "PASS"})
    write_history(tmp_path, "2", {"night": "2", "verdict": "PASS"})
    write_history(tmp_path, "1", {"night": "1", "verdict": "REGRESSED"})
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert lines[:2] == ['{"night": "0"}', "not JSON"]
    told = [json.loads(line) for line in lines[2:]]
    assert told == [{"night": "2", "verdict": "PASS"}, {"night": "1", "verdict": "REGRESSED"}]
