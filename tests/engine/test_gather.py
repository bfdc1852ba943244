"""Questions of many samples are answered together, each once, in the order asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llmeval.core import (
    Answers,
    Ask,
    Failure,
    GenerateRequest,
    Generation,
    InvalidResult,
    Loglikelihood,
    LoglikelihoodRequest,
    Request,
    Response,
    Sample,
    Score,
    UsageError,
)
from llmeval.engine import Journal
from llmeval.engine.journal import Keyring, TokenCounts
from tests.support.attempts import Attempt, attempt, journaled
from tests.support.fakes import FakeModel, FakeTask, complete


def statuses(made: Attempt) -> dict[str, str]:
    return {sample: score.status for _, sample, score in made.scores()}


def reasons(made: Attempt) -> dict[str, str]:
    return {sample: score.reason for _, sample, score in made.scores() if score.reason}


def fake_text(prompt: str) -> str:
    reply = FakeModel().reply(GenerateRequest(prompt))
    assert isinstance(reply, Generation)
    return reply.text


# -- once, together, in order --------------------------------------------------------------------


def test_a_question_is_asked_once_within_and_across_tasks_and_windows(tmp_path: Path) -> None:
    model = FakeModel()
    tasks = [FakeTask("one", 30), FakeTask("two", 30)]  # one theme: they share all questions
    made = attempt(tasks, model, tmp_path, window=7)
    questions = {FakeTask().question(i) for i in range(30)}
    assert len(model.asked) == len(set(model.asked)) == 4 * len(questions)
    assert made.usage is not None
    assert made.usage.requests == 2 * 30 * 4
    assert made.usage.cached == 2 * 30 * 4 - 4 * len(questions)
    assert made.usage.prompt_tokens == 5 * 4 * len(questions)


def test_another_run_asks_nothing_again(tmp_path: Path) -> None:
    first = attempt([FakeTask(n=20)], FakeModel(), tmp_path, spec="first")
    model = FakeModel()
    second = attempt([FakeTask(n=20)], model, tmp_path, spec="second")
    assert model.asked == []
    assert second.scores() == first.scores()
    assert second.exchanges() == first.exchanges()
    assert second.usage is not None
    assert second.usage.cached == second.usage.requests == 80
    assert second.usage.prompt_tokens == 0
    assert second.tokens == TokenCounts(computed=0, distinct=0)


def test_another_model_is_asked_anew(tmp_path: Path) -> None:
    attempt([FakeTask(n=5)], FakeModel(), tmp_path, spec="first")
    model = FakeModel("another")
    attempt([FakeTask(n=5)], model, tmp_path, spec="second")
    assert len(model.asked) == len(set(model.asked)) > 0


def test_answers_come_in_the_order_asked(tmp_path: Path) -> None:
    """Though the model plans by length, and a question stands twice in one ask."""
    seen: list[list[str]] = []

    async def evaluate(sample: Sample, ask: Ask) -> list[Score]:
        prompts = ["medium", "a very long prompt", "s", "medium", f"own {sample.id}", "s"]
        answers = await ask([GenerateRequest(p) for p in prompts])
        assert [a.text for a in answers if isinstance(a, Generation)] == [
            fake_text(p) for p in prompts
        ]
        seen.append(prompts)
        return [Score("acc", 1.0)]

    made = attempt([FakeTask(n=5, evaluate=evaluate)], FakeModel(batch=2), tmp_path)
    assert len(seen) == 5
    assert set(statuses(made).values()) == {"scored"}
    assert [r.sample.id for r in made.results] == list("01234")


def test_an_ask_of_nothing_gets_nothing(tmp_path: Path) -> None:
    async def evaluate(sample: Sample, ask: Ask) -> list[Score]:
        assert await ask([]) == []
        return [Score("acc", 1.0)]

    made = attempt([FakeTask(n=3, evaluate=evaluate)], FakeModel(), tmp_path)
    assert set(statuses(made).values()) == {"scored"}
    assert made.usage is not None
    assert made.usage.requests == 0


def test_steps_of_all_samples_are_answered_together(tmp_path: Path) -> None:
    """Ten samples of three steps each in three batches, not thirty."""

    async def evaluate(sample: Sample, ask: Ask) -> list[Score]:
        text = sample.id
        for _ in range(3):
            text = await complete(ask, f"{sample.id}: {text}")
        return [Score("acc", 1.0)]

    model = FakeModel(batch=100)
    attempt([FakeTask(n=10, evaluate=evaluate)], model, tmp_path)
    assert [len(batch) for batch in model.batches] == [10, 10, 10]


def test_concurrent_asks_of_one_sample_are_answered_together(tmp_path: Path) -> None:
    async def evaluate(sample: Sample, ask: Ask) -> list[Score]:
        texts = await asyncio.gather(*(complete(ask, f"{sample.id} {i}") for i in range(5)))
        assert texts == [fake_text(f"{sample.id} {i}") for i in range(5)]
        return [Score("acc", 1.0)]

    model = FakeModel(batch=100)
    made = attempt([FakeTask(n=4, evaluate=evaluate)], model, tmp_path)
    assert [len(batch) for batch in model.batches] == [20]
    assert set(statuses(made).values()) == {"scored"}


def test_samples_that_ask_different_numbers_of_times_do_not_wait_forever(tmp_path: Path) -> None:
    async def evaluate(sample: Sample, ask: Ask) -> list[Score]:
        for step in range(int(sample.id)):
            await complete(ask, f"{sample.id} {step}")
            await asyncio.sleep(0.001)
        return [Score("acc", 1.0)]

    model = FakeModel(batch=100)
    made = attempt([FakeTask(n=6, evaluate=evaluate)], model, tmp_path)
    assert len(made.results) == 6
    assert [len(batch) for batch in model.batches] == [5, 4, 3, 2, 1]


def test_batches_do_not_depend_on_who_asks_first(tmp_path: Path) -> None:
    """A sandbox may hold one sample longer than another; equal batches give equal numbers."""

    def make(slow: Sequence[str]) -> Any:
        async def evaluate(sample: Sample, ask: Ask) -> list[Score]:
            first = await complete(ask, f"first {sample.id}")
            await asyncio.sleep(0.02 if sample.id in slow else 0)
            await complete(ask, f"then {sample.id} {first}")
            return [Score("acc", 1.0)]

        return evaluate

    plans = []
    for name, slow in (("a", "05"), ("b", "137")):
        model = FakeModel(batch=3)
        (tmp_path / name).mkdir()
        attempt([FakeTask(n=9, evaluate=make(slow))], model, tmp_path / name)
        plans.append(model.batches)
    assert plans[0] == plans[1]


def test_a_sample_may_give_up_waiting(tmp_path: Path) -> None:
    """The others are still answered together afterwards, and nothing hangs."""

    async def evaluate(sample: Sample, ask: Ask) -> list[Score]:
        if sample.id == "0":
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(complete(ask, "given up"), timeout=0.02)
        await asyncio.sleep(0.2)
        await complete(ask, f"first {sample.id}")
        await complete(ask, f"second {sample.id}")
        return [Score("acc", 1.0)]

    model = FakeModel(batch=100)
    made = attempt([FakeTask(n=4, evaluate=evaluate)], model, tmp_path)
    assert set(statuses(made).values()) == {"scored"}
    assert [len(batch) for batch in model.batches] == [4, 4]


def test_asks_that_a_failed_sample_left_behind_hold_nobody_up(tmp_path: Path) -> None:
    async def evaluate(sample: Sample, ask: Ask) -> list[Score]:
        async def chain(word: str) -> None:
            for i in range(4):
                await complete(ask, f"{word} {sample.id} {i}")

        await asyncio.gather(chain("poison" if sample.id == "1" else "good"), chain("well"))
        return [Score("acc", 1.0)]

    model = FakeModel(batch=1, before=refuse("poison"))
    made = attempt([FakeTask(n=4, evaluate=evaluate)], model, tmp_path)
    assert statuses(made) == {"0": "scored", "1": "errored", "2": "scored", "3": "scored"}
    assert sum("well 1" in str(r.prompt) for r in model.asked) <= 1


def test_what_a_failed_sample_left_running_does_not_speak_for_a_later_one(tmp_path: Path) -> None:
    """Samples are numbered within a window; here each is a window of its own."""

    async def evaluate(sample: Sample, ask: Ask) -> list[Score]:
        async def linger() -> None:
            await asyncio.sleep(0.05)
            await complete(ask, "lingering")

        if sample.id == "0":
            left.append(asyncio.create_task(linger()))
            raise ValueError("broken row")
        await asyncio.sleep(0.1)
        await complete(ask, "question")
        return [Score("acc", 1.0)]

    left: list[asyncio.Task[None]] = []
    model = FakeModel()
    made = attempt([FakeTask(n=2, evaluate=evaluate)], model, tmp_path, window=1)
    assert statuses(made) == {"0": "errored", "1": "scored"}
    assert [str(r.prompt) for r in model.asked] == ["question"]
    assert left[0].cancelled()


def test_the_answer_that_another_run_gave_first_is_the_one_that_counts(tmp_path: Path) -> None:
    def overtake(requests: Sequence[Request]) -> None:
        with Journal(tmp_path / "journal.sqlite") as journal:
            other = journal.begin("other", "other")
            ring = Keyring(FakeModel().fingerprint)
            keys = [ring.key(r) for r in requests if r.prompt == "good 1"]
            journal.commit(other, dict.fromkeys(keys, Generation("the first answer")), 1)

    task = FakeTask(n=3, evaluate=ask_word)
    made = attempt([task], FakeModel(before=overtake), tmp_path)
    texts = {r.sample.id: [a.text for _, a in r.exchanges] for r in made.results}  # type: ignore[union-attr]
    own = {i: [fake_text(f"good {i}")] for i in "02"}
    assert texts == {**own, "1": ["the first answer"]}


# -- several batches at once ---------------------------------------------------------------------


def test_as_many_batches_are_answered_at_once_as_the_model_takes(tmp_path: Path) -> None:
    """Three meet at a barrier, which two would not pass; a fourth at once would be seen."""
    barrier, lock = threading.Barrier(3), threading.Lock()
    now, most = 0, 0

    def before(requests: Sequence[Request]) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        barrier.wait(timeout=30)
        with lock:
            now -= 1

    model = FakeModel(batch=4, before=before, concurrency=3)
    made = attempt([FakeTask(n=48, evaluate=ask_once)], model, tmp_path)
    assert most == 3
    assert len(model.batches) == 12
    assert set(statuses(made).values()) == {"scored"}


async def ask_once(sample: Sample, ask: Ask) -> list[Score]:
    await complete(ask, f"question {sample.id:>3}")
    return [Score("acc", 1.0)]


def test_the_model_has_its_next_batch_while_the_last_one_is_journaled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing the first batch ends only when the second one has begun."""
    begun, seen, commit = threading.Event(), list[bool](), Journal.commit

    def before(requests: Sequence[Request]) -> None:
        if len(model.batches) == 1:
            begun.set()

    def slow_commit(*arguments: Any) -> Any:
        seen.append(begun.wait(30))
        return commit(*arguments)

    monkeypatch.setattr(Journal, "commit", slow_commit)
    model = FakeModel(batch=1, before=before)
    attempt([FakeTask(n=3, evaluate=ask_once)], model, tmp_path)
    assert seen == [True] * 3


def test_samples_go_on_in_the_order_planned_whatever_batch_is_ready_first(tmp_path: Path) -> None:
    """The first batch waits for the last one; what is journaled by then is not yet told."""
    last, order = threading.Event(), list[str]()

    def before(requests: Sequence[Request]) -> None:
        if requests[0].prompt == "question   0":
            assert last.wait(30)
        if requests[0].prompt == "question   3":
            last.set()

    async def evaluate(sample: Sample, ask: Ask) -> list[Score]:
        await ask_once(sample, ask)
        order.append(sample.id)
        return [Score("acc", 1.0)]

    model = FakeModel(batch=1, before=before, concurrency=2)
    attempt([FakeTask(n=4, evaluate=evaluate)], model, tmp_path)
    assert order == list("0123")


def test_what_other_threads_are_at_when_one_breaks_is_journaled(tmp_path: Path) -> None:
    both, broken = threading.Barrier(2), threading.Event()

    def before(requests: Sequence[Request]) -> None:
        both.wait(30)
        if "0" in str(requests[0].prompt):
            broken.set()
            raise UsageError("no")
        assert broken.wait(30)

    model = FakeModel(batch=1, before=before, concurrency=2)
    with pytest.raises(UsageError):
        attempt([FakeTask(n=2, evaluate=ask_once)], model, tmp_path)
    ring = Keyring(model.fingerprint)
    assert journaled(tmp_path) == {ring.key(GenerateRequest("question   1"))}


# -- what the model cannot answer ----------------------------------------------------------------


def refuse(word: str) -> Any:
    """Return a ``before`` that breaks on any batch with ``word`` in it."""

    def before(requests: Sequence[Request]) -> None:
        if any(word in str(r.prompt) for r in requests):
            raise RuntimeError(f"CUDA error: {word}\nand a long traceback")

    return before


async def ask_word(sample: Sample, ask: Ask) -> list[Score]:
    await complete(ask, f"poison {sample.id}" if int(sample.id) % 10 == 3 else f"good {sample.id}")
    return [Score("acc", 1.0)]


def test_only_the_question_that_breaks_the_model_is_errored(tmp_path: Path) -> None:
    task = FakeTask(n=30, evaluate=ask_word)
    made = attempt([task], FakeModel(batch=16, before=refuse("poison")), tmp_path)
    assert {i for i, status in statuses(made).items() if status == "errored"} == {"3", "13", "23"}
    assert set(reasons(made).values()) == {"RuntimeError: CUDA error: poison"}
    assert len(journaled(tmp_path)) == 27


def test_a_question_without_an_answer_is_asked_again_next_time(tmp_path: Path) -> None:
    task = FakeTask(n=30, evaluate=ask_word)
    attempt([task], FakeModel(before=refuse("poison")), tmp_path, spec="first")
    mended = FakeModel()
    made = attempt([task], mended, tmp_path, spec="second")
    assert {str(r.prompt) for r in mended.asked} == {"poison 3", "poison 13", "poison 23"}
    assert set(statuses(made).values()) == {"scored"}


def test_twenty_failures_in_a_row_end_the_run_and_keep_the_answers(tmp_path: Path) -> None:
    """A model that broke for good must not turn 14,000 samples into errors."""
    calls: list[int] = []

    def break_for_good(requests: Sequence[Request]) -> None:
        calls.append(len(requests))
        if len(calls) > 2:
            raise RuntimeError("the device fell off the bus")

    task = FakeTask(n=200, evaluate=ask_word)
    with pytest.raises(InvalidResult) as error:
        attempt([task], FakeModel(before=break_for_good), tmp_path)
    assert "20 times in a row" in str(error.value)
    assert "fell off the bus" in str(error.value)
    assert error.value.exit_code == 4
    assert len(journaled(tmp_path)) == 16
    assert len(calls) < 60
    model = FakeModel()
    assert len(attempt([task], model, tmp_path).results) == 200
    assert len(model.asked) == 184


def test_failures_with_successes_between_do_not_end_the_run(tmp_path: Path) -> None:
    async def evaluate(sample: Sample, ask: Ask) -> list[Score]:
        number = int(sample.id)
        word = "harm" if number % 10 == 3 else "good"  # equally long: the model keeps the order
        await complete(ask, f"{word} {number:03}")
        return [Score("acc", 1.0)]

    task = FakeTask(n=300, evaluate=evaluate)
    made = attempt([task], FakeModel(batch=4, before=refuse("harm")), tmp_path)
    assert list(statuses(made).values()).count("errored") == 30


class Answering(FakeModel):
    """A model whose answers to a batch a test makes up."""

    def __init__(self, make: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self._make = make

    def answer(self, requests: Sequence[Request]) -> Answers:
        return Answers(self._make(requests, super().answer(requests).responses))


def test_a_model_that_gives_too_few_answers_is_asked_one_by_one(tmp_path: Path) -> None:
    def lose_one(requests: Sequence[Request], responses: Sequence[Response]) -> list[Response]:
        return list(responses) if len(requests) == 1 else list(responses)[:-1]

    made = attempt([FakeTask(n=8, evaluate=ask_word)], Answering(lose_one), tmp_path)
    assert set(statuses(made).values()) == {"scored"}


def test_a_model_that_never_gives_the_right_number_of_answers(tmp_path: Path) -> None:
    def lose_all(requests: Sequence[Request], responses: Sequence[Response]) -> list[Response]:
        return []

    made = attempt([FakeTask(n=8, evaluate=ask_word)], Answering(lose_all), tmp_path)
    assert set(reasons(made).values()) == {"RuntimeError: the model gave 0 answers to 1 questions"}


def test_a_failure_says_why_and_is_not_journaled(tmp_path: Path) -> None:
    def fail_some(requests: Sequence[Request], responses: Sequence[Response]) -> list[Response]:
        return [
            Failure("filtered") if "poison" in str(q.prompt) else r
            for q, r in zip(requests, responses, strict=True)
        ]

    task = FakeTask(n=20, evaluate=ask_word)
    made = attempt([task], Answering(fail_some), tmp_path, spec="first")
    assert reasons(made) == {"3": "filtered", "13": "filtered"}
    assert len(journaled(tmp_path)) == 18
    failed = next(r for r in made.results if r.sample.id == "3")
    assert [response for _, response in failed.exchanges] == [Failure("filtered")]
    model = FakeModel()
    attempt([task], model, tmp_path, spec="second")
    assert [str(r.prompt) for r in model.asked] == ["poison 13", "poison 3"]


def test_a_failed_question_asked_again_is_no_cached_one(tmp_path: Path) -> None:
    async def insist(sample: Sample, ask: Ask) -> list[Score]:
        for _ in range(2):
            try:
                await complete(ask, "poison")
            except Exception as error:
                last = str(error)
        return [Score("acc", None, "unscored", last)]

    model = FakeModel(before=refuse("poison"))
    made = attempt([FakeTask(n=1, evaluate=insist)], model, tmp_path)
    assert made.usage is not None
    assert (made.usage.requests, made.usage.cached) == (2, 0)


def test_an_error_with_a_mend_ends_the_run(tmp_path: Path) -> None:
    def before(requests: Sequence[Request]) -> None:
        if len(model.batches) == 2:
            raise UsageError("the model cannot generate", where="fake", mend="use another")

    model = FakeModel(batch=4, before=before)
    with pytest.raises(UsageError, match="the model cannot generate"):
        attempt([FakeTask(n=20, evaluate=ask_word)], model, tmp_path)
    assert len(journaled(tmp_path)) == 8


@pytest.mark.parametrize("plan", [[[0, 1]], [[0, 1, 2, 2]], [[0], [1], [1]], [[0, 1, 3]], []])
def test_a_plan_that_forgets_a_question_is_refused_rather_than_waited_for(
    tmp_path: Path, plan: list[list[int]]
) -> None:
    model = FakeModel()
    model.plan = lambda requests: plan  # type: ignore[method-assign]
    with pytest.raises(InvalidResult, match="plan does not hold every question once"):
        attempt([FakeTask(n=4, kind="generate")], model, tmp_path)  # three questions


def test_a_model_error_names_no_answer_twice(tmp_path: Path) -> None:
    """Each question reaches the model's batch at most log2(batch) + 1 times, however it breaks."""
    calls: list[int] = []

    def before(requests: Sequence[Request]) -> None:
        calls.append(len(requests))
        refuse("poison")(requests)

    attempt([FakeTask(n=10, evaluate=ask_word)], FakeModel(batch=16, before=before), tmp_path)
    assert sum(calls) <= 10 * 5


def test_impossible_answers_are_the_same_on_replay(tmp_path: Path) -> None:
    """A log-probability of minus infinity is an answer."""

    def impossible(requests: Sequence[Request], _: Sequence[Response]) -> list[Response]:
        return [Loglikelihood(float("-inf"), False, 1) for _ in requests]

    async def evaluate(sample: Sample, ask: Ask) -> list[Score]:
        (answer,) = await ask([LoglikelihoodRequest("a", "b")])
        assert isinstance(answer, Loglikelihood)
        return [Score("acc", float(answer.logprob < -1e300))]

    task = FakeTask(n=1, evaluate=evaluate)
    first = attempt([task], Answering(impossible), tmp_path, spec="first")
    second = attempt([task], Answering(impossible), tmp_path, spec="second")
    assert first.scores() == second.scores()
    assert statuses(first) == {"0": "scored"}
