"""Evaluate tasks on a model: windows of samples through the gather, results in order.

Samples of all tasks form one sequence that is cut into windows. A window's samples run
concurrently; its results leave in order before the next one is answered. Which questions are
answered together depends on nothing but the command.

The next window is opened ahead: while the model answers one, the samples of the next are rendered
in a thread, their evaluations run up to their first questions, and the model warms up for those.
Memory is bounded by two windows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmeval.core import (
    Ask,
    InformedModel,
    Model,
    Request,
    Response,
    Sample,
    ServedModel,
    Task,
)
from llmeval.engine.budget import Budget
from llmeval.engine.gather import Gather, Window
from llmeval.engine.journal import Journal, JournaledRun
from llmeval.engine.progress import Progress, Silent
from llmeval.engine.serving import evaluate_served
from llmeval.engine.usage import Usage
from llmeval.engine.verdicts import Evaluated, require_answers, score
from llmeval.engine.windows import DEFAULT_WINDOW, WINDOW_CHARACTERS, Renderer, WindowCutter

Sink = Callable[[Sequence[Evaluated]], None]
"""Takes each window's results, in the order of the samples."""


def evaluate(
    tasks: Sequence[Task],
    model: Model | ServedModel | InformedModel,
    *,
    journal: Journal,
    run: JournaledRun,
    sink: Sink,
    progress: Progress | None = None,
    window: int = DEFAULT_WINDOW,
    characters: int = WINDOW_CHARACTERS,
    usage: Usage | None = None,
    budget: Budget | None = None,
    traffic: dict[str, object] | None = None,
) -> Usage:
    """Evaluate every sample of ``tasks``; return what was asked.

    Args:
        window, characters: bounds of a window, in samples and in characters of their prompts.
        usage: counted in while the run goes on, for a caller that wants it when the run breaks off.
        budget: what the run may take.
        traffic: gets what went over the wire to a served model.

    Raises:
        LlmevalError: the run as a whole cannot go on; what was answered is journaled.
        KeyboardInterrupt: likewise.
    """
    progress, usage = progress or Silent(), usage or Usage()
    progress.start(sum(len(task) for task in tasks))
    cutter = WindowCutter(tasks, window, characters)
    try:
        if isinstance(model, InformedModel):
            return asyncio.run(_evaluate_informed(cutter, model, sink, progress, usage))
        if isinstance(model, ServedModel):
            evaluate_served(
                tasks,
                model,
                journal=journal,
                run=run,
                sink=sink,
                progress=progress,
                usage=usage,
                budget=budget or Budget(),
                window=window,
                traffic={} if traffic is None else traffic,
            )
            return usage
        gather = Gather(model, journal, run, usage, budget)
        pipeline = _Pipeline(gather, Renderer(cutter), progress)
        try:
            asyncio.run(pipeline.run(sink))
        finally:
            pipeline.close()
        return usage
    finally:
        progress.stop()


@dataclass(slots=True)
class _Opened:
    """A window whose samples are rendered and being evaluated."""

    window: Window = field(default_factory=Window)
    jobs: list[asyncio.Task[Evaluated]] = field(default_factory=list)

    async def abandon(self) -> None:
        jobs: list[asyncio.Task[Any]] = [*self.jobs]
        if self.window.preparing is not None:
            jobs.append(self.window.preparing)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)


class _Pipeline:
    """Opens each window while the one before it is answered."""

    def __init__(self, gather: Gather, renderer: Renderer, progress: Progress) -> None:
        self._gather = gather
        self._renderer = renderer
        self._progress = progress

    def close(self) -> None:
        """End all threads."""
        self._renderer.close()
        self._gather.close()

    async def run(self, sink: Sink) -> None:
        current = _Opened()
        opening = asyncio.create_task(self._open())
        try:
            while (current := await opening).jobs:
                opening = asyncio.create_task(self._open())
                results = await self._finish(current)
                current = _Opened()  # a window's results are held no longer than it takes
                sink(results)
                del results
        finally:
            opening.cancel()
            left = await asyncio.gather(opening, return_exceptions=True)
            for opened in (current, *left):
                if isinstance(opened, _Opened):
                    await opened.abandon()

    async def _open(self) -> _Opened:
        """Render the next window and evaluate its samples up to their first questions."""
        opened = _Opened()
        try:
            self._renderer.open()
            while items := await self._renderer.take():
                for task, sample in items:
                    self._start(opened, task, sample)
                await asyncio.sleep(0)  # they park
                self._gather.look_ahead(opened.window)
        except BaseException:
            await opened.abandon()
            raise
        return opened

    def _start(self, opened: _Opened, task: Task, sample: Sample) -> None:
        number, exchanges = len(opened.jobs), list[tuple[Request, Response]]()
        ask = self._gather.join(opened.window, number, exchanges)

        async def judge() -> Evaluated:
            try:
                scores = await score(task, sample, ask)
            finally:
                self._gather.leave(opened.window, number)
            self._progress.advance(task.name)
            return Evaluated(task, sample, exchanges, scores)

        opened.jobs.append(asyncio.create_task(judge()))

    async def _finish(self, opened: _Opened) -> list[Evaluated]:
        """Answer a window; the first error of the driver or of a sample ends it at once."""
        driver = asyncio.create_task(self._gather.answer_window(opened.window))
        jobs: set[asyncio.Task[Any]] = {driver, *opened.jobs}
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_EXCEPTION)
            error = next((job.exception() for job in done if job.exception()), None)
            if error is not None:
                raise error
        finally:
            driver.cancel()
            await asyncio.gather(driver, return_exceptions=True)
        return [job.result() for job in opened.jobs]


async def _evaluate_informed(
    cutter: WindowCutter, model: InformedModel, sink: Sink, progress: Progress, usage: Usage
) -> Usage:
    """Baselines answer from the sample itself: no gather, no journal."""

    async def judge(task: Task, sample: Sample) -> Evaluated:
        exchanges: list[tuple[Request, Response]] = []
        scores = await score(task, sample, _informed_ask(model, task, sample, exchanges))
        usage.requests += len(exchanges)
        progress.advance(task.name)
        return Evaluated(task, sample, exchanges, scores)

    for items in cutter.windows():
        jobs = [asyncio.create_task(judge(task, sample)) for task, sample in items]
        sink([await job for job in jobs])
    return usage


def _informed_ask(
    model: InformedModel,
    task: Task,
    sample: Sample,
    exchanges: list[tuple[Request, Response]],
) -> Ask:
    async def ask(requests: Sequence[Request]) -> list[Response]:
        responses = list(model.answer_sample(task.name, sample, requests))
        exchanges.extend(zip(requests, responses, strict=True))
        require_answers(responses)
        return responses

    return ask
