"""A run that was stopped, however often and wherever, ends as one that never was."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from llmeval.core import LlmevalError, Request, Task
from tests.support.attempts import Attempt, attempt, journaled
from tests.support.fakes import FakeModel, FakeTask, Kind

kinds: st.SearchStrategy[Kind] = st.sampled_from(["choice", "generate", "steps", "mixed"])


@st.composite
def task_lists(draw: st.DrawFn) -> list[Task]:
    """One to three tasks that may share their questions."""
    return [
        FakeTask(
            f"task {i}",
            draw(st.integers(1, 25), "n"),
            draw(kinds, "kind"),
            theme=draw(st.sampled_from(["one", "two"]), "theme"),
        )
        for i in range(draw(st.integers(1, 3), "tasks"))
    ]


class Stop(LlmevalError):
    """The end of an attempt: no error that the gather would take for the model's."""


@contextmanager
def workspace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


class Dying(FakeModel):
    """Stops the whole run at its k-th batch, as a kill between two commits does."""

    def __init__(self, k: int, batch: int, concurrency: int) -> None:
        super().__init__(batch=batch, before=self._count, concurrency=concurrency)
        self._left = k
        self._lock = threading.Lock()

    def _count(self, requests: Sequence[Request]) -> None:
        with self._lock:
            self._left -= 1
            if self._left < 0:
                raise Stop("stopped")


def run_with_kills(
    tasks: Sequence[Task],
    folder: Path,
    kills: Sequence[int],
    window: int,
    batch: int,
    concurrency: int,
) -> tuple[Attempt, list[tuple[Request, ...]]]:
    """Return the last attempt, and the batches of all attempts in the order begun."""
    batches: list[tuple[Request, ...]] = []
    for k in [*kills, 10**9]:
        model = Dying(k, batch, concurrency)
        kept = journaled(folder)
        made = Attempt()
        try:
            attempt(tasks, model, folder, window=window, into=made)
        except Stop:
            assert len(model.batches) == k
        else:
            return made, batches + model.batches
        finally:  # what was answered before is not asked again
            assert not kept & {model._keyring.key(r) for r in model.asked}
            batches += model.batches
    raise AssertionError("the last attempt was not killed")


@settings(max_examples=40, deadline=None)
@given(
    tasks=task_lists(),
    kills=st.lists(st.integers(0, 6), max_size=5),
    window=st.sampled_from([1, 4, 9, 100]),
    batch=st.sampled_from([1, 3, 8]),
    concurrency=st.sampled_from([1, 1, 2, 5]),
)
def test_kills_change_neither_batches_nor_results_nor_counts(
    tasks: list[Task], kills: list[int], window: int, batch: int, concurrency: int
) -> None:
    """The model's digits depend on the batch, so equal results mean equal batches as well.

    However many are answered at once: the unbroken run answers one at a time.
    """
    with workspace() as one, workspace() as other:
        unbroken, batches = run_with_kills(tasks, one, [], window, batch, 1)
        resumed, pieces = run_with_kills(tasks, other, kills, window, batch, concurrency)
    if concurrency == 1:
        assert pieces == batches
    assert sorted(map(str, pieces)) == sorted(map(str, batches))
    assert resumed.scores() == unbroken.scores()
    assert resumed.exchanges() == unbroken.exchanges()
    assert resumed.usage == unbroken.usage
    assert resumed.tokens == unbroken.tokens
