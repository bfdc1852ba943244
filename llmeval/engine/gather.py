"""Gather: collect what all samples wait for, and answer it together.

``ask`` parks a sample. When every sample of the window is parked or done, the questions are taken
at once: the same question is asked once, what the journal has is read, the rest goes to the model
in the batches that it plans. Each batch is journaled before its samples go on.

Batches are planned over all questions that this run itself has to answer, *including* those that
an earlier, killed attempt already answered; such batches are then skipped. So a resumed run puts
the same questions together as an unbroken one, and its numbers are equal to the last bit.

While a window is answered, the samples of the next one may park as well, and the model may warm up
for their questions. What is planned then depends on neither: it waits for the window's turn.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llmeval.core import Ask, Failure, InvalidResult, Model, Request, Response
from llmeval.core.protocols import PricedModel
from llmeval.engine.answering import Answerer
from llmeval.engine.budget import Budget
from llmeval.engine.journal import Entry, Journal, JournaledRun, Key, Keyring
from llmeval.engine.usage import Usage
from llmeval.engine.verdicts import require_answers


@dataclass(slots=True)
class _Waiting:
    """One ask of one sample."""

    requests: Sequence[Request]
    keys: list[Key]
    missing: set[Key]
    future: asyncio.Future[list[Response]]
    sample: int


@dataclass(slots=True)
class Window:
    """Which samples of a window are parked, and what they wait for.

    Attributes:
        found: what the journal was seen to hold before the window's turn; answers never change.
        looked_at: how many of ``pending`` were looked up ahead.
        unprepared: questions for which the model has yet to warm up.
        preparing: the model's warm-up.
    """

    unfinished: int = 0
    outstanding: dict[int, int] = field(default_factory=dict)
    pending: list[_Waiting] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    found: dict[Key, Entry] = field(default_factory=dict)
    looked_at: int = 0
    unprepared: list[Request] = field(default_factory=list)
    preparing: asyncio.Task[None] | None = None

    @property
    def all_parked(self) -> bool:
        return len(self.outstanding) >= self.unfinished


class Gather:
    """Answers the asks of many concurrent samples with one batch model and the journal."""

    def __init__(
        self,
        model: Model,
        journal: Journal,
        run: JournaledRun,
        usage: Usage | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._model = model
        self._journal = journal
        self._run = run
        self._keyring = Keyring(model.fingerprint)
        self._seen: set[Key] = set()
        self._answerer = Answerer(model)
        self._price = model.price if isinstance(model, PricedModel) else _cost_nothing_known
        self._breaking = False
        self.usage = usage or Usage()
        self._budget = budget or Budget()
        if self._budget.limits.any:  # what earlier attempts took counts before anything is asked
            for response in journal.answers_of(run):
                self._budget.spend(1, self._price(response))

    def close(self) -> None:
        self._answerer.close()

    def join(self, window: Window, sample: int, exchanges: list[tuple[Request, Response]]) -> Ask:
        """Let a sample into a window and return its ``ask``.

        Args:
            sample: its number in the window.
            exchanges: its questions and answers are noted here.
        """
        window.unfinished += 1

        async def ask(requests: Sequence[Request]) -> list[Response]:
            responses = await self._park(window, sample, requests)
            exchanges.extend(zip(requests, responses, strict=True))
            require_answers(responses)
            return responses

        return ask

    async def _park(
        self, window: Window, sample: int, requests: Sequence[Request]
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

    def leave(self, window: Window, sample: int) -> None:
        """Note that a sample of the window needs no more answers.

        It may leave asks behind: where one of its concurrent asks failed, or ran out of time.
        """
        window.unfinished -= 1
        window.ended.add(sample)
        if sample in window.outstanding:
            for ask in window.pending:
                if ask.sample == sample:
                    ask.future.cancel()
        window.changed.set()

    # -- before a window's turn ------------------------------------------------------------------

    def look_ahead(self, window: Window) -> None:
        """Look up what was parked since the last look; let the model warm up for the rest."""
        asks = window.pending[window.looked_at :]
        window.looked_at = len(window.pending)
        questions = _questions(asks)
        window.found |= self._journal.lookup([key for key in questions if key not in window.found])
        planned, _ = self._divide(questions, window.found)
        window.unprepared += [questions[key] for key in planned]
        if window.preparing is None and window.unprepared:
            window.preparing = asyncio.create_task(self._prepare(window))

    async def _prepare(self, window: Window) -> None:
        while requests := window.unprepared:
            window.unprepared = []
            await self._answerer.prepare(requests)
        window.preparing = None

    # -- a window's turn -------------------------------------------------------------------------

    async def answer_window(self, window: Window) -> None:
        """Answer until every sample of the window is done.

        Raises:
            LlmevalError: the run as a whole cannot go on.
        """
        if window.preparing is not None:
            await window.preparing
        while window.unfinished:
            if window.all_parked and window.pending:
                await self._flush(window)
            else:
                await window.changed.wait()
            window.changed.clear()

    async def _flush(self, window: Window) -> None:
        # By sample, not by who asked first: the order then depends on no timing.
        waited_for = [ask for ask in window.pending if not ask.future.done()]
        asks, window.pending = sorted(waited_for, key=lambda ask: ask.sample), []
        questions = _questions(asks)
        waiting: dict[Key, list[_Waiting]] = {}
        for ask in asks:
            for key in ask.missing:
                waiting.setdefault(key, []).append(ask)
        answered: dict[Key, Response] = {}
        known, window.found = window.found, {}
        known |= self._journal.lookup([key for key in questions if key not in known])
        planned, ready = self._divide(questions, known)
        self._count_asked(asks, known)
        self._resolve(window, ready, waiting, answered)
        jobs = [
            asyncio.create_task(self._answer_batch(keys, questions, known))
            for keys in self._plan(planned, questions)
        ]
        try:
            for job in jobs:  # in the order planned, so that samples go on in the same order
                responses = await job
                self._count_answered(responses)
                self._resolve(window, responses, waiting, answered)
                await asyncio.sleep(0)  # let the samples that have their answers go on meanwhile
        except Exception:  # the run ends; what the model is at is journaled all the same
            self._breaking = True
            await asyncio.gather(*jobs, return_exceptions=True)
            raise
        finally:
            for job in jobs:
                job.cancel()

    def _divide(
        self, questions: Mapping[Key, Request], known: Mapping[Key, Entry]
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

    async def _answer_batch(
        self, keys: Sequence[Key], questions: Mapping[Key, Request], known: Mapping[Key, Entry]
    ) -> dict[Key, Response]:
        """Return a batch's answers: those of the journal, and the model's to what is left."""
        responses = {key: known[key].response for key in keys if key in known}
        missing = [key for key in keys if key not in known]
        if not missing:
            return responses
        async with self._answerer.slots:
            if self._breaking:
                raise asyncio.CancelledError
            room = self._budget.room
            allowed = missing if room is None else missing[:room]
            if reached := self._budget.reached(max(1, len(allowed))):
                raise reached
            self._budget.hold(len(allowed), None)
            try:
                responses |= await self._ask_model(allowed, questions)
            finally:
                self._budget.release(len(allowed), None)
            if len(allowed) < len(missing):
                raise self._budget.used_up()
            return responses

    async def _ask_model(
        self, keys: Sequence[Key], questions: Mapping[Key, Request]
    ) -> dict[Key, Response]:
        """Ask the model, and journal what it answers."""
        try:
            answers = await self._answerer.answer([questions[key] for key in keys])
        finally:
            self.usage.model_seconds = self._answerer.seconds
        responses = dict(zip(keys, answers.responses, strict=True))
        kept = {k: r for k, r in responses.items() if not isinstance(r, Failure)}
        for response in kept.values():
            self._budget.spend(1, self._price(response))
        responses |= self._journal.commit(
            self._run, kept, answers.computed_tokens, answers.distinct_tokens
        )
        if self._answerer.given_up is not None:  # what else the batch gave is journaled
            raise self._answerer.given_up
        return responses

    def _resolve(
        self,
        window: Window,
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
    def _unpark(window: Window, sample: int) -> None:
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
            self.usage.count(response, self._price(response))


def _cost_nothing_known(response: Response) -> None:
    """The price of an answer of a model that has none."""


def _questions(asks: Sequence[_Waiting]) -> dict[Key, Request]:
    """Return each question once, in the order asked."""
    return {k: r for ask in asks for k, r in zip(ask.keys, ask.requests, strict=True)}
