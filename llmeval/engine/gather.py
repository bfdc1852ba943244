"""Gather: collect what all samples wait for, and answer it together.

``ask`` parks a sample. When every sample of the window is parked or done, the questions are taken
at once: the same question is asked once, what the journal has is read, the rest goes to the model
in the batches that it plans. Each batch is journaled before its samples go on.

Batches are planned over all questions that this run itself has to answer, *including* those that
an earlier, killed attempt already answered; such batches are then skipped. So a resumed run puts
the same questions together as an unbroken one, and its numbers are equal to the last bit.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from llmeval.core import (
    Answers,
    Ask,
    Failure,
    InvalidResult,
    LlmevalError,
    Model,
    Request,
    Response,
)
from llmeval.engine.journal import Entry, Journal, JournaledRun, Key, Keyring

_FAILURES_IN_A_ROW = 20


class NoAnswer(Exception):
    """A question of this sample got no answer; the text is the reason."""


def require_answers(responses: Sequence[Response]) -> None:
    """Raise for a question without an answer: a task only ever sees answers."""
    for response in responses:
        if isinstance(response, Failure):
            raise NoAnswer(response.reason)


@dataclass(slots=True)
class Usage:
    """What a run asked and what that took. Counts questions, not attempts.

    Args:
        requests: questions that tasks asked.
        cached: of these, answered without the model: asked before in this run, or journaled by
            an earlier run.
        prompt_tokens, completion_tokens: of the questions that the model answered.
        truncated: answers whose prompt was cut from the left.
        separate_boundaries: answers to a continuation that was tokenized apart from its context.
        model_seconds: wall time in which the model answered, of this attempt.
    """

    requests: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    truncated: int = 0
    separate_boundaries: int = 0
    model_seconds: float = field(default=0.0, compare=False)


@dataclass(slots=True)
class _Waiting:
    """One ask of one sample."""

    requests: Sequence[Request]
    keys: list[Key]
    missing: set[Key]
    future: asyncio.Future[list[Response]]
    sample: int


@dataclass(slots=True)
class _Window:
    """Which samples of the current window are parked, and what they wait for."""

    unfinished: int = 0
    outstanding: dict[int, int] = field(default_factory=dict)
    pending: list[_Waiting] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def all_parked(self) -> bool:
        return len(self.outstanding) >= self.unfinished


class Gather:
    """Answers the asks of many concurrent samples with one batch model and the journal."""

    def __init__(
        self, model: Model, journal: Journal, run: JournaledRun, usage: Usage | None = None
    ) -> None:
        self._model = model
        self._journal = journal
        self._run = run
        self._keyring = Keyring(model.fingerprint)
        self._seen: set[Key] = set()
        self._window = _Window()
        self._failures_in_a_row = 0
        self._given_up: InvalidResult | None = None
        # The model works in a thread of its own, so that scoring and sandboxes go on meanwhile.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="llmeval-model")
        self.usage = usage or Usage()

    def close(self) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)

    def asker(self, sample: int, exchanges: list[tuple[Request, Response]]) -> Ask:
        """Return the ``ask`` of one sample; questions and answers are noted in ``exchanges``."""

        window = self._window

        async def ask(requests: Sequence[Request]) -> list[Response]:
            responses = await self._park(window, sample, requests)
            exchanges.extend(zip(requests, responses, strict=True))
            require_answers(responses)
            return responses

        return ask

    async def _park(
        self, window: _Window, sample: int, requests: Sequence[Request]
    ) -> list[Response]:
        if sample in window.ended:  # what a failed sample left running
            raise asyncio.CancelledError
        if not requests:
            return []
        keys = [self._keyring.key(request) for request in requests]
        future: asyncio.Future[list[Response]] = asyncio.get_running_loop().create_future()
        window.pending.append(_Waiting(list(requests), keys, set(keys), future, sample))
        window.outstanding[sample] = window.outstanding.get(sample, 0) + 1
        window.changed.set()
        try:
            return await future
        except asyncio.CancelledError:
            if future.cancelled():  # the sample gave up waiting, e.g. in `asyncio.wait_for`
                self._unpark(window, sample)
                window.changed.set()
            raise

    def open_window(self, samples: int) -> None:
        """Start a window of so many samples."""
        self._window = _Window(unfinished=samples)

    def sample_done(self, sample: int) -> None:
        """Note that a sample of the window needs no more answers.

        It may leave asks behind: where one of its concurrent asks failed, or ran out of time.
        """
        window = self._window
        window.unfinished -= 1
        window.ended.add(sample)
        for ask in window.pending:
            if ask.sample == sample:
                ask.future.cancel()
        window.changed.set()

    async def answer_window(self) -> None:
        """Answer until every sample of the window is done."""
        window = self._window
        while window.unfinished:
            if window.all_parked and window.pending:
                await self._flush(window)
            else:
                await window.changed.wait()
            window.changed.clear()

    async def _flush(self, window: _Window) -> None:
        # By sample, not by who asked first: the order then depends on no timing.
        waited_for = [ask for ask in window.pending if not ask.future.done()]
        asks, window.pending = sorted(waited_for, key=lambda ask: ask.sample), []
        questions = {k: r for ask in asks for k, r in zip(ask.keys, ask.requests, strict=True)}
        waiting: dict[Key, list[_Waiting]] = {}
        for ask in asks:
            for key in ask.missing:
                waiting.setdefault(key, []).append(ask)
        answered: dict[Key, Response] = {}
        known = self._journal.lookup(list(questions))
        planned, ready = self._divide(questions, known)
        self._count_asked(asks, known)
        self._resolve(window, ready, waiting, answered)
        for keys in self._plan(planned, questions):
            responses = {key: known[key].response for key in keys if key in known}
            responses |= await self._ask_model([k for k in keys if k not in known], questions)
            self._count_answered(responses)
            self._resolve(window, responses, waiting, answered)
            await asyncio.sleep(0)  # let the samples that have their answers go on meanwhile

    def _divide(
        self, questions: dict[Key, Request], known: dict[Key, Entry]
    ) -> tuple[list[Key], dict[Key, Response]]:
        """Split questions into those that are planned into batches and those that are answered.

        Planned is what this run answers now, or answered here in an attempt that was killed:
        both attempts then plan the same. What an earlier window or another run answered is ready.
        """
        planned: list[Key] = []
        ready: dict[Key, Response] = {}
        for key in questions:
            entry = known.get(key)
            if entry is None or (entry.run == self._run.id and key not in self._seen):
                planned.append(key)
            else:
                ready[key] = entry.response
        return planned, ready

    def _plan(self, keys: Sequence[Key], questions: Mapping[Key, Request]) -> list[list[Key]]:
        """Cut questions into the model's batches; a question left out would be waited for."""
        if not keys:
            return []
        batches = self._model.plan([questions[key] for key in keys])
        if sorted(itertools.chain.from_iterable(batches)) != list(range(len(keys))):
            raise InvalidResult(
                "its plan does not hold every question once",
                where=self._model.name,
                mend="this is a fault of the model's adapter",
            )
        return [[keys[i] for i in batch] for batch in batches]

    async def _ask_model(
        self, keys: Sequence[Key], questions: dict[Key, Request]
    ) -> dict[Key, Response]:
        """Ask the model what is left of a batch, and journal what it answers."""
        if not keys:
            return {}
        loop = asyncio.get_running_loop()
        requests = [questions[key] for key in keys]
        began = time.monotonic()
        answers = await loop.run_in_executor(self._worker, self._answer_or_bisect, requests)
        self.usage.model_seconds += time.monotonic() - began
        responses = dict(zip(keys, answers.responses, strict=True))
        kept = {k: r for k, r in responses.items() if not isinstance(r, Failure)}
        responses |= self._journal.commit(self._run, kept, answers.computed_tokens)
        if self._given_up is not None:  # what else the batch gave is journaled
            raise self._given_up
        return responses

    def _answer_or_bisect(self, requests: Sequence[Request]) -> Answers:
        """Answer a batch; where the model breaks on it, find the questions that break it."""
        if self._given_up is not None:
            return Answers([Failure(str(self._given_up))] * len(requests))
        try:
            answers = self._model.answer(requests)
            if len(answers.responses) != len(requests):
                raise RuntimeError(
                    f"the model gave {len(answers.responses)} answers to {len(requests)} questions"
                )
            self._failures_in_a_row = 0
            return answers
        except LlmevalError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
        if len(requests) == 1:
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= _FAILURES_IN_A_ROW:
                self._given_up = InvalidResult(
                    f"the model failed {_FAILURES_IN_A_ROW} times in a row, last with {reason}",
                    mend="answers so far are kept; mend the model, then give the same command",
                )
            return Answers([Failure(reason)])
        half = len(requests) // 2
        parts = [self._answer_or_bisect(requests[:half]), self._answer_or_bisect(requests[half:])]
        return Answers(
            [r for part in parts for r in part.responses],
            sum(part.computed_tokens for part in parts),
        )

    def _resolve(
        self,
        window: _Window,
        responses: dict[Key, Response],
        waiting: dict[Key, list[_Waiting]],
        answered: dict[Key, Response],
    ) -> None:
        """Wake every ask whose last missing answer is among ``responses``."""
        answered.update(responses)
        for key in responses:
            for ask in waiting[key]:
                ask.missing.discard(key)
                if not ask.missing and not ask.future.done():
                    self._unpark(window, ask.sample)
                    ask.future.set_result([answered[k] for k in ask.keys])

    @staticmethod
    def _unpark(window: _Window, sample: int) -> None:
        window.outstanding[sample] -= 1
        if not window.outstanding[sample]:
            del window.outstanding[sample]

    def _count_asked(self, asks: Sequence[_Waiting], known: dict[Key, Entry]) -> None:
        """Count questions; a repeat, or what another run journaled, needs no model call."""
        for ask in asks:
            self.usage.requests += len(ask.keys)
            for key in ask.keys:
                foreign = key in known and known[key].run != self._run.id
                self.usage.cached += foreign or key in self._seen
                self._seen.add(key)

    def _count_answered(self, responses: Mapping[Key, Response]) -> None:
        for key, response in responses.items():
            if isinstance(response, Failure):
                self._seen.discard(key)  # who asks it again asks the model again
            self.usage.prompt_tokens += response.prompt_tokens
            self.usage.completion_tokens += response.completion_tokens
            self.usage.truncated += bool(response.truncated)
            self.usage.separate_boundaries += getattr(response, "boundary", None) == "separate"
