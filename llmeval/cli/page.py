"""Where text goes: how wide it may be, and whether in color."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from llmeval.cli.columns import crop, width_of
from llmeval.cli.streams import one_line

_NARROWEST = 40


@dataclass(frozen=True, slots=True)
class Page:
    """A terminal, a file or a pipe."""

    width: int
    color: bool

    def wrap(self, text: str) -> list[str]:
        """Return a sentence in lines that fit, all but the first indented."""
        width = max(self.width, _NARROWEST)
        return textwrap.wrap(one_line(text), width, subsequent_indent="  ")

    def crop(self, text: str, taken: int = 0) -> str:
        """Return the beginning of a text on one line, beside ``taken`` columns."""
        return crop(one_line(text), max(self.width, _NARROWEST) - taken)

    def crop_left(self, text: str, taken: int = 0) -> str:
        """Return the end of a text on one line, beside ``taken`` columns."""
        text, width = one_line(text), max(self.width, _NARROWEST) - taken
        if width_of(text) <= width:
            return text
        while width_of(text) >= width:
            text = text[max(1, (width_of(text) - width) // 2) :]
        return f"…{text}"
