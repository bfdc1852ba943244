"""Whatever happens to a sample becomes a status with a reason, never a number."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmeval.core import (
    Ask,
    Failure,
    GenerateRequest,
    Metric,
    Request,
    Response,
    Sample,
    Score,
    Task,
    Unscorable,
    UsageError,
)
from llmeval.engine import Evaluated, Journal, evaluate
from llmeval.stats import estimate_mean
from tests.support.attempts import attempt
from tests.support.fakes import FakeModel, FakeTask, complete

TWO = {name: Metric(name, estimate_mean) for name in ("acc", "acc_norm")}


def score_with(tmp_path: Path, make: Any) -> list[Score]:
    """Return the scores of one sample of a task of two metrics."""

    async def evaluate(sample: Sample, ask: Ask) -> list[Score]:
        scores: list[Score] = make()
        return scores

    made = attempt([FakeTask(n=1, evaluate=evaluate, metrics=TWO)], FakeModel(), tmp_path)
    return [score for *_, score in made.scores()]


def raising(error: BaseException) -> Any:
    def make() -> None:
        raise error

    return make


def test_scores_pass_as_they_are(tmp_path: Path) -> None:
    scores = [Score("acc", 1.0, extracted="A"), Score("acc_norm", item=["a", "b"])]
    assert score_with(tmp_path, lambda: scores) == scores


def test_an_answer_that_cannot_be_scored_is_unscored_on_every_metric(tmp_path: Path) -> None:
    scores = score_with(tmp_path, raising(Unscorable("no number in the answer")))
    assert scores == [Score(m, None, "unscored", "no number in the answer") for m in TWO]


def test_a_task_that_breaks_is_errored_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "llmeval"):
        scores = score_with(tmp_path, raising(KeyError("answer")))
    assert scores == [Score(m, None, "errored", "KeyError: 'answer'") for m in TWO]
    assert "fake_task, sample 0: KeyError: 'answer'" in caplog.text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), np.float32("nan")])
def test_a_value_that_is_no_number_is_unscored(tmp_path: Path, value: float) -> None:
    good, bad = Score("acc_norm", 0), Score("acc", value, extracted="x")
    scores = score_with(tmp_path, lambda: [bad, good])
    assert scores[0].status == "unscored"
    assert scores[0].value is None
    assert scores[0].extracted == "x"
    assert "not a number" in str(scores[0].reason)
    assert scores[1].status == "scored"


def test_a_metric_left_out_is_unscored(tmp_path: Path) -> None:
    for made in ([Score("acc", 1.0)], [Score("acc", 1.0), Score("acc_norm")]):
        assert score_with(tmp_path, lambda made=made: made) == [
            Score("acc", 1.0),
            Score("acc_norm", None, "unscored", "the task reported no value"),
        ]


@pytest.mark.parametrize("value", [np.bool_(True), True, np.int64(1), np.float32(1), 1])
def test_numbers_of_all_kinds_become_floats(tmp_path: Path, value: Any) -> None:
    (score, _) = score_with(tmp_path, lambda: [Score("acc", value), Score("acc_norm", 0.0)])
    assert type(score.value) is float
    assert score.value == 1.0


HIGH: Any = "high"


@pytest.mark.parametrize("scores", [None, 1.0, [Score("acc", HIGH)], ["acc"]])
def test_a_task_that_reports_nonsense_is_errored(tmp_path: Path, scores: Any) -> None:
    assert {s.status for s in score_with(tmp_path, lambda: scores)} == {"errored"}


def test_an_error_with_a_mend_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no sandbox"):
        score_with(tmp_path, raising(UsageError("no sandbox")))


def test_the_other_samples_of_a_broken_one_are_scored(tmp_path: Path) -> None:
    async def evaluate(sample: Sample, ask: Ask) -> list[Score]:
        await complete(ask, sample.id)
        if sample.id == "2":
            raise ValueError("broken row")
        return [Score("acc", 1.0)]

    made = attempt([FakeTask(n=5, evaluate=evaluate)], FakeModel(), tmp_path)
    assert [s.status for *_, s in made.scores()] == ["scored"] * 2 + ["errored"] + ["scored"] * 2


# -- windows -------------------------------------------------------------------------------------


def test_results_leave_in_the_order_of_the_samples(tmp_path: Path) -> None:
    tasks = [FakeTask("one", 25, "steps"), FakeTask("two", 25), FakeTask("three", 3, "generate")]
    made = attempt(tasks, FakeModel(), tmp_path, window=10)
    expected = [(t.name, str(i)) for t in tasks for i in range(len(t))]
    assert [(r.task.name, r.sample.id) for r in made.results] == expected


def test_the_window_does_not_change_the_results(tmp_path: Path) -> None:
    made = []
    for window in (1, 7, 1000):
        folder = tmp_path / str(window)
        folder.mkdir()
        task = FakeTask(n=40, kind="generate")
        made.append(attempt([task], FakeModel(), folder, window=window).scores())
    assert made[0] == made[1] == made[2]


class Counted(FakeTask):
    """Counts its samples that are alive."""

    def __init__(self, n: int) -> None:
        super().__init__("counted", n, evaluate=self.sometimes_ask)
        self.alive = weakref.WeakSet[Any]()
        self.most = 0

    def samples(self) -> Iterator[Sample]:
        for sample in super().samples():
            # A slotted sample cannot be referred to weakly; what it holds can.
            self.alive.add(gold := _Weighty())
            yield Sample(sample.id, sample.fields, payload=gold)
            self.most = max(self.most, len(self.alive))

    @staticmethod
    async def sometimes_ask(sample: Sample, ask: Ask) -> list[Score]:
        if sample.id.endswith("0"):
            await ask([GenerateRequest(sample.id)])
        return [Score("acc", 1.0)]


class _Weighty:
    """A payload that can be referred to weakly."""


@pytest.mark.slow
def test_a_hundred_thousand_samples_are_never_in_memory_at_once(tmp_path: Path) -> None:
    task, window, seen = Counted(100_000), 1000, 0

    def sink(results: Sequence[Evaluated]) -> None:
        nonlocal seen
        assert [r.sample.id for r in results] == [str(seen + i) for i in range(len(results))]
        seen += len(results)
        gc.collect(0)

    with Journal(tmp_path / "journal.sqlite") as journal:
        run = journal.begin("spec", "run")
        model = Forgetful(batch=100)
        evaluate([task], model, journal=journal, run=run, sink=sink, window=window)
    assert seen == 100_000
    assert task.most <= 3 * window


class Forgetful(FakeModel):
    """Keeps no list of what it was asked."""

    def _note(self, requests: Sequence[Request]) -> None:
        pass


# -- progress and baselines ----------------------------------------------------------------------


class Steps:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def start(self, total: int) -> None:
        self.said.append(total)

    def advance(self, task: str) -> None:
        self.said.append(task)

    def stop(self) -> None:
        self.said.append("stop")


@pytest.mark.parametrize("breaks", [False, True])
def test_progress_is_told_of_each_sample_and_always_stopped(tmp_path: Path, breaks: bool) -> None:
    def before(requests: Sequence[Request]) -> None:
        if breaks:
            raise UsageError("no")

    steps = Steps()
    with Journal(tmp_path / "journal.sqlite") as journal:
        run = journal.begin("spec", "run")
        tasks: list[Task] = [FakeTask("a", 2), FakeTask("b", 1)]
        try:
            model = FakeModel(before=before)
            evaluate(tasks, model, journal=journal, run=run, sink=print, progress=steps)
        except UsageError:
            assert breaks
    assert steps.said == ([3, "stop"] if breaks else [3, "a", "a", "b", "stop"])


class Informed:
    """Answers from the sample; knows nothing for every second one."""

    name = fingerprint = "informed"
    capabilities = frozenset({"generate"})

    def describe(self) -> dict[str, Any]:
        return {}

    def report(self) -> dict[str, Any]:
        return {}

    def study(self, tasks: Sequence[Task]) -> None:
        pass

    def answer_sample(
        self, task: str, sample: Sample, requests: Sequence[Request]
    ) -> list[Response]:
        if int(sample.id) % 2:
            return [Failure("no right text") for _ in requests]
        return [FakeModel().reply(r) for r in requests]


def test_a_baseline_answers_directly_and_is_not_journaled(tmp_path: Path) -> None:
    async def evaluate(sample: Sample, ask: Ask) -> list[Score]:
        await complete(ask, "question")
        return [Score("acc", 1.0)]

    made = attempt([FakeTask(n=4, evaluate=evaluate)], Informed(), tmp_path, window=3)
    assert [(s.status, s.reason) for *_, s in made.scores()] == [
        ("scored", None),
        ("errored", "no right text"),
    ] * 2
    assert made.usage is not None
    assert made.usage.requests == 4
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert journal.count() == 0
