"""When the next call may go out: rate limits, and what the server asked us to wait."""

from __future__ import annotations

import time
from collections.abc import Callable

_BURST = 1.0  # seconds whose share of the limit may go out at once


class Pace:
    """Requests and tokens a minute as leaky buckets, and pauses.

    Args:
        requests, tokens: limits a minute; None for none.
        clock: seconds.
    """

    def __init__(
        self,
        requests: float | None = None,
        tokens: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds_a_request = 60.0 / requests if requests else 0.0
        self._seconds_a_token = 60.0 / tokens if tokens else 0.0
        self._clock = clock
        self._paused_until = 0.0
        self._requests_until = self._tokens_until = 0.0
        self.paused_seconds = 0.0

    @property
    def counts_tokens(self) -> bool:
        return self._seconds_a_token > 0

    def pause(self, seconds: float) -> None:
        """Let nothing out for so long; the longest pause counts."""
        now = self._clock()
        until = max(self._paused_until, now + seconds)
        self.paused_seconds += until - max(self._paused_until, now)
        self._paused_until = until

    def wait(self) -> float:
        """Return the seconds until a call may go out; 0 or less: now."""
        budgets = max(self._requests_until, self._tokens_until) - _BURST
        return max(self._paused_until, budgets) - self._clock()

    def take(self, tokens: int = 0) -> None:
        """Note that a call goes out that will take so many tokens."""
        now = self._clock()
        self._requests_until = max(self._requests_until, now) + self._seconds_a_request
        self.correct(tokens)

    def correct(self, tokens: int) -> None:
        """Note that a call took so many tokens more than was thought, or fewer if negative."""
        took = tokens * self._seconds_a_token
        self._tokens_until = max(self._tokens_until, self._clock()) + took
