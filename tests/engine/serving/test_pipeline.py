"""Samples flow through a served model: each ends once, in order, whatever breaks off in between."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmeval.core import (
    Ask,
    BudgetReached,
    Failure,
    GenerateRequest,
    Generation,
    Reply,
    Request,
    Sample,
    Sampling,
    Score,
    StorageError,
    TryAgain,
    UsageError,
)
from llmeval.engine import Evaluated, Journal, Usage, evaluate
from llmeval.engine.budget import Budget, Limits
from llmeval.engine.serving import dispatch
from tests.engine.serving.support import Behave, FakeServed, is_answer_of
from tests.support.attempts import Attempt, journaled
from tests.support.fakes import FakeTask, Kind, complete


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "FIRST_DELAY", 0.002)


class Stopped(UsageError):
    """The end of an attempt."""


def attempt(
    tasks: Sequence[Any],
    model: FakeServed,
    folder: Path,
    *,
    spec: str = "spec",
    window: int = 4096,
    limits: Limits | None = None,
    into: Attempt | None = None,
) -> Attempt:
    """Begin or continue a run; ``into`` survives its error."""
    made = into or Attempt()
    made.usage = Usage()
    with Journal(folder / "journal.sqlite") as journal:
        unfinished = journal.unfinished(spec)
        run = unfinished[0] if unfinished else journal.begin(spec, f"{spec} {random.random()}")
        evaluate(
            tasks,
            model,
            journal=journal,
            run=run,
            sink=made.results.extend,
            window=window,
            usage=made.usage,
            budget=Budget(limits or Limits()),
        )
        journal.finish(run)
    return made


def at_random(seed: int, fault: Callable[[Sequence[Request], int], None] | None = None) -> Behave:
    """Answers take their time, each its own."""
    chance = random.Random(seed)

    async def behave(requests: Sequence[Request], attempt: int) -> None:
        await asyncio.sleep(chance.random() / 100)
        if fault is not None:
            fault(requests, attempt)

    return behave


def exchanges(made: Attempt) -> list[object]:
    """Return what each sample asked; questions of one moment come in any order."""
    return [(r.task.name, r.sample.id, sorted(map(str, r.exchanges))) for r in made.results]


def ids(made: Attempt) -> list[tuple[str, str]]:
    return [(r.task.name, r.sample.id) for r in made.results]


# -- one run ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["choice", "generate", "steps", "mixed"])
def test_every_sample_ends_once_and_in_order_although_answers_do_not(
    tmp_path: Path, kind: Kind
) -> None:
    tasks = [FakeTask("one", 70, kind), FakeTask("two", 50, kind, theme="another")]
    model = FakeServed(at_random(1))
    made = attempt(tasks, model, tmp_path)
    assert ids(made) == [(t.name, str(i)) for t in tasks for i in range(len(t))]
    for result in made.results:
        assert result.exchanges
        assert all(is_answer_of(answer, asked) for asked, answer in result.exchanges)


def test_scores_are_those_of_the_answers_however_they_came(tmp_path: Path) -> None:
    """The same task with no delay, and with delays and faults."""

    def fault(requests: Sequence[Request], attempt: int) -> None:
        if attempt == 0 and hash(requests[0]) % 3 == 0:
            raise TryAgain("the connection was lost", unreachable=True)

    task = FakeTask("task", 60, "mixed")
    smooth = attempt([task], FakeServed(), tmp_path, spec="smooth")
    (tmp_path / "rough").mkdir()
    rough = attempt([task], FakeServed(at_random(2, fault)), tmp_path / "rough")
    assert rough.scores() == smooth.scores()
    assert rough.usage == smooth.usage


def test_a_question_is_asked_once_also_while_it_is_in_flight(tmp_path: Path) -> None:
    """All samples have the same question, and all of them have it before it is answered."""

    async def evaluate_all(sample: Sample, ask: Ask) -> list[Score]:
        texts = [await complete(ask, "the same"), await complete(ask, "the same")]
        return [Score("acc", float(texts[0] == texts[1]))]

    model = FakeServed(at_random(3))
    made = attempt([FakeTask(n=100, evaluate=evaluate_all)], model, tmp_path)
    assert [r.prompt for r in model.asked] == ["the same"]
    assert [s.value for *_, s in made.scores()] == [1.0] * 100
    assert made.usage is not None
    assert (made.usage.requests, made.usage.cached) == (200, 199)
    assert (made.usage.prompt_tokens, made.usage.completion_tokens) == (7, 3)


def test_a_question_twice_in_one_ask_is_asked_once(tmp_path: Path) -> None:
    async def evaluate_twice(sample: Sample, ask: Ask) -> list[Score]:
        first, second = await ask([GenerateRequest("twice"), GenerateRequest("twice")])
        return [Score("acc", float(first == second))]

    model = FakeServed(at_random(4))
    made = attempt([FakeTask(n=1, evaluate=evaluate_twice)], model, tmp_path)
    assert len(model.asked) == 1
    assert len(made.results[0].exchanges) == 2


def test_questions_of_several_tasks_and_samples_are_asked_once(tmp_path: Path) -> None:
    tasks = [FakeTask("one", 60, "mixed"), FakeTask("two", 60, "mixed")]  # of one theme
    model = FakeServed(at_random(5))
    made = attempt(tasks, model, tmp_path)
    assert max(Counter(model.keys()).values()) == 1
    assert made.usage is not None
    assert made.usage.cached == made.usage.requests - len(model.asked)


def test_answers_are_in_the_journal_before_a_sample_has_them(tmp_path: Path) -> None:
    model, seen = FakeServed(at_random(6)), []

    async def evaluate_own(sample: Sample, ask: Ask) -> list[Score]:
        request = GenerateRequest(f"own {sample.id}")
        await ask([request])
        seen.append(model.key(request) in journaled(tmp_path))
        return [Score("acc", 1.0)]

    attempt([FakeTask(n=30, evaluate=evaluate_own)], model, tmp_path)
    assert seen == [True] * 30


def test_no_questions_get_no_answers(tmp_path: Path) -> None:
    async def evaluate_none(sample: Sample, ask: Ask) -> list[Score]:
        return [Score("acc", float(await ask([]) == []))]

    model = FakeServed()
    made = attempt([FakeTask(n=3, evaluate=evaluate_none)], model, tmp_path)
    assert [s.value for *_, s in made.scores()] == [1.0] * 3
    assert model.called == []


def test_tasks_without_samples_end(tmp_path: Path) -> None:
    assert attempt([FakeTask(n=0)], FakeServed(), tmp_path).results == []


def test_the_connections_are_ended_with_the_run(tmp_path: Path) -> None:
    model = FakeServed()
    attempt([FakeTask(n=3)], model, tmp_path)
    assert model.hung_up == 1


# -- draws -----------------------------------------------------------------------------------

SAMPLED = GenerateRequest("draw", Sampling(temperature=0.8))


async def ask_draws(sample: Sample, ask: Ask) -> list[Score]:
    answers = await ask(list(SAMPLED.draws(5)))
    texts = [a.text for a in answers if isinstance(a, Generation)]
    return [Score("acc", float(len(set(texts))), extracted=" ".join(texts))]


def test_draws_of_a_question_go_out_together_and_come_back_in_order(tmp_path: Path) -> None:
    model = FakeServed(at_random(7))
    made = attempt([FakeTask(n=1, evaluate=ask_draws)], model, tmp_path)
    assert [[r.repeat for r in call] for call in model.called] == [[0, 1, 2, 3, 4]]  # type: ignore[union-attr]
    answers = [a for _, a in made.results[0].exchanges]
    assert all(map(is_answer_of, answers, SAMPLED.draws(5)))


def test_only_the_draws_that_are_missing_are_asked_for(tmp_path: Path) -> None:
    async def ask_some(sample: Sample, ask: Ask) -> list[Score]:
        await ask([list(SAMPLED.draws(5))[i] for i in (1, 3)])
        return [Score("acc", 1.0)]

    attempt([FakeTask(n=1, evaluate=ask_some)], FakeServed(), tmp_path, spec="two draws")
    model = FakeServed()
    made = attempt([FakeTask(n=1, evaluate=ask_draws)], model, tmp_path)
    assert [[r.repeat for r in call] for call in model.called] == [[0, 2, 4]]  # type: ignore[union-attr]
    answers = [a for _, a in made.results[0].exchanges]
    assert all(map(is_answer_of, answers, SAMPLED.draws(5)))


# -- replay and breaks -----------------------------------------------------------------------


def test_what_the_journal_has_is_not_asked(tmp_path: Path) -> None:
    task = FakeTask("task", 60, "mixed")
    first = attempt([task], FakeServed(at_random(8)), tmp_path, spec="first")
    model = FakeServed()
    again = attempt([task], model, tmp_path, spec="second")
    assert model.called == []
    assert again.scores() == first.scores()
    assert exchanges(again) == exchanges(first)
    assert again.usage is not None
    assert again.usage.cached == again.usage.requests
    assert again.usage.prompt_tokens == again.usage.completion_tokens == 0


@settings(max_examples=15)
@given(
    kind=st.sampled_from(["choice", "generate", "steps", "mixed"]),
    breaks=st.lists(st.integers(0, 25), max_size=3),
    most=st.sampled_from([1, 4, 64]),
    seed=st.integers(0, 99),
)
def test_breaks_change_neither_results_nor_counts_and_no_answer_is_asked_for_twice(
    kind: Kind, breaks: list[int], most: int, seed: int
) -> None:
    tasks = [FakeTask("one", 20, kind), FakeTask("two", 10, "mixed")]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        unbroken = attempt(tasks, FakeServed(usd=0.25), Path(one))
        answered: list[bytes] = []
        for left in [*breaks, 10**9]:
            model = Breaking(left, seed, max_connections=most)
            kept = journaled(Path(other))
            made = Attempt()
            try:
                attempt(tasks, model, Path(other), into=made)
            except Stopped:
                assert ids(made) == sorted(ids(made), key=lambda name: (name[0], int(name[1])))
                assert len(set(ids(made))) == len(made.results)
                ended = False
            else:
                ended = True
            assert not kept & set(model.keys())
            answered += model.answered
            if ended:
                break
    assert max(Counter(answered).values()) == 1
    assert ids(made) == ids(unbroken)
    assert made.scores() == unbroken.scores()
    assert exchanges(made) == exchanges(unbroken)
    assert made.usage == unbroken.usage


class Breaking(FakeServed):
    """Ends the run at its k-th call; notes the questions that it has answered."""

    def __init__(self, left: int, seed: int, **traffic: Any) -> None:
        super().__init__(at_random(seed, self._count), usd=0.25, **traffic)
        self._left = left
        self.answered: list[bytes] = []

    def _count(self, requests: Sequence[Request], attempt: int) -> None:
        self._left -= 1
        if self._left < 0:
            raise Stopped("stopped")
        self.answered += [self.key(request) for request in requests]


def test_an_interrupt_keeps_what_is_answered(tmp_path: Path) -> None:
    def fault(requests: Sequence[Request], attempt: int) -> None:
        if len(model.called) >= 100 and not interrupted:
            interrupted.append(True)
            os.kill(os.getpid(), signal.SIGINT)

    interrupted: list[bool] = []
    task = FakeTask("task", 200, "generate")
    model = FakeServed(at_random(9, fault), max_connections=4)
    with pytest.raises(KeyboardInterrupt):
        attempt([task], model, tmp_path)
    kept = journaled(tmp_path)
    assert len(kept) >= 90
    assert kept <= set(model.keys())
    assert len(model.called) < 120
    again = FakeServed()
    made = attempt([task], again, tmp_path)
    assert not kept & set(again.keys())
    assert len(made.results) == 200


# -- questions without an answer -------------------------------------------------------------


def test_a_question_that_gets_no_answer_costs_its_samples_and_is_asked_again(
    tmp_path: Path,
) -> None:
    def fault(requests: Sequence[Request], attempt: int) -> None:
        if "theme 4" in str(requests[0].prompt):
            raise TryAgain("the answer broke off")

    task = FakeTask("task", 12, "generate")  # sample 8 asks what sample 4 asks
    made = attempt([task], FakeServed(at_random(10, fault), max_attempts=2), tmp_path, spec="one")
    errored = {i: s.reason for _, i, s in made.scores() if s.status == "errored"}
    assert errored == dict.fromkeys(["4", "8"], "the answer broke off (2 attempts)")
    model = FakeServed()
    again = attempt([task], model, tmp_path, spec="two")
    assert [r.prompt for r in model.asked] == [task.question(4)]
    assert "errored" not in {s.status for *_, s in again.scores()}


def test_a_failure_of_one_draw_keeps_the_others(tmp_path: Path) -> None:
    async def behave(requests: Sequence[Request], attempt: int) -> Reply:
        answers = list(model.reply(requests).responses)
        return Reply([*answers[:-1], Failure("refused")])

    model = FakeServed(behave)
    made = attempt([FakeTask(n=1, evaluate=ask_draws)], model, tmp_path, spec="one")
    assert [(s.status, s.reason) for *_, s in made.scores()] == [("errored", "refused")]
    assert len(journaled(tmp_path)) == 4
    again = FakeServed()
    attempt([FakeTask(n=1, evaluate=ask_draws)], again, tmp_path, spec="two")
    assert [r.repeat for r in again.asked] == [4]  # type: ignore[union-attr]


def test_a_sample_that_gives_up_waiting_is_errored_and_its_answer_is_kept(tmp_path: Path) -> None:
    async def evaluate_hastily(sample: Sample, ask: Ask) -> list[Score]:
        async with asyncio.timeout(0.02):
            await complete(ask, f"slow {sample.id}")
        return [Score("acc", 1.0)]

    async def slow(requests: Sequence[Request], attempt: int) -> None:
        await asyncio.sleep(0.1 if "slow 1" in str(requests[0].prompt) else 0.0)

    task = FakeTask(n=3, evaluate=evaluate_hastily)
    made = attempt([task], FakeServed(slow), tmp_path)
    assert [s.status for *_, s in made.scores()] == ["scored", "errored", "scored"]


def test_a_task_that_ends_the_run_does_so_at_once(tmp_path: Path) -> None:
    async def evaluate_badly(sample: Sample, ask: Ask) -> list[Score]:
        await complete(ask, f"question {sample.id:>3}")
        if sample.id == "5":
            raise UsageError("no sandbox")
        return [Score("acc", 1.0)]

    model = FakeServed(at_random(11), max_connections=2)
    with pytest.raises(UsageError, match="no sandbox"):
        attempt([FakeTask(n=400, evaluate=evaluate_badly)], model, tmp_path)
    assert len(model.called) < 30


def test_a_task_that_breaks_off_while_it_gives_its_samples_ends_the_run(tmp_path: Path) -> None:
    class Broken(FakeTask):
        def samples(self) -> Iterator[Sample]:
            yield from list(super().samples())[:3]
            raise ValueError("broken row")

    with pytest.raises(Exception, match="gave its samples: ValueError: broken row"):
        attempt([Broken(n=9)], FakeServed(), tmp_path)


def test_a_journal_that_refuses_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Journal, "commit", lambda *_: _raise(StorageError("the disk is full")))
    with pytest.raises(StorageError, match="the disk is full"):
        attempt([FakeTask(n=20)], FakeServed(), tmp_path)


def _raise(error: Exception) -> None:
    raise error


# -- budgets ---------------------------------------------------------------------------------


def test_a_budget_keeps_the_samples_that_are_done_and_more_of_it_goes_on(tmp_path: Path) -> None:
    task = FakeTask("task", 60, "generate")
    unbroken = attempt([task], FakeServed(usd=0.5), tmp_path, spec="unbroken")
    (tmp_path / "other").mkdir()
    made, model = Attempt(), FakeServed(at_random(12), usd=0.5, max_connections=4)
    with pytest.raises(BudgetReached):
        attempt([task], model, tmp_path / "other", limits=Limits(requests=20), into=made)
    assert len(model.asked) == len(journaled(tmp_path / "other")) == 20
    assert len(made.results) >= 20  # samples that share their questions end as well
    assert all(s.status in ("scored", "unscored") for *_, s in made.scores())
    more = FakeServed(usd=0.5)
    ended = attempt([task], more, tmp_path / "other", limits=Limits(requests=1000))
    assert not set(model.keys()) & set(more.keys())
    assert ended.scores() == unbroken.scores()
    assert ended.usage == unbroken.usage


def test_answers_of_the_journal_take_nothing_of_a_budget(tmp_path: Path) -> None:
    task = FakeTask("task", 40, "generate")
    attempt([task], FakeServed(), tmp_path, spec="another run")
    made = attempt([task], FakeServed(), tmp_path, limits=Limits(requests=1))
    assert len(made.results) == 40


@pytest.mark.parametrize("limits", [Limits(requests=40), Limits(usd=40.0)])
def test_the_same_command_with_the_same_budget_asks_nothing_more(
    tmp_path: Path, limits: Limits
) -> None:
    """Prompts of neighbours go out by their order, so what is answered lies all over the task."""
    task = FakeTask("task", 400, "generate", theme="a theme")
    first = FakeServed(at_random(13), usd=1.0, max_connections=4)
    with pytest.raises(BudgetReached):
        attempt([task], first, tmp_path, limits=limits)
    assert len(first.asked) == 40
    again = FakeServed(usd=1.0)
    with pytest.raises(BudgetReached):
        attempt([task], again, tmp_path, limits=limits)
    assert len(again.asked) == 0


# -- windows ---------------------------------------------------------------------------------


def most_open(tmp_path: Path, n: int, window: int) -> int:
    """Return how many samples were open at once."""
    opened, most = set[str](), 0

    async def evaluate_slowly(sample: Sample, ask: Ask) -> list[Score]:
        nonlocal most
        opened.add(sample.id)
        most = max(most, len(opened))
        await complete(ask, sample.id)
        opened.remove(sample.id)
        return [Score("acc", 1.0)]

    task = FakeTask(n=n, evaluate=evaluate_slowly)
    made = attempt([task], FakeServed(at_random(14)), tmp_path, window=window)
    assert len(made.results) == n
    return most


@pytest.mark.parametrize("window", [1, 10, 100, 256])
def test_a_window_of_any_size_bounds_the_samples_that_are_open(tmp_path: Path, window: int) -> None:
    assert most_open(tmp_path, 30 if window < 30 else 300, window) <= window


def test_a_slow_sample_holds_up_no_other_and_results_are_in_order(tmp_path: Path) -> None:
    ended = []

    async def slow(requests: Sequence[Request], attempt: int) -> None:
        if requests[0].prompt == "0":
            await asyncio.sleep(0.3)

    async def evaluate_own(sample: Sample, ask: Ask) -> list[Score]:
        await complete(ask, sample.id)
        ended.append(sample.id)
        return [Score("acc", 1.0)]

    made = attempt([FakeTask(n=200, evaluate=evaluate_own)], FakeServed(slow), tmp_path)
    assert ended[-1] == "0"
    assert [r.sample.id for r in made.results] == [str(i) for i in range(200)]


def test_results_are_handed_on_while_the_run_goes_on(tmp_path: Path) -> None:
    handed: list[int] = []
    model = FakeServed(at_random(15), max_connections=8)

    def sink(results: Sequence[Evaluated]) -> None:
        handed.append(len(model.called))

    with Journal(tmp_path / "journal.sqlite") as journal:
        run = journal.begin("spec", "run")
        task = FakeTask(n=600, evaluate=evaluate_in_order)
        evaluate([task], model, journal=journal, run=run, sink=sink, window=100)
    assert len(handed) > 3
    assert handed[0] < len(model.called) / 2


async def evaluate_in_order(sample: Sample, ask: Ask) -> list[Score]:
    """Prompts sort as the samples do, so that these are asked in their order."""
    await complete(ask, f"{sample.id:>6}")
    return [Score("acc", 1.0)]
