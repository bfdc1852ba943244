"""Where a completion ends."""

from __future__ import annotations

from collections.abc import Sequence


def cut_at_stops(text: str, stops: Sequence[str]) -> str:
    """Return the text before the first stop string, one stop string after the other as lm-eval."""
    for stop in stops:
        if stop:
            text = text.partition(stop)[0]
    return text
