"""Keeps calls in flight: which goes next, how many at once, when again, and when to stop.

Calls that wait lie in a heap, those of earlier samples first and among them by their prompts, so
that what shares a beginning goes out together and finds it in the server's cache. A call that
failed waits for its next attempt without holding a place. A call that hangs holds one place until
its deadline, and nothing else.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmeval.core import (
    Failure,
    InvalidResult,
    LlmevalError,
    Reply,
    Request,
    ServedModel,
    TryAgain,
)
from llmeval.engine.budget import Budget
from llmeval.engine.serving.concurrency import Concurrency
from llmeval.engine.serving.pace import Pace

log = logging.getLogger(__name__)

FIRST_DELAY = 0.5
"""Seconds before the second attempt; doubled for each further one."""

LONGEST_DELAY = 60.0
_GRACE = 10.0  # seconds for what is in flight when nothing more is to go out
_TICK = 0.05  # seconds
_OUTAGE = 20  # failures in a row in which nobody answered at all
_OUTAGE_DELAY = 10.0  # seconds between two calls then, at most

Order = tuple[int, str]
"""Where a call stands among those that wait: its samples' group, and its prompt."""


@dataclass(slots=True, order=True)
class _Call:
    order: Order
    number: int
    requests: Sequence[Request] = field(compare=False)
    answered: asyncio.Future[Reply] = field(compare=False)
    attempts: int = field(default=0, compare=False)
    trials: int = field(default=0, compare=False)
    tokens: int = field(default=0, compare=False)
    usd: float | None = field(default=None, compare=False)


@dataclass(slots=True)
class Traced:
    """What went over the wire, for the record.

    Args:
        calls: sent, repeated attempts included.
        retries: of these, again after a fault, by what that was.
        most_in_flight: at one time.
        overloads: times the server said that it has too much to do.
        seconds: from each answered call's last attempt to its answer.
    """

    calls: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    most_in_flight: int = 0
    overloads: int = 0
    seconds: array[float] = field(default_factory=lambda: array("f"))

    def measure_latency(self) -> dict[str, float] | None:
        """Return the median and the 95th percentile of the seconds that a call took."""
        if not self.seconds:
            return None
        ordered = sorted(self.seconds)
        last = len(ordered) - 1
        shares = {"p50": 0.5, "p95": 0.95}
        return {name: round(ordered[round(share * last)], 4) for name, share in shares.items()}


class Dispatcher:
    """Sends the calls of one run to one served model. Use from one event loop.

    Args:
        model: who answers.
        budget: what may be taken.

    Attributes:
        ended: gets the error that ends the run: fatal, or a budget that is reached and whose last
            answers are here.
        busy_seconds: wall time in which there were calls without an answer.
    """

    def __init__(self, model: ServedModel, budget: Budget) -> None:
        traffic = model.traffic
        self._model = model
        self._traffic = traffic
        self._budget = budget
        self._concurrency = Concurrency(traffic.max_connections)
        self._pace = Pace(traffic.requests_per_minute, traffic.tokens_per_minute)
        self._estimates = self._pace.counts_tokens or budget.limits.usd is not None
        self._waiting: list[_Call] = []
        self._numbers = itertools.count()
        self._flying: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._wake: asyncio.TimerHandle | None = None
        self._stopping: LlmevalError | None = None
        self._unreachable_in_a_row = 0
        self._outage_delay = FIRST_DELAY / 2
        self._last_trial = self._unreachable_since = 0.0
        self._in_outage = False
        self._unanswered = 0
        self._busy_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._random = random.Random()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.traced = Traced()
        self.busy_seconds = 0.0
        self._tick(self._loop.time())

    def submit(self, requests: Sequence[Request], order: Order) -> asyncio.Future[Reply]:
        """Let a call wait for its turn; its future gets a reply, where need be of failures."""
        call = _Call(order, next(self._numbers), requests, self._loop.create_future())
        if self._estimates:
            estimated = self._model.estimate(requests)
            call.tokens = estimated.prompt_tokens + estimated.completion_tokens
            call.usd = estimated.usd
        if not self._unanswered:
            self._busy_since = time.monotonic()
        self._unanswered += 1
        self._enqueue(call)
        return call.answered

    def describe(self) -> dict[str, object]:
        """Return what went over the wire, for the manifest."""
        return {
            "calls": self.traced.calls,
            "retries": dict(self.traced.retries.most_common(20)),
            "most_in_flight": self.traced.most_in_flight,
            "connections": {"limit": self._concurrency.limit, "highest": self._concurrency.highest},
            "overloads": self.traced.overloads,
            "paused_seconds": round(self._pace.paused_seconds, 3),
            "latency_seconds": self.traced.measure_latency(),
        }

    def fail(self, error: BaseException) -> None:
        """End the run with an error."""
        if not self.ended.done():
            self.ended.set_exception(error)

    def halt(self) -> None:
        """Let nothing more out."""
        self._stopping = self._stopping or InvalidResult("halted")

    async def close(self) -> None:
        """Give up whatever is in flight or waits."""
        self.halt()
        if self._unanswered:
            self.busy_seconds += time.monotonic() - self._busy_since
            self._unanswered = 0
        for timer in self._timers | ({self._wake} if self._wake else set()):
            timer.cancel()
        for job in self._flying:
            job.cancel()
        await asyncio.gather(*self._flying, return_exceptions=True)
        if self.ended.done() and not self.ended.cancelled():
            self.ended.exception()  # seen: asyncio need not warn of it

    # -- what goes out ---------------------------------------------------------------------------

    def _enqueue(self, call: _Call) -> None:
        heapq.heappush(self._waiting, call)
        self._pump()

    def _pump(self) -> None:
        """Send what may be sent now; find out whether that was the end."""
        while (call := self._take_next()) is not None:
            job = self._loop.create_task(self._fly(call))
            self._flying.add(job)
            self.traced.most_in_flight = max(self.traced.most_in_flight, len(self._flying))
            job.add_done_callback(self._land)
        if self._budget.is_late and self._stopping is None:
            self._stopping = self._budget.reached()
        if self._stopping is not None and not self._flying:
            self.fail(self._stopping)

    def _take_next(self, landing: int = 0) -> _Call | None:
        """Return the next call, to be sent at once; None where none may be sent now.

        Args:
            landing: calls that count as in flight, and are not any more.
        """
        while self._waiting and self._may_send(self._waiting[0], len(self._flying) - landing):
            call = heapq.heappop(self._waiting)
            if call.answered.done():  # whoever asked does not wait any more
                continue
            self._pace.take(call.tokens)
            self._budget.hold(len(call.requests), call.usd)
            self.traced.calls += 1
            return call
        return None

    def _may_send(self, call: _Call, in_flight: int) -> bool:
        if self._stopping is not None or in_flight >= self._concurrency.limit:
            return False
        if (wait := self._pace.wait()) > 0:
            self._wake_in(wait)
            return False
        if reached := self._budget.reached(len(call.requests), call.usd):
            # What is in flight may cost less than it was thought to, and then there is room.
            if not in_flight or self._budget.is_late:
                self._stopping = reached
            return False
        return True

    async def _fly(self, call: _Call) -> None:
        """Make a call, and then the next one: nothing else has to happen in between."""
        following: _Call | None = call
        while following is not None:
            await self._carry(following)
            following = self._take_next(landing=1)
            if self._waiting and len(self._flying) < self._concurrency.limit:
                self._pump()  # more may be in flight than were

    def _land(self, job: asyncio.Task[None]) -> None:
        self._flying.discard(job)
        if not job.cancelled() and (error := job.exception()):
            self.fail(error)
        self._pump()

    # -- what comes back -------------------------------------------------------------------------

    async def _carry(self, call: _Call) -> None:
        """Make one attempt at a call."""
        began = time.monotonic()
        deadline = self._traffic.deadline
        try:
            async with asyncio.timeout(deadline):
                reply = await self._model.call(call.requests)
        except TimeoutError:
            self._failed(call, _hung(deadline), began)
        except TryAgain as fault:
            self._failed(call, fault, began)
        except LlmevalError as error:
            self._stopping = error
            self._later(_GRACE, self.fail, error)  # others may hang
        except Exception as error:  # the adapter's fault; it costs these questions, not the run
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            self._answer(call, Reply([Failure(reason)] * len(call.requests)))
        else:
            self._succeeded(call, reply, time.monotonic() - began)
        finally:
            self._budget.release(len(call.requests), call.usd)

    def _succeeded(self, call: _Call, reply: Reply, seconds: float) -> None:
        self._unreachable_in_a_row = 0
        self._outage_delay = FIRST_DELAY / 2
        if self._in_outage:
            self._in_outage = False
            log.warning("answers come again")
        self.traced.seconds.append(seconds)
        self._concurrency.note_answer(seconds, len(self._flying))
        if 0 < reply.wait <= self._traffic.patience:  # beyond it, the next call is refused in words
            self._pace.pause(reply.wait)
        if self._pace.counts_tokens:
            took = sum(r.prompt_tokens + r.completion_tokens for r in reply.responses)
            self._pace.correct(took - call.tokens)
        self._answer(call, reply)

    def _answer(self, call: _Call, reply: Reply) -> None:
        for response in reply.responses:
            if not isinstance(response, Failure):
                self._budget.spend(1, self._model.price(response))
        if not call.answered.done():
            call.answered.set_result(reply)
        self._unanswered -= 1
        if not self._unanswered:
            self.busy_seconds += time.monotonic() - self._busy_since

    def _failed(self, call: _Call, fault: TryAgain, began: float) -> None:
        self.traced.retries[fault.reason] += 1
        self._pace.correct(-call.tokens)
        if fault.overloaded:
            self.traced.overloads += 1
            self._concurrency.note_overload(began)
            if fault.after:
                self._pace.pause(fault.after)
        in_outage = self._note_unreachable(fault, began)
        call.attempts += not in_outage
        if (self._late() and in_outage) or (fault.after or 0) > self._traffic.patience:
            self._stopping = self._give_up(fault)
        elif call.attempts >= self._traffic.max_attempts:
            reason = f"{fault.reason} ({call.attempts} attempts)"
            self._answer(call, Reply([Failure(reason)] * len(call.requests)))
        else:
            if in_outage:  # it may be what brings the server down: others go first, in turn
                call.trials += 1
                call.order = (sys.maxsize, f"{call.trials:09d}")
            self._later(self._delay(call, fault), self._enqueue, call)

    def _note_unreachable(self, fault: TryAgain, began: float) -> bool:
        """Tell whether nobody has answered anything for a while: the server is down."""
        if not fault.unreachable:
            self._unreachable_in_a_row = 0
            return False
        if not self._unreachable_in_a_row:
            self._unreachable_since = time.monotonic()
        self._unreachable_in_a_row += 1
        if self._unreachable_in_a_row < _OUTAGE:
            return False
        self._concurrency.note_outage()
        if not self._in_outage:
            self._in_outage = True
            patience = f"{self._traffic.patience:g} s"
            log.warning("no answers: %s; trying again for %s", fault.reason, patience)
        if began >= self._last_trial:  # others were sent together with the last trial
            # One call after each pause, of whichever question; not one for each that waits.
            self._outage_delay = min(_OUTAGE_DELAY, 2 * self._outage_delay)
            self._pace.pause(self._outage_delay)
            self._last_trial = time.monotonic()
        return True

    def _late(self) -> bool:
        return time.monotonic() - self._unreachable_since > self._traffic.patience

    def _give_up(self, fault: TryAgain) -> InvalidResult:
        return InvalidResult(
            f"{self._model.name} gives no answers any more: {fault.reason}",
            mend="answers so far are kept; once it answers again, give the same command",
        )

    def _delay(self, call: _Call, fault: TryAgain) -> float:
        """Return the seconds until the next attempt, spread out so that not all come at once."""
        if fault.after:
            return fault.after * self._random.uniform(1.0, 1.1)
        longest: float = min(LONGEST_DELAY, FIRST_DELAY * 2 ** max(0, call.attempts - 1))
        return longest * self._random.uniform(0.5, 1.0)

    def _tick(self, planned: float) -> None:
        """Measure how late this event loop is, look at the clock, and again in a moment."""
        now = self._loop.time()
        self._concurrency.note_lag(now - planned)
        self._later(_TICK, self._tick, now + _TICK)
        if self._budget.is_late:  # although nothing comes back that would tell
            self._pump()

    # -- timers and the end ----------------------------------------------------------------------

    def _later(self, seconds: float, what: Callable[..., None], *arguments: Any) -> None:
        def run() -> None:
            self._timers.discard(timer)
            what(*arguments)

        timer = self._loop.call_later(seconds, run)
        self._timers.add(timer)

    def _wake_in(self, seconds: float) -> None:
        if self._wake is None or self._wake.cancelled():
            self._wake = self._loop.call_later(seconds, self._woken)

    def _woken(self) -> None:
        self._wake = None
        self._pump()


def _hung(deadline: float) -> TryAgain:
    return TryAgain(f"no answer within {deadline:g} s", unreachable=True)
