"""Asks of one moment are looked up together, answers of one moment are journaled together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from llmeval.core import (
    Ask,
    Failure,
    GenerateRequest,
    Generation,
    Reply,
    Request,
    StorageError,
)
from llmeval.engine import Journal, Usage
from llmeval.engine.budget import Budget, Limits
from llmeval.engine.serving.asking import Asking
from llmeval.engine.serving.dispatch import Dispatcher
from llmeval.engine.verdicts import NoAnswer
from tests.engine.serving.support import FakeServed, after

T = TypeVar("T")


class Watched(Journal):
    """Counts what is asked of it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.looked_up: list[int] = []
        self.committed: list[int] = []

    def lookup(self, keys: Sequence[bytes]) -> Any:
        self.looked_up.append(len(keys))
        return super().lookup(keys)

    def commit(self, run: Any, answers: Any, *counts: int) -> Any:
        self.committed.append(len(answers))
        return super().commit(run, answers, *counts)


class Room:
    """An asking with all that it stands on."""

    def __init__(self, journal: Watched, model: FakeServed, run: Any) -> None:
        self.usage, self.budget = Usage(), Budget(Limits(requests=1000))
        self.dispatcher = Dispatcher(model, self.budget)
        self.asking = Asking(model, journal, run, self.usage, self.dispatcher, self.budget)

    def ask(self, number: int = 0) -> Ask:
        return self.asking.let_in(number, [])


def inside(folder: Path, model: FakeServed, job: Callable[[Room, Watched], Awaitable[T]]) -> T:
    async def main() -> T:
        with Watched(folder / "journal.sqlite") as journal:
            unfinished = journal.unfinished("spec")
            run = unfinished[0] if unfinished else journal.begin("spec", "run")
            room = Room(journal, model, run)
            try:
                return await job(room, journal)
            finally:
                await room.dispatcher.close()
                room.asking.close()

    return asyncio.run(main())


def questions(n: int) -> list[GenerateRequest]:
    return [GenerateRequest(f"question {i}") for i in range(n)]


def test_asks_of_one_moment_are_one_look_up_and_their_answers_one_transaction(
    tmp_path: Path,
) -> None:
    async def job(room: Room, journal: Watched) -> tuple[list[int], list[int]]:
        asks = [room.ask(i)([q]) for i, q in enumerate(questions(16))]
        await asyncio.gather(*asks)
        return journal.looked_up, journal.committed

    looked_up, committed = inside(tmp_path, FakeServed(), job)
    assert looked_up == [16]
    assert committed == [16]


def test_an_answer_waits_for_no_others_longer_than_a_moment(tmp_path: Path) -> None:
    async def behave(requests: Sequence[Request], attempt: int) -> None:
        await asyncio.sleep(0.0 if requests[0].prompt == "question 0" else 5.0)

    async def job(room: Room, journal: Watched) -> bool:
        slow = asyncio.ensure_future(room.ask(1)(questions(2)[1:]))
        async with asyncio.timeout(1.0):
            await room.ask(0)(questions(1))
        waits = not slow.done()
        slow.cancel()
        return waits

    assert inside(tmp_path, FakeServed(behave), job)


def test_what_a_question_and_its_answer_are_is_noted(tmp_path: Path) -> None:
    async def job(room: Room, journal: Watched) -> None:
        exchanges: list[tuple[Request, Any]] = []
        answers = await room.asking.let_in(0, exchanges)(questions(3))
        assert exchanges == list(zip(questions(3), answers, strict=True))

    inside(tmp_path, FakeServed(), job)


def test_an_ask_with_a_question_without_an_answer_raises_and_notes_all(tmp_path: Path) -> None:
    async def behave(requests: Sequence[Request], attempt: int) -> Reply | None:
        return Reply([Failure("no")]) if requests[0].prompt == "question 1" else None

    async def job(room: Room, journal: Watched) -> None:
        exchanges: list[tuple[Request, Any]] = []
        with pytest.raises(NoAnswer, match="no"):
            await room.asking.let_in(0, exchanges)(questions(3))
        assert [type(answer) for _, answer in exchanges] == [Generation, Failure, Generation]
        assert journal.count() == 2

    inside(tmp_path, FakeServed(behave), job)


def test_a_question_without_an_answer_may_be_asked_again(tmp_path: Path) -> None:
    async def behave(requests: Sequence[Request], attempt: int) -> Reply | None:
        return None if attempt else Reply([Failure("no")])

    async def job(room: Room, journal: Watched) -> Usage:
        with pytest.raises(NoAnswer):
            await room.ask()(questions(1))
        await room.ask()(questions(1))
        return room.usage

    usage = inside(tmp_path, FakeServed(behave), job)
    assert (usage.requests, usage.cached, usage.prompt_tokens) == (2, 0, 7)


def test_an_answer_that_came_while_the_run_ended_is_journaled(tmp_path: Path) -> None:
    async def job(room: Room, journal: Watched) -> None:
        asked = asyncio.ensure_future(room.ask()(questions(1)))
        while not room.asking._arrived:
            await asyncio.sleep(0)
        assert journal.count() == 0
        asked.cancel()

    inside(tmp_path, FakeServed(), job)
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert journal.count() == 1


def test_what_another_run_journaled_meanwhile_is_the_answer(tmp_path: Path) -> None:
    """Two runs asked the same: both go on with the answer that came first."""
    model = FakeServed(after(0.05))
    (question,) = questions(1)
    theirs = Generation("theirs", prompt_tokens=1)

    async def job(room: Room, journal: Watched) -> Any:
        asked = asyncio.ensure_future(room.ask()([question]))
        await asyncio.sleep(0.01)
        other = journal.begin("another", "another run")
        Journal.commit(journal, other, {model.key(question): theirs}, 0)
        return await asked

    assert inside(tmp_path, model, job) == [theirs]


def test_a_run_that_goes_on_counts_its_own_answers_and_no_others(tmp_path: Path) -> None:
    async def first(room: Room, journal: Watched) -> Usage:
        await room.ask()(questions(4))
        return room.usage

    async def again(room: Room, journal: Watched) -> Room:
        await room.ask()(questions(4))
        return room

    before = inside(tmp_path, FakeServed(usd=0.5), first)
    model = FakeServed(usd=0.5)
    room = inside(tmp_path, model, again)
    assert model.called == []
    assert room.usage == before
    assert room.usage.usd == 2.0
    assert (room.budget.requests, room.budget.usd) == (4, 2.0)


@pytest.mark.parametrize("verb", ["lookup", "commit"])
def test_a_journal_that_refuses_ends_the_run_and_not_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(Watched, verb, refuse)

    async def job(room: Room, journal: Watched) -> None:
        asked = asyncio.ensure_future(room.ask()(questions(1)))
        with pytest.raises(StorageError, match="the disk is full"):
            async with asyncio.timeout(5.0):
                await room.dispatcher.ended
        assert not asked.done()  # nobody has an answer that is not journaled
        asked.cancel()

    inside(tmp_path, FakeServed(), job)


def test_an_adapter_that_gives_too_few_answers_ends_the_run(tmp_path: Path) -> None:
    async def behave(requests: Sequence[Request], attempt: int) -> Reply:
        return Reply([])

    async def job(room: Room, journal: Watched) -> None:
        asked = asyncio.ensure_future(room.ask()(questions(1)))
        with pytest.raises(ValueError):
            async with asyncio.timeout(5.0):
                await room.dispatcher.ended
        asked.cancel()

    inside(tmp_path, FakeServed(behave), job)
