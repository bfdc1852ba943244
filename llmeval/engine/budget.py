"""What a run may take: dollars, requests, minutes. On reaching one, the run stops and is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from llmeval.core import BudgetReached, UsageError


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a run; None for none. They are no part of what makes two runs the same.

    Args:
        usd: of the whole run, earlier attempts included.
        requests: questions that the model is asked, earlier attempts included.
        minutes: of this attempt.
    """

    usd: float | None = None
    requests: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        for name in ("usd", "requests", "minutes"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not value > 0):
                raise UsageError(f"must be more than 0, not {value!r}", where=f"--max-{name}")

    @property
    def any(self) -> bool:
        return (self.usd, self.requests, self.minutes) != (None, None, None)


@dataclass(slots=True)
class Budget:
    """Limits and what was taken of them.

    Attributes:
        usd, requests: taken so far by answers of this run.
        held_usd, held_requests: will be taken by what is being asked.
    """

    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], float] = time.monotonic
    usd: float = 0.0
    requests: int = 0
    held_usd: float = 0.0
    held_requests: int = 0
    _began: float = 0.0

    def __post_init__(self) -> None:
        self._began = self.clock()

    def reached(self, requests: int = 1, usd: float | None = None) -> BudgetReached | None:
        """Return why a call of so many questions and dollars may not go out now, or None.

        What is being asked counts as if it were answered, so a bound is not run over; once those
        answers are here, there may be room again.
        """
        limits = self.limits
        asked, spent = self.requests + self.held_requests, self.usd + self.held_usd
        if limits.requests is not None and asked + requests > limits.requests:
            return self._stop(f"{asked} of {limits.requests} requests", "--max-requests")
        if limits.usd is not None and (spent >= limits.usd or spent + (usd or 0.0) > limits.usd):
            return self._stop(f"${self.usd:.4f} of ${limits.usd:g}", "--max-usd")
        if self.is_late:
            return self._stop(f"{limits.minutes:g} minutes", "--max-minutes")
        return None

    def used_up(self) -> BudgetReached:
        """Return that all requests that are allowed were asked, whether answered yet or not."""
        most = self.limits.requests
        return self._stop(f"{most} of {most} requests", "--max-requests")

    @property
    def room(self) -> int | None:
        """How many more questions may be asked; None for any number."""
        if self.limits.requests is None:
            return None
        return max(0, self.limits.requests - self.requests - self.held_requests)

    @property
    def is_late(self) -> bool:
        """Whether the minutes are over."""
        minutes = self.limits.minutes
        return minutes is not None and self.clock() - self._began >= 60 * minutes

    def _stop(self, taken: str, option: str) -> BudgetReached:
        return BudgetReached(
            f"the budget is reached: {taken}",
            where=option,
            mend="answers are kept; the same command with a higher limit continues",
        )

    def hold(self, requests: int, usd: float | None) -> None:
        """Set aside what a call will take."""
        self.held_requests += requests
        self.held_usd += usd or 0.0

    def release(self, requests: int, usd: float | None) -> None:
        """Give back what was set aside for a call."""
        self.held_requests -= requests
        self.held_usd -= usd or 0.0

    def spend(self, requests: int, usd: float | None) -> None:
        """Note what answers took."""
        self.requests += requests
        self.usd += usd or 0.0
