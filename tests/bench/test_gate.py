"""The bench of the gate: it computes what the product computes, and runs."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from bench.gate import __main__ as command
from bench.gate.data import CASES, Case
from bench.gate.nights import draw_monitor, follow_nights, move_chances, weigh_nights
from bench.gate.table import Share
from bench.gate.verdicts import gate_pvalues, planned_items, students_pvalues
from llmeval.stats import combine_evidence, combine_nights, gate, night_evidence


@pytest.mark.parametrize("case", CASES[1::6], ids=lambda case: case.data)
def test_verdicts_are_the_products(case: Case) -> None:
    batch = case.draw(np.random.default_rng(0), 3, 40, -case.tolerance)
    above, below = gate_pvalues(batch, case.tolerance)
    students = students_pvalues(batch, case.tolerance)
    for row in range(3):
        counts = batch.counts[row].astype(int)
        sizes = np.repeat(batch.sizes[row], counts).astype(int)
        means = np.repeat(batch.sums[row] / batch.sizes[row], counts)
        differences, clusters = np.repeat(means, sizes), np.repeat(np.arange(len(sizes)), sizes)
        result = gate.test_noninferiority(differences, case.tolerance, clusters)
        assert above[row] == pytest.approx(result.p_noninferior, rel=1e-6)
        assert below[row] == pytest.approx(result.p_inferior, rel=1e-6)
        plain = gate.test_noninferiority(differences, case.tolerance, clusters, bounds=None)
        assert students[row] == pytest.approx(plain.p_noninferior, rel=1e-6)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.data)
def test_drawn_differences_have_the_mean_that_they_are_drawn_for(case: Case) -> None:
    batch = case.draw(np.random.default_rng(1), 400, 200, -case.tolerance)
    mean = (batch.counts * batch.sums).sum() / (batch.counts * batch.sizes).sum()
    assert mean == pytest.approx(-case.tolerance, rel=0.1)


def test_nights_are_the_products() -> None:
    rng = np.random.default_rng(2)
    for pins in (0, 3):
        answers, pinned = draw_monitor(rng, 50, 4, 0.1, pins=pins)
        evidence = weigh_nights(answers, pinned, 0.02)
        for night, row in zip(answers, evidence, strict=True):
            assert row == pytest.approx(night_evidence(night - pinned, 0.02))
        mixed, product = follow_nights(evidence)
        assert mixed[-1] == pytest.approx(combine_nights(evidence))
        assert product[-1] == pytest.approx(combine_evidence(evidence.sum(axis=0)))


def test_chances_get_the_mean_asked_for() -> None:
    chance = np.random.default_rng(3).beta(0.6, 0.3, 200)
    assert move_chances(chance, 0.5).mean() == pytest.approx(0.5)


def test_plan_without_discordance_is_the_closed_form() -> None:
    assert planned_items(0.02, 0.0) == np.ceil(np.log(0.05) / np.log(0.98))


def test_a_share_is_above_its_level_only_beyond_doubt() -> None:
    assert not Share(60, 1000).exceeds(0.05)
    assert Share(90, 1000).exceeds(0.05)
    assert str(Share(50, 1000)).startswith("5.0% (3.7-")


@pytest.mark.slow
def test_it_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.gate", "--runs", "400"])
    assert command.main() == 0
    printed = capsys.readouterr()
    assert printed.out.count("| --- |") == 5
    for case in CASES:
        assert case.data in printed.out
    assert printed.err == ""
