"""How numbers are written in every report, on terminals and pages alike."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from llmeval.core.text import one_line

_MARKUP = re.compile(r"[\\`*_\[\]<>|~#$&]")

NONE = "none"
UNKNOWN = "unknown"
ALL = "100%"


def format_value(value: float | None) -> str:
    """Return a metric's value with three digits; ``none`` where nothing was measured."""
    if value is None:
        return NONE
    if value != 0 and abs(value) < 0.0005:
        return f"{value:.1e}"
    if abs(value) >= 1e7:
        return f"{value:.1e}"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"


def format_difference(value: float | None) -> str:
    """Return a difference with its sign."""
    if value is None:
        return NONE
    return ("+" if value > 0 else "") + format_value(value)


def format_interval(interval: Sequence[float] | None, *, signed: bool = False) -> str:
    """Return ``low … high``; ``unknown`` where no interval can be told."""
    if not interval:
        return UNKNOWN
    write = format_difference if signed else format_value
    return f"{write(interval[0])} … {write(interval[1])}"


def format_pvalue(p: float | None) -> str:
    """Return a p-value; ``not estimable`` where there is none."""
    if p is None:
        return "not estimable"
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}" if p >= 1e-99 else "< 1e-99"


def format_share(coverage: float) -> str:
    """Return a share in percent, rounded down: only all is 100%."""
    return ALL if coverage >= 1 else f"{math.floor(coverage * 1000) / 10:.1f}%"


def format_usd(usd: float | None) -> str:
    """Return dollars; ``unknown`` where no price is known."""
    if usd is None:
        return UNKNOWN
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.4f}"


def format_seconds(seconds: float | None) -> str:
    """Return a duration in the unit in which people say it."""
    if seconds is None:
        return UNKNOWN
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def format_bytes(count: float | None) -> str:
    """Return a size with its unit."""
    if count is None:
        return UNKNOWN
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def to_markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table: the first column to the left, the others to the right."""
    rule = "| " + " | ".join([":--", *["--:"] * (len(head) - 1)]) + " |"
    first, *rest = ["| " + " | ".join(map(escape_markdown, line)) + " |" for line in [head, *rows]]
    return "\n".join([first, rule, *rest])


def escape_markdown(text: str) -> str:
    """Return ``text`` as plain words on one line: a foreign name is no markup and ends no cell."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(one_line(text).split()))


def code_span(text: str) -> str:
    """Return ``text`` as Markdown code on one line: no markup, no link, nobody is mentioned."""
    text = one_line(text)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if not text.strip("`") or text[0] in "` " or text[-1] in "` " else ""
    return f"{fence}{space}{text}{space}{fence}"


def some_of(names: Iterable[str], most: int = 5) -> str:
    """Return the first of many names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more if listed else "none"
