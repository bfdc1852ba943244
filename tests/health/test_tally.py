"""The checks of a whole run: live, over a record, and where a check itself breaks."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llmeval.core import (
    Answers,
    Generation,
    Loglikelihood,
    LoglikelihoodRequest,
    Request,
    Response,
    Sample,
)
from llmeval.health import HealthTally, RunFacts, examine_run
from llmeval.health.seen import look_at
from llmeval.run_spec import RunSpec, make_spec
from llmeval.runs import Run
from llmeval.session import execute
from tests.health.rows import MODEL, choice, guesses, make_facts, mostly_right
from tests.support.fakes import FakeModel, FakeTask


def stored(run: Run) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    tasks = {name: task["health"] for name, task in run.summary["tasks"].items()}
    return tasks, run.summary["health"]


class Silent(FakeModel):
    """Completes nothing, and takes the first choice."""

    def answer(self, requests: Sequence[Request]) -> Answers:
        return Answers([self._respond(request) for request in requests])

    @staticmethod
    def _respond(request: Request) -> Response:
        if isinstance(request, LoglikelihoodRequest):
            return Loglikelihood(-float(ord(request.continuation.strip()[0])), False, 1)
        return Generation("")


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    tasks = [FakeTask("texts", 40, kind="generate"), FakeTask("choices", 40)]
    return make_spec(Silent(), tasks, out=tmp_path / "results", workspace=tmp_path)


def test_a_record_holds_what_was_found_and_examining_it_finds_the_same(spec: RunSpec) -> None:
    run = execute(spec)
    tasks, of_run = stored(run)
    assert "empty answers" in {finding["check"] for finding in tasks["texts"]}
    assert examine_run(run) == (tasks, of_run)
    for finding in tasks["texts"]:
        assert set(finding) == {
            *("check", "severity", "what", "mend", "count", "n", "share", "examples")
        }


def test_the_gravest_finding_stands_first() -> None:
    rows = [choice(i, 0, i % 4) for i in range(40)] + [choice(1, 0, 1)] * 10
    tally = HealthTally([make_facts("t")])
    for row in rows:
        tally.add("t", *row)
    tasks, _ = tally.find({}, RunFacts(MODEL))
    assert [f["severity"] for f in tasks["t"]] == ["error", "warning"]


def test_a_check_that_breaks_is_a_finding_and_the_run_goes_on() -> None:
    class Hostile(dict[str, Any]):
        def __repr__(self) -> str:
            raise RuntimeError("no name")

    tally = HealthTally([make_facts("t")])
    for sample, asked, scores in guesses(0, 40, mostly_right):
        tally.add("t", sample, asked, scores)
    tally.add("t", Sample("odd", Hostile()), [], [])
    tasks, run = tally.find({}, RunFacts(MODEL))
    assert tasks["t"] == []
    (finding,) = run
    assert "broke on 1 of 41 samples (RuntimeError: no name)" in finding["what"]
    assert finding["examples"] == ["odd"]


def test_a_check_that_breaks_at_the_end_costs_no_run_its_record() -> None:
    """A level of 25 is none (percent, perhaps); its power of 100 is no float."""
    tally = HealthTally([make_facts("t")])
    for i in range(300):
        tally.add("t", *choice(i, (i + 1) % 4, i % 4))
    tasks, run = tally.find({"t": {"acc": {"chance": 1e4}}}, RunFacts(MODEL))
    assert [f["check"] for f in tasks["t"]] == ["below chance"]
    (finding,) = run
    assert "the checks broke at the end (OverflowError" in finding["what"]


def test_memory_does_not_grow_with_the_texts() -> None:
    """All that a tally holds of 3,000 samples is small beside their texts."""
    tally = HealthTally([make_facts("t")])
    for i in range(3000):
        tally.add("t", *choice(i, i % 4, (i // 3) % 4, prompt=f"{i} " + "word " * 200))
    assert len(pickle.dumps(tally._checks)) < 200_000


def test_what_is_seen_of_a_sample_without_questions() -> None:
    seen = look_at(make_facts("t"), Sample("1", {}), [], [])
    assert (seen.prompt, seen.pick, seen.count, seen.drawn) == (None, None, 0, [])
