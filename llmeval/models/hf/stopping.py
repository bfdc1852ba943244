"""When a completion is done: an end token, or a stop string in its text, sought at every step."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

_LOOKBACK = 4  # more than a stop string's bytes: decoders may drop a blank at the beginning


class StopWatch:
    """Says which rows are done; looks at the end of their texts only.

    Args:
        tokenizer: a transformers tokenizer.
        stops: stop strings, none of them empty. One may be a special token's text.
        eos_ids: tokens that end a row.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str], eos_ids: Set[int]) -> None:
        self._tokenizer = tokenizer
        self._stops = stops
        self._eos_ids = eos_ids
        # A token has at least one byte, so the tail that ends in a stop string is no longer.
        self._tail = max((len(stop.encode()) for stop in stops), default=0) + _LOOKBACK

    def find_done(self, rows: Sequence[list[int]]) -> list[bool]:
        """Tell for each row's new tokens whether the last one ends it; called at every token."""
        done = [row[-1] in self._eos_ids for row in rows]
        if not self._stops or not rows:  # a tokenizer makes one text of no rows
            return done
        # A stop string may be a special token's text, so these are not left out here.
        tails = self._tokenizer.batch_decode([row[-self._tail :] for row in rows])
        return [
            ended or self._holds_stop(tail, row)
            for ended, tail, row in zip(done, tails, rows, strict=True)
        ]

    def _holds_stop(self, tail: str, tokens: list[int]) -> bool:
        """Trust the tail for a first look only: a cut inside a character can deceive."""
        if not any(stop in tail for stop in self._stops):
            return False
        text = self._tokenizer.decode(tokens)
        return any(stop in text for stop in self._stops)
