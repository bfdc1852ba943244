"""Evaluate tasks on a served model: samples flow, none waits for another.

Samples are opened in order, up to a window of them at once, and run concurrently. What ends early
waits on the shelf, so that results leave in order.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from llmeval.core import LlmevalError, Request, Response, Sample, ServedModel, Task
from llmeval.engine.budget import Budget
from llmeval.engine.journal import Journal, JournaledRun
from llmeval.engine.progress import Progress
from llmeval.engine.serving.asking import Asking
from llmeval.engine.serving.dispatch import Dispatcher
from llmeval.engine.serving.shelf import Shelf
from llmeval.engine.usage import Usage
from llmeval.engine.verdicts import Evaluated, score
from llmeval.engine.windows import Renderer, WindowCutter

Sink = Callable[[Sequence[Evaluated]], None]
T = TypeVar("T")

_TOGETHER = 64  # results handed on at once: answers come in meanwhile
_MOMENT = 0.02  # seconds


def evaluate_served(
    tasks: Sequence[Task],
    model: ServedModel,
    *,
    journal: Journal,
    run: JournaledRun,
    sink: Sink,
    progress: Progress,
    usage: Usage,
    budget: Budget,
    window: int,
    traffic: dict[str, object],
) -> None:
    """Evaluate every sample; see :func:`llmeval.engine.evaluate`.

    Args:
        window: samples that are open at once.
        traffic: gets what went over the wire.
    """
    shelf = Shelf({task.name: task for task in tasks}, _folder_of(journal))
    renderer = Renderer(WindowCutter(tasks, sys.maxsize, sys.maxsize))
    pipeline = _Pipeline(shelf, renderer, sink, progress, window)
    try:
        asyncio.run(pipeline.run(model, journal, run, usage, budget, traffic))
    finally:
        renderer.close()
        shelf.close()


def _folder_of(journal: Journal) -> Path:
    return journal.path.parent


class _Pipeline:
    def __init__(
        self, shelf: Shelf, renderer: Renderer, sink: Sink, progress: Progress, window: int
    ) -> None:
        self._shelf = shelf
        self._renderer = renderer
        self._sink = sink
        self._progress = progress
        self._window = window
        self._open: set[asyncio.Task[None]] = set()
        self._ready: list[Evaluated] = []
        self._number = 0

    async def run(
        self,
        model: ServedModel,
        journal: Journal,
        run: JournaledRun,
        usage: Usage,
        budget: Budget,
        traffic: dict[str, object],
    ) -> None:
        dispatcher = Dispatcher(model, budget)
        asking = Asking(model, journal, run, usage, dispatcher, budget)
        try:
            await self._flow(asking, dispatcher)
        except (LlmevalError, asyncio.CancelledError):
            dispatcher.halt()
            asking.close()
            await asyncio.sleep(0.01)  # samples that have all their answers now end
            self._hand_on_all()
            raise
        finally:
            await self._abandon()
            await dispatcher.close()
            asking.close()
            usage.model_seconds = dispatcher.busy_seconds
            traffic.update(dispatcher.describe())
            await model.hang_up()

    async def _abandon(self) -> None:
        for job in self._open:
            job.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _flow(self, asking: Asking, dispatcher: Dispatcher) -> None:
        """Open samples while there are any, and see them through."""
        self._renderer.open()
        while True:
            while len(self._open) >= self._window:
                await self._wait(dispatcher)
            room = self._window - len(self._open)
            items = await self._until(self._renderer.take(room), dispatcher)
            if not items:
                break
            for task, sample in items:
                self._start(asking, dispatcher, task, sample)
            self._hand_on()
        while self._open:
            await self._wait(dispatcher)
        self._hand_on_all()

    def _start(self, asking: Asking, dispatcher: Dispatcher, task: Task, sample: Sample) -> None:
        number, exchanges = self._number, list[tuple[Request, Response]]()
        self._number += 1
        ask = asking.let_in(number, exchanges)

        async def judge() -> None:
            try:
                scores = await score(task, sample, ask)
                self._shelf.put(number, Evaluated(task, sample, exchanges, scores))
            except Exception as error:
                dispatcher.fail(error)
            else:
                self._progress.advance(task.name)

        job = asyncio.create_task(judge())
        self._open.add(job)
        job.add_done_callback(self._open.discard)

    async def _wait(self, dispatcher: Dispatcher) -> None:
        """Let samples go on for a moment, then hand on what is in order.

        A moment rather than the end of the next one: at a thousand samples a second, waking for
        each of them costs more than they do.
        """
        await self._until(asyncio.sleep(_MOMENT), dispatcher)
        self._hand_on()

    @staticmethod
    async def _until(step: Coroutine[Any, Any, T], dispatcher: Dispatcher) -> T:
        """Return what a step gives; raise what ends the run as soon as it does."""
        job = asyncio.ensure_future(step)
        try:
            either: set[asyncio.Future[Any]] = {job, dispatcher.ended}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not job.done():
                job.cancel()
        if dispatcher.ended.done():
            dispatcher.ended.result()
        return await job

    def _hand_on(self) -> None:
        self._ready.extend(self._shelf.take())
        if len(self._ready) >= _TOGETHER:
            self._flush()

    def _hand_on_all(self) -> None:
        """Hand on everything that is done, over the gaps of what is not."""
        self._ready.extend(self._shelf.take())
        self._ready.extend(self._shelf.take_all())
        self._flush()

    def _flush(self) -> None:
        ready, self._ready = self._ready, []
        if ready:
            self._sink(ready)
