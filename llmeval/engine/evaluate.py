"""Evaluate tasks on a model: windows of samples through the gather, results in order.

Samples of all tasks form one sequence that is cut into windows of fixed size. A window's samples
run concurrently; its results leave in order before the next one starts, so memory is bounded by
the window, and which questions are answered together depends on nothing but the command.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmeval.core import (
    Ask,
    InformedModel,
    InvalidResult,
    LlmevalError,
    Model,
    Request,
    Response,
    Sample,
    Score,
    Task,
    Unscorable,
)
from llmeval.engine.gather import Gather, NoAnswer, Usage, require_answers
from llmeval.engine.journal import Journal, JournaledRun
from llmeval.engine.progress import Progress, Silent

log = logging.getLogger(__name__)

DEFAULT_WINDOW = 4096


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A sample with everything that happened to it."""

    task: Task
    sample: Sample
    exchanges: Sequence[tuple[Request, Response]]
    scores: Sequence[Score]


Sink = Callable[[Sequence[Evaluated]], None]
"""Takes each window's results, in the order of the samples."""

Judge = Callable[[Task, Sample, int], Coroutine[None, None, Evaluated]]


def evaluate(
    tasks: Sequence[Task],
    model: Model | InformedModel,
    *,
    journal: Journal,
    run: JournaledRun,
    sink: Sink,
    progress: Progress | None = None,
    window: int = DEFAULT_WINDOW,
    usage: Usage | None = None,
) -> Usage:
    """Evaluate every sample of ``tasks``; return what was asked.

    Args:
        usage: counted in while the run goes on, for a caller that wants it when the run breaks off.

    Raises:
        LlmevalError: the run as a whole cannot go on; what was answered is journaled.
        KeyboardInterrupt: likewise.
    """
    progress, usage = progress or Silent(), usage or Usage()
    progress.start(sum(len(task) for task in tasks))
    try:
        if isinstance(model, InformedModel):
            return asyncio.run(_evaluate_informed(tasks, model, sink, progress, window, usage))
        gather = Gather(model, journal, run, usage)
        try:
            return asyncio.run(_evaluate_gathered(tasks, gather, sink, progress, window))
        finally:
            gather.close()
    finally:
        progress.stop()


async def _evaluate_gathered(
    tasks: Sequence[Task], gather: Gather, sink: Sink, progress: Progress, window: int
) -> Usage:
    async def judge(task: Task, sample: Sample, number: int) -> Evaluated:
        exchanges: list[tuple[Request, Response]] = []
        try:
            scores = await _score(task, sample, gather.asker(number, exchanges))
        finally:
            gather.sample_done(number)
        progress.advance(task.name)
        return Evaluated(task, sample, exchanges, scores)

    for items in _windows(tasks, window):
        gather.open_window(len(items))
        results = _Results(judge, items)
        driver = asyncio.create_task(gather.answer_window())
        await _first_error(driver, results)
        sink(await results.in_order())
    return gather.usage


class _Results:
    """The concurrent evaluations of a window."""

    def __init__(self, judge: Judge, items: Sequence[tuple[Task, Sample]]) -> None:
        self.running = [
            asyncio.create_task(judge(task, sample, number))
            for number, (task, sample) in enumerate(items)
        ]

    async def in_order(self) -> list[Evaluated]:
        return [await job for job in self.running]


async def _first_error(driver: asyncio.Task[None], results: _Results) -> None:
    """Wait for the window; let the first error of the driver or of a sample end it at once."""
    jobs: set[asyncio.Task[Any]] = {driver, *results.running}
    done, waiting = await asyncio.wait(jobs, return_when=asyncio.FIRST_EXCEPTION)
    error = next((job.exception() for job in done if job.exception()), None)
    if error is not None:
        for job in waiting:
            job.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        raise error


async def _evaluate_informed(
    tasks: Sequence[Task],
    model: InformedModel,
    sink: Sink,
    progress: Progress,
    window: int,
    usage: Usage,
) -> Usage:
    """Baselines answer from the sample itself: no gather, no journal."""
    for task in tasks:
        model.study(task)

    async def judge(task: Task, sample: Sample, number: int) -> Evaluated:
        exchanges: list[tuple[Request, Response]] = []
        scores = await _score(task, sample, _informed_ask(model, task, sample, exchanges))
        usage.requests += len(exchanges)
        progress.advance(task.name)
        return Evaluated(task, sample, exchanges, scores)

    for items in _windows(tasks, window):
        sink(await _Results(judge, items).in_order())
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


async def _score(task: Task, sample: Sample, ask: Ask) -> list[Score]:
    """Evaluate one sample; whatever goes wrong becomes a status, never a number."""
    try:
        scores = [_honest(score) for score in await task.evaluate(sample, ask)]
    except LlmevalError:
        raise
    except Unscorable as verdict:
        return [Score(m, status="unscored", reason=str(verdict)) for m in task.metrics]
    except NoAnswer as failure:
        return [Score(m, status="errored", reason=str(failure)) for m in task.metrics]
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        log.warning("%s, sample %s: %s", task.name, sample.id, reason, exc_info=error)
        return [Score(m, status="errored", reason=reason) for m in task.metrics]
    return _complete(task, scores)


def _honest(score: Score) -> Score:
    """Refuse a value that is no number; make a NumPy number or a truth value a plain float."""
    if score.status != "scored" or (score.value is None and score.item is not None):
        return score
    if score.value is None:
        reason = "the task reported no value"
    elif math.isfinite(score.value):
        return replace(score, value=float(score.value))
    else:
        reason = f"the value is {score.value}, not a number"
    return replace(score, value=None, item=None, status="unscored", reason=reason)


def _complete(task: Task, scores: list[Score]) -> list[Score]:
    """Say so where a task left one of its metrics out: coverage must show it."""
    given = {score.metric for score in scores}
    missing = [m for m in list(task.metrics) if m not in given]
    return scores + [
        Score(m, status="unscored", reason="the task reported no value") for m in missing
    ]


def _windows(tasks: Sequence[Task], size: int) -> Iterator[list[tuple[Task, Sample]]]:
    sequence = ((task, sample) for task in tasks for sample in _samples(task))
    while items := list(itertools.islice(sequence, size)):
        yield items


def _samples(task: Task) -> Iterator[Sample]:
    try:
        yield from task.samples()
    except LlmevalError:
        raise
    except Exception as error:
        raise InvalidResult(
            f"the task broke off while it gave its samples: {type(error).__name__}: {error}",
            where=task.name,
            mend="answers so far are kept; mend the task, then give the same command",
        ) from error
