"""How many calls a server takes at once: found out by asking, like a network's congestion window.

Slow start doubles the limit a round while latency holds. A round is as many answers as there were
calls in flight. Where the median latency of a round has risen and the rate of answers has not, the
server queues what it is sent, and the limit goes back; where it turns away more than a few (429,
503), the limit is halved, once a round. A refusal now and then is no overload: halving for each of
them would end at one call at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

START = 64
"""Calls in flight at the beginning, where so many are allowed."""

_LATENCY_HOLDS = 1.5  # times the best median seen: still what it was
_RATE_GREW = 1.1  # times the rate of the round before: queueing, yet more gets done
_GROWTH = 1.25  # of a round after slow start
_REST = 8  # rounds without a trial after one that gained nothing
_LEAST_ROUND = 8  # answers: a median of fewer says little
_OVERLOADED = 0.2  # share of a round's calls that are turned away
_SMOOTHING = 0.3  # weight of the newest lag
_FEW = 3  # calls turned away that say nothing yet


class Concurrency:
    """The number of calls that may be in flight.

    Args:
        most: never more than that.
        clock: seconds.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self.limit = min(START, most)
        self.highest = self.limit
        self._clock = clock
        self._slow_start = True
        self._best_latency = float("inf")
        self._last_rate = 0.0
        self._last_limit = self.limit
        self._rest = 0
        self._halved = float("-inf")
        self._lag = 0.0
        self._begin_round()

    def _begin_round(self) -> None:
        self._latencies: list[float] = []
        self._began = self._clock()
        self._full = True
        self._turned_away = 0

    def note_answer(self, seconds: float, in_flight: int) -> None:
        """Note an answer's latency, and how many calls were in flight when it came."""
        self._latencies.append(seconds)
        self._full = self._full and in_flight >= self.limit
        if len(self._latencies) >= max(self.limit, _LEAST_ROUND):
            self._end_round()

    def note_lag(self, seconds: float) -> None:
        """Note how late this process itself is: answers wait for it, not only for the server."""
        self._lag += _SMOOTHING * (seconds - self._lag)

    def note_overload(self, sent: float) -> None:
        """The server turned a call away; where it does so often, it has too much to do.

        Args:
            sent: when the call went out: one from before the last halving says nothing of the
                limit that holds now.
        """
        if sent < self._halved:
            return
        self._turned_away += 1
        share = self._turned_away / max(self.limit, _LEAST_ROUND)
        if self._turned_away > _FEW and share > _OVERLOADED:
            self._slow_start = False
            self.limit = max(1, self.limit // 2)
            self._halved = self._clock()
            self._begin_round()

    def note_outage(self) -> None:
        """Nobody answers: one call at a time finds out when somebody does again."""
        self.limit = 1
        self._slow_start = True
        self._begin_round()

    def _end_round(self) -> None:
        # An answer waits for this process as it goes out and as it comes in.
        latency = max(0.0, median(self._latencies) - 2 * self._lag)
        rate = len(self._latencies) / max(self._clock() - self._began, 1e-9)
        limit, full = self.limit, self._full
        if full:  # else there was too little to ask, which says nothing about the server
            self._choose(latency, rate)
        self._best_latency = min(self._best_latency, latency)
        if full:
            self._last_rate, self._last_limit = rate, limit
        self._begin_round()

    def _choose(self, latency: float, rate: float) -> None:
        holds = latency <= _LATENCY_HOLDS * self._best_latency
        if not (holds or rate >= _RATE_GREW * self._last_rate):
            self._slow_start = False
            self._rest = _REST
            self.limit = max(1, min(self.limit, self._last_limit))
        elif self._rest:
            self._rest -= 1
        else:
            growth = 2.0 if self._slow_start else _GROWTH
            self.limit = min(self.most, max(self.limit + 1, int(self.limit * growth)))
            self.highest = max(self.highest, self.limit)
