"""The limit of requests per minute, as OpenAI announces it in headers."""

from __future__ import annotations

import time


class Bucket:
    """A token bucket that holds one second's requests, at least one."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._rate = per_minute / 60
        self._room = max(1.0, self._rate)
        self._left = self._room
        self._at = time.monotonic()

    def take(self) -> float:
        """Take one request; return 0, or the seconds until one would be allowed."""
        now = time.monotonic()
        self._left = min(self._room, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._rate

    def headers(self) -> dict[str, str]:
        """Return the headers that every answer carries."""
        full = (self._room - self._left) / self._rate
        return {
            "x-ratelimit-limit-requests": str(self.per_minute),
            "x-ratelimit-remaining-requests": str(int(self._left)),
            "x-ratelimit-reset-requests": f"{full:.3f}s",
        }
