"""Foreign text where it is shown: on one line, with nothing hidden in it."""

from __future__ import annotations


def one_line(text: str) -> str:
    """Return ``text`` as one line without control characters, which foreign names may hold."""
    joined = " ".join(part.strip() for part in text.splitlines() if part.strip())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in joined)
