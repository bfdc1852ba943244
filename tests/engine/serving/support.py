"""A served model with behaviour to order, and an event loop whose hours pass at once."""

from __future__ import annotations

import asyncio
import selectors
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from llmeval.core import (
    Estimated,
    GenerateRequest,
    Loglikelihood,
    Reply,
    Request,
    Response,
    Traffic,
    UsageError,
)
from llmeval.engine.journal import Key, Keyring
from llmeval.engine.serving import dispatch
from llmeval.engine.serving.concurrency import Concurrency
from llmeval.engine.serving.pace import Pace
from tests.support.fakes import FakeModel

T = TypeVar("T")
Behave = Callable[[Sequence[Request], int], Awaitable[Reply | None]]
"""``(requests, attempt)``: raises, or returns a reply; None for the answers of the questions."""


class FakeServed:
    """Answers from a hash of the question alone.

    Args:
        behave: what happens at each call.
        usd: what an answer costs; ``estimated`` what it is thought to cost.

    Attributes:
        called: the questions of each call, in the order of the calls.
        times: when each call began, by the clock of its loop.
        most: calls that were in flight at once.
    """

    name = "fake served"
    fingerprint = scoring_fingerprint = "fingerprint of a fake served model"
    capabilities = frozenset({"loglikelihood", "generate", "chat"})

    def __init__(
        self,
        behave: Behave | None = None,
        *,
        usd: float | None = None,
        estimated: float | None = None,
        **traffic: Any,
    ) -> None:
        self.traffic = Traffic(**traffic)
        self.called: list[tuple[Request, ...]] = []
        self.times: list[float] = []
        self.most = self.in_flight = 0
        self.hung_up = 0
        self._behave = behave
        self._usd = usd
        self._estimated = usd if estimated is None else estimated
        self._attempts: Counter[tuple[Request, ...]] = Counter()
        self._keyring = Keyring(self.fingerprint)
        self._answers = FakeModel()

    @property
    def asked(self) -> list[Request]:
        return [request for call in self.called for request in call]

    def keys(self) -> list[Key]:
        """Return the journal keys of what was asked, in order."""
        return [self._keyring.key(request) for request in self.asked]

    def key(self, request: Request) -> Key:
        return self._keyring.key(request)

    def explore(self, kinds: Collection[str]) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {}

    def group(self, requests: Sequence[Request]) -> list[list[int]]:
        """Draws of one question together, all others alone."""
        groups: dict[Any, list[int]] = {}
        for index, request in enumerate(requests):
            draw = isinstance(request, GenerateRequest)
            key = (request.prompt, request.sampling) if draw else index
            groups.setdefault(key, []).append(index)
        return list(groups.values())

    async def call(self, requests: Sequence[Request]) -> Reply:
        call = tuple(requests)
        self.called.append(call)
        self.times.append(asyncio.get_running_loop().time())
        attempt = self._attempts[call]
        self._attempts[call] += 1
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            reply = await self._behave(call, attempt) if self._behave else None
        finally:
            self.in_flight -= 1
        return self.reply(call) if reply is None else reply

    def reply(self, requests: Sequence[Request]) -> Reply:
        return Reply([self._answers.reply(request) for request in requests])

    def estimate(self, requests: Sequence[Request]) -> Estimated:
        usd = None if self._estimated is None else self._estimated * len(requests)
        return Estimated(7 * len(requests), 3 * len(requests), usd)

    def price(self, response: Response) -> float | None:
        return self._usd

    def report(self) -> dict[str, Any]:
        return {}

    async def hang_up(self) -> None:
        self.hung_up += 1

    def close(self) -> None:
        pass

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool
    ) -> str:
        raise UsageError("only the server renders its chats")


def after(seconds: float) -> Behave:
    """Every call takes so long."""

    async def behave(requests: Sequence[Request], attempt: int) -> None:
        await asyncio.sleep(seconds)

    return behave


def is_answer_of(response: Response, request: Request) -> bool:
    """Whether a response is what the fake model says to a request."""
    expected = FakeModel().reply(request)
    assert isinstance(response, type(expected)), (response, expected)
    if isinstance(response, Loglikelihood):
        return response.logprob == expected.logprob  # type: ignore[union-attr]
    return response == expected


# -- virtual time -----------------------------------------------------------------------------


class Stuck(Exception):
    """Nothing will ever happen any more."""


class _Leaping(selectors.DefaultSelector):
    """Instead of waiting for a timer, it lets the clock leap to it."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck("no timer is set and nothing is ready")
        self.now += max(timeout, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop without threads and sockets, in which an hour takes no time."""

    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)
        self._clock_resolution = 1e-6  # a leap lands on its timer, whatever floats do

    def time(self) -> float:
        return self._leaping.now


def now() -> float:
    return asyncio.get_running_loop().time()


def run_virtually(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def use_virtual_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the dispatcher read the clock of its loop wherever it reads the time."""
    monkeypatch.setattr(dispatch, "time", SimpleNamespace(monotonic=now))
    monkeypatch.setattr(dispatch, "Pace", partial(Pace, clock=now))
    monkeypatch.setattr(dispatch, "Concurrency", partial(Concurrency, clock=now))
