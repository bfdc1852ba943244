"""Answers the asks of many concurrent samples call by call, through the journal.

Questions of one moment are looked up together, calls answered in one moment are journaled together,
and only then are they used: nothing waits for a whole window.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from llmeval.core import Ask, Failure, Reply, Request, Response, ServedModel
from llmeval.engine.budget import Budget
from llmeval.engine.journal import Entry, Journal, JournaledRun, Key, Keyring
from llmeval.engine.serving.dispatch import Dispatcher, Order
from llmeval.engine.usage import Usage
from llmeval.engine.verdicts import require_answers

_COMMIT_AFTER = 0.01
"""Seconds in which answers come together before they are journaled."""

_TOGETHER = 1024
"""Neighbouring samples whose calls are ordered by their prompts."""


@dataclass(slots=True)
class _Asked:
    """One ask of one sample."""

    number: int
    requests: Sequence[Request]
    keys: list[Key]
    future: asyncio.Future[list[Response]]
    answers: dict[Key, Response] = field(default_factory=dict)


@dataclass(slots=True)
class _Arrived:
    keys: list[Key]
    reply: Reply


class Asking:
    """The asks of a run. Use from one event loop.

    Args:
        model, journal, run, usage: as for :class:`llmeval.engine.gather.Gather`.
        dispatcher: sends the calls.
        budget: gets what earlier attempts of this run spent.
    """

    def __init__(
        self,
        model: ServedModel,
        journal: Journal,
        run: JournaledRun,
        usage: Usage,
        dispatcher: Dispatcher,
        budget: Budget,
    ) -> None:
        self._model = model
        self._journal = journal
        self._run = run
        self._usage = usage
        self._dispatcher = dispatcher
        self._keyring = Keyring(model.fingerprint, model.scoring_fingerprint)
        self._seen: set[Key] = set()
        self._fresh: list[_Asked] = []
        self._arrived: list[_Arrived] = []
        self._in_flight: dict[Key, list[_Asked]] = {}
        self._loop = asyncio.get_running_loop()
        self._commit_timer: asyncio.TimerHandle | None = None
        if budget.limits.any:  # what earlier attempts took counts before anything is asked
            for response in journal.answers_of(run):
                budget.spend(1, model.price(response))

    def let_in(self, number: int, exchanges: list[tuple[Request, Response]]) -> Ask:
        """Return the ``ask`` of a sample; its questions and answers are noted in ``exchanges``."""

        async def ask(requests: Sequence[Request]) -> list[Response]:
            if not requests:
                return []
            keys = [self._keyring.key(request) for request in requests]
            asked = _Asked(number, list(requests), keys, self._loop.create_future())
            if not self._fresh:
                self._loop.call_soon(self._guarded, self._look_up)
            self._fresh.append(asked)
            responses = await asked.future
            exchanges.extend(zip(requests, responses, strict=True))
            require_answers(responses)
            return responses

        return ask

    def close(self) -> None:
        """Journal what has arrived, if that can be done."""
        if self._commit_timer is not None:
            self._commit_timer.cancel()
        with contextlib.suppress(Exception):  # what refused it has ended the run already
            self._commit()

    def _guarded(self, step: Callable[[], None]) -> None:
        """Run a step of the loop's own; what it raises ends the run, not the loop."""
        try:
            step()
        except Exception as error:
            self._dispatcher.fail(error)

    # -- what is asked ---------------------------------------------------------------------------

    def _look_up(self) -> None:
        fresh, self._fresh = self._fresh, []
        wanted = dict.fromkeys(key for asked in fresh for key in asked.keys)
        known = self._journal.lookup([key for key in wanted if key not in self._in_flight])
        for asked in fresh:
            self._take_up(asked, known)

    def _take_up(self, asked: _Asked, known: dict[Key, Entry]) -> None:
        missing: list[int] = []
        for index, key in enumerate(asked.keys):
            self._count_asked(key, known.get(key))
            if key in asked.answers:
                continue
            if (entry := known.get(key)) is not None:
                asked.answers[key] = entry.response
            elif key in self._in_flight:
                self._in_flight[key].append(asked)
            else:
                self._in_flight[key] = [asked]
                missing.append(index)
        if missing:
            self._send(asked, missing)
        self._finish_if_whole(asked)

    def _count_asked(self, key: Key, entry: Entry | None) -> None:
        """Count a question; what an earlier attempt of this run was answered is this run's own."""
        usage, seen = self._usage, key in self._seen
        usage.requests += 1
        if entry is not None and not seen and entry.run == self._run.id:
            usage.count(entry.response, self._model.price(entry.response))
        elif seen or entry is not None:
            usage.cached += 1
        self._seen.add(key)

    def _send(self, asked: _Asked, missing: Sequence[int]) -> None:
        for group in self._model.group([asked.requests[i] for i in missing]):
            members = [asked.requests[missing[i]] for i in group]
            keys = [asked.keys[missing[i]] for i in group]
            answered = self._dispatcher.submit(members, _order(asked.number, members[0]))
            answered.add_done_callback(partial(self._arrive, keys))

    # -- what is answered ------------------------------------------------------------------------

    def _arrive(self, keys: list[Key], done: asyncio.Future[Reply]) -> None:
        if done.cancelled():
            return
        self._arrived.append(_Arrived(keys, done.result()))
        if self._commit_timer is None:
            self._commit_timer = self._loop.call_later(_COMMIT_AFTER, self._guarded, self._commit)

    def _commit(self) -> None:
        """Journal what has arrived, then let the samples have it."""
        self._commit_timer = None
        responses: dict[Key, Response] = {}
        for one in self._arrived:
            responses.update(zip(one.keys, one.reply.responses, strict=True))
        kept = {k: r for k, r in responses.items() if not isinstance(r, Failure)}
        if kept:
            responses |= self._journal.commit(self._run, kept, 0)
        self._arrived.clear()  # not before they are journaled: `close` tries once more
        for key, response in responses.items():
            if isinstance(response, Failure):
                self._seen.discard(key)  # who asks it again asks the model again
            else:
                self._usage.count(response, self._model.price(response))
            for asked in self._in_flight.pop(key, ()):
                asked.answers[key] = response
                self._finish_if_whole(asked)

    @staticmethod
    def _finish_if_whole(asked: _Asked) -> None:
        if asked.future.done():
            return
        answers = asked.answers
        if all(key in answers for key in asked.keys):
            asked.future.set_result([answers[key] for key in asked.keys])


def _order(number: int, request: Request) -> Order:
    prompt = request.prompt
    text = prompt if isinstance(prompt, str) else "\n".join(turn.content for turn in prompt)
    return number // _TOGETHER, text
