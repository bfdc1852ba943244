"""Foreign text in a page: what would be unseen, or would turn its neighbours around."""

from __future__ import annotations

import re
from typing import Any

# C0 and C1 (without tab, line feed, carriage return), separators of lines, bidirectional controls.
_UNSEEN = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def show_controls(value: Any) -> Any:
    """Return a text with its control characters spelled out; anything else as it is."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    spelled = _UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", value)
    return _SURROGATE.sub("\ufffd", spelled)
