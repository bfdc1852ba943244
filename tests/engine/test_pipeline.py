"""While the model answers a window, the next one is rendered, begun and prepared; no further."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from llmeval.core import Ask, InvalidResult, Request, Sample, Score, StorageError, UsageError
from llmeval.engine import Evaluated, Journal, evaluate
from tests.support.attempts import Attempt, attempt, journaled
from tests.support.fakes import FakeModel, FakeTask, complete

PATIENCE = 30.0


class Warming(FakeModel):
    """Tells of the questions that it is to warm up for."""

    def __init__(
        self,
        told: Callable[[set[str]], object] = len,
        *,
        before: Callable[[Sequence[Request]], object] | None = None,
        batch: int = 8,
    ) -> None:
        super().__init__(before=before, batch=batch)
        self.prepared: list[str] = []
        self._told = told

    def prepare(self, requests: Sequence[Request]) -> None:
        self.prepared += [str(r.prompt) for r in requests]
        self._told(set(self.prepared))


async def ask_own(sample: Sample, ask: Ask) -> list[Score]:
    """Ask twice; the second question depends on the first answer."""
    text = await complete(ask, f"first {sample.id}")
    await complete(ask, f"second {sample.id} {text}")
    return [Score("acc", 1.0)]


def first(*ids: int) -> set[str]:
    return {f"first {i}" for i in ids}


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("llmeval-")]


def test_the_next_window_is_prepared_while_the_model_answers(tmp_path: Path) -> None:
    """The first answer waits until the second window's questions were prepared."""
    ahead, seen = threading.Event(), []

    def told(prepared: set[str]) -> None:
        if first(4, 5, 6, 7) <= prepared:
            ahead.set()

    def before(requests: Sequence[Request]) -> None:
        seen.append(ahead.wait(PATIENCE))

    model = Warming(told, before=before)
    made = attempt([FakeTask(n=12, evaluate=ask_own)], model, tmp_path, window=4)
    assert all(seen)
    assert len(made.results) == 12
    assert first(*range(12)) <= set(model.prepared)


def test_no_window_is_planned_before_the_one_ahead_of_it_is_done(tmp_path: Path) -> None:
    """Though its questions are known long before."""
    model = Warming(batch=100)
    attempt([FakeTask(n=9, evaluate=ask_own)], model, tmp_path, window=3)
    asked = [{str(r.prompt).split()[1] for r in batch} for batch in model.batches]
    assert asked == [{"0", "1", "2"}] * 2 + [{"3", "4", "5"}] * 2 + [{"6", "7", "8"}] * 2
    words = [{str(r.prompt).split()[0] for r in batch} for batch in model.batches]
    assert words == [{"first"}, {"second"}] * 3


class Rendered(FakeTask):
    """Counts the samples that were rendered; may break at one of them."""

    def __init__(self, n: int, breaks_at: int | None = None) -> None:
        super().__init__("rendered", n, evaluate=ask_own)
        self.count = 0
        self._breaks_at = breaks_at

    def samples(self) -> Iterator[Sample]:
        for sample in super().samples():
            if self.count == self._breaks_at:
                raise ValueError("broken row")
            self.count += 1
            yield sample


def test_only_one_window_is_rendered_ahead(tmp_path: Path) -> None:
    task, done = Rendered(200), 0
    most: list[int] = []

    def before(requests: Sequence[Request]) -> None:
        most.append(task.count - done)

    def sink(results: Sequence[Evaluated]) -> None:
        nonlocal done
        most.append(task.count - done)
        done += len(results)

    with Journal(tmp_path / "journal.sqlite") as journal:
        run = journal.begin("spec", "run")
        model = FakeModel(before=before)
        evaluate([task], model, journal=journal, run=run, sink=sink, window=10)
    assert done == 200
    assert max(most) <= 20


def test_rendering_that_breaks_takes_no_answers_of_the_window_before(tmp_path: Path) -> None:
    """The second window breaks off before the model has answered the first one's questions."""
    broken = threading.Event()

    class Breaking(Rendered):
        def samples(self) -> Iterator[Sample]:
            try:
                yield from super().samples()
            finally:
                broken.set()

    model = FakeModel(before=lambda requests: broken.wait(PATIENCE) or pytest.fail("not ahead"))
    made = Attempt()
    with pytest.raises(InvalidResult, match="gave its samples: ValueError: broken row"):
        attempt([Breaking(20, breaks_at=7)], model, tmp_path, window=5, into=made)
    assert [r.sample.id for r in made.results] == list("01234")
    assert [s.status for *_, s in made.scores()] == ["scored"] * 5
    assert len(journaled(tmp_path)) == 10
    assert threads() == []


def test_a_sample_that_ends_the_run_waits_for_its_windows_turn(tmp_path: Path) -> None:
    async def evaluate(sample: Sample, ask: Ask) -> list[Score]:
        if sample.id == "6":
            refused.set()
            raise UsageError("no sandbox")
        return await ask_own(sample, ask)

    refused, made = threading.Event(), Attempt()
    model = FakeModel(before=lambda requests: refused.wait(PATIENCE) or pytest.fail("not ahead"))
    with pytest.raises(UsageError, match="no sandbox"):
        attempt([FakeTask(n=20, evaluate=evaluate)], model, tmp_path, window=5, into=made)
    assert [r.sample.id for r in made.results] == list("01234")


def test_what_the_journal_has_needs_no_preparation(tmp_path: Path) -> None:
    task = FakeTask(n=30, evaluate=ask_own)
    attempt([task], FakeModel(), tmp_path, spec="first", window=10)
    model = Warming()
    attempt([task], model, tmp_path, spec="second", window=10)
    assert model.prepared == []
    assert model.asked == []


def test_a_preparation_that_fails_ends_the_run(tmp_path: Path) -> None:
    def told(prepared: set[str]) -> None:
        if "first 7" in prepared:
            raise StorageError("no room for tokens")

    made = Attempt()
    with pytest.raises(StorageError, match="no room for tokens"):
        task = FakeTask(n=20, evaluate=ask_own)
        attempt([task], Warming(told), tmp_path, window=5, into=made)
    assert [r.sample.id for r in made.results] == list("01234")
    assert threads() == []


@pytest.mark.parametrize("where", ["answer", "prepare", "render"])
def test_an_interrupt_leaves_no_thread_and_the_same_command_goes_on(
    tmp_path: Path, where: str
) -> None:
    """At a moment when all three threads have been at work."""
    task = FakeTask(n=300, evaluate=ask_own)

    class Interrupting(FakeTask):
        def samples(self) -> Iterator[Sample]:
            for sample in super().samples():
                if where == "render" and sample.id == "130":
                    interrupt()
                yield sample

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def told(prepared: set[str]) -> None:
        if where == "prepare" and "first 170" in prepared:
            interrupt()

    def before(requests: Sequence[Request]) -> None:
        if where == "answer" and len(model.batches) == 20:
            interrupt()

    model, made = Warming(told, before=before), Attempt()
    interrupted = Interrupting(n=300, evaluate=ask_own)
    with pytest.raises(KeyboardInterrupt):
        attempt([interrupted], model, tmp_path, window=100, into=made)
    assert threads() == []
    assert len(made.results) in (0, 100)
    kept = journaled(tmp_path)
    again = FakeModel()
    resumed = attempt([task], again, tmp_path, window=100)
    assert not kept & {again._keyring.key(r) for r in again.asked}
    (tmp_path / "unbroken").mkdir()
    unbroken = attempt([task], FakeModel(), tmp_path / "unbroken", window=100)
    assert resumed.scores() == unbroken.scores()
    assert resumed.exchanges() == unbroken.exchanges()


def test_the_loop_stays_free_while_a_sample_is_rendered(tmp_path: Path) -> None:
    """A row that is slow to render holds up no sample of the window that is being answered."""
    finished, waited = threading.Event(), []

    class Slow(FakeTask):
        def samples(self) -> Iterator[Sample]:
            for sample in super().samples():
                if sample.id == "5":
                    waited.append(finished.wait(PATIENCE))
                yield sample

    async def evaluate(sample: Sample, ask: Ask) -> list[Score]:
        scores = await ask_own(sample, ask)
        await asyncio.sleep(0)
        if sample.id == "4":
            finished.set()
        return scores

    attempt([Slow(n=10, evaluate=evaluate)], FakeModel(), tmp_path, window=5)
    assert waited == [True]
