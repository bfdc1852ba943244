"""What a right answer may be wrapped in: each repair takes one wrapping off."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

Repair = Callable[[str], str | None]
"""From an answer to what is in it; None where that wrapping is not there."""

_FENCE = re.compile(r"```[\w+#.-]*[ \t]*\n?(.*?)(?:```|\Z)", re.DOTALL)
_THOUGHT_END = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_EMPHASIS = re.compile(r"(\*\*|__|\*|(?<!`)`)(?![\s`])(.+?)(?<![\s`])\1(?!`)", re.DOTALL)
_HEADING = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]?|[-*+][ \t]+)", re.MULTILINE)
_BOXED = re.compile(r"\\(?:boxed|fbox|text|mathrm)\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_ANSWER = r"(?:final\s+answer|answer|antwort|réponse|respuesta|resposta|risposta|ответ|答案|答え)"
_IS = "(?:(?:is|ist|est|es|è|é)\\b|[\u662f\u306f:=\uff1a])"
_PHRASE = re.compile(rf"{_ANSWER}\s*(?:{_IS}\s*)+(.+)", re.IGNORECASE)
_TAGS = re.compile(r"<(answer|final|result|response)>(.*?)(?:</\1>|\Z)", re.IGNORECASE | re.DOTALL)
_OPENING = re.compile(
    r"\A(?:sure|certainly|of course|okay|ok|here)\b[^\n]*[:!.\n]\s*", re.IGNORECASE
)
_THOUSANDS = re.compile("(?<=\\d)[,\u202f\u00a0'](?=\\d{3}\\b)")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_SHORT = 60  # characters of an answer that can be said in other words
_SAID = "The answer is {0}.\n#### {0}"
_QUOTES = "\"'`\u201c\u201d\u2018\u2019\u00ab\u00bb"
_ANSWER_KEYS = ("answer", "final_answer", "result", "response", "output", "choice", "label")


def _fences(text: str) -> str | None:
    blocks = _FENCE.findall(text)
    return blocks[-1] if blocks else None


def _all_fences(text: str) -> str | None:
    blocks = _FENCE.findall(text)
    return "\n".join(blocks) if len(blocks) > 1 else None


def _thought(text: str) -> str | None:
    ends = list(_THOUGHT_END.finditer(text))
    return text[ends[-1].end() :].lstrip() if ends else None


def _emphasis(text: str) -> str:
    return _HEADING.sub("", _EMPHASIS.sub(r"\2", text))


def _opening(text: str) -> str:
    return _OPENING.sub("", text.lstrip())


def _boxed(text: str) -> str | None:
    found = _BOXED.findall(text)
    return found[-1].strip() if found else None


def _phrase(text: str) -> str | None:
    found = _PHRASE.findall(text)
    return found[-1].strip().rstrip(".。!") if found else None


def _tags(text: str) -> str | None:
    found = _TAGS.findall(text)
    return found[-1][1].strip() if found else None


def _json(text: str) -> str | None:
    start, end = text.find("{"), text.rfind("}")
    try:
        value = json.loads(text[start : end + 1])
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    lowered = {str(key).lower(): inner for key, inner in value.items()}
    found = next((lowered[key] for key in _ANSWER_KEYS if key in lowered), None)
    return str(found) if isinstance(found, str | int | float) else None


def _last_line(text: str) -> str | None:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if len(lines) > 1 else None


def _first_line(text: str) -> str | None:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if len(lines) > 1 else None


def _numbers(text: str) -> str:
    return _THOUSANDS.sub("", text)


def _bare(text: str) -> str:
    return text.strip().strip(_QUOTES).rstrip(".。").strip(_QUOTES)


CLEANERS: dict[str, Repair] = {
    "a thought before it": _thought,
    "code fences": _fences,
    "several code fences": _all_fences,
    "Markdown": _emphasis,
    "a polite opening": _opening,
    "thousands separators": _numbers,
}
"""Wrappings that may stand around any other."""

FINDERS: dict[str, Repair] = {
    "a box": _boxed,
    "tags": _tags,
    "JSON": _json,
    "a phrase such as 'the answer is'": _phrase,
    "text before the last line": _last_line,
    "text after the first line": _first_line,
    "quotes or a full stop": _bare,
}
"""Places where the answer itself may stand."""


def unwrap(text: str) -> Iterator[tuple[str, str]]:
    """Yield what may be in an answer, each text once: the name of the wrapping, and the rest.

    One wrapping at a time first, then finders in what all cleaners leave; at last a short answer
    that was found, in the words that tasks look for.
    """
    seen = {text.strip(), ""}
    found: list[str] = []
    clean, taken = text, list[str]()
    for name, repair in CLEANERS.items():
        yield from _new(name, repair(text), seen)
        rest = repair(clean)
        if rest is not None and rest.strip() != clean.strip():
            clean = rest
            taken.append(name)
    for name, repair in FINDERS.items():
        yield from _new(name, repair(text), seen)
    yield from _new(" and ".join(taken), clean, seen)
    for name, repair in FINDERS.items():
        inner = repair(clean)
        found += [inner] if inner is not None else []
        yield from _new(" and ".join([*taken, name]), inner, seen)
    found += _NUMBER.findall(clean)[-1:]
    for answer in dict.fromkeys(one.strip() for one in found):
        if answer and len(answer) <= _SHORT:
            yield from _new("other words around it", _SAID.format(answer), seen)


def _new(name: str, text: str | None, seen: set[str]) -> Iterator[tuple[str, str]]:
    if text is not None and text.strip() not in seen:
        seen.add(text.strip())
        yield name, text
