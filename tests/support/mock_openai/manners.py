"""How a chat says what it is ordered to say: as it is, or as a model that drifted would."""

from __future__ import annotations

from zlib import crc32

from .language import mix
from .options import Options

_REFUSAL = "I'm sorry, but I can't help with that request."
_RAMBLING = "Let us think about this step by step and consider every choice with great care. "


def in_manner(text: str, prompt: str, ident: str, options: Options) -> str:
    """Return what is said instead of a text; the share of prompts depends on the prompts alone.

    ``flaky`` alone depends on the number of the answer: the same question gets other answers.
    """
    flaky = options.manner == "flaky"
    chance = mix(crc32((ident if flaky else prompt).encode())) / 2**64
    if options.manner == "plain" or chance >= options.manner_share:
        return text
    match options.manner:
        case "refuses":
            return _REFUSAL
        case "fences":
            return f"Here is the solution:\n\n```python\n{text}\n```\n\nIt does what was asked."
        case "bold":
            return f"Let me think. In the end it is this one:\n\n**{text}**"
        case "rambles":
            return _RAMBLING * 40 + text
        case "letter-a":
            return "A"
    return _other(text)  # wrong, flaky


def _other(text: str) -> str:
    """Return another letter, or a text that nothing asks for."""
    letters = "ABCD"
    return letters[(letters.index(text) + 1) % 4] if text in letters else "pass"
