"""``llmeval runs diff``: what differs between two runs, side by side."""

from __future__ import annotations

import json
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmeval.cli.columns import GAP, pad, print_lines, terminal_width, width_of
from llmeval.cli.streams import BOLD, has_color, one_line, paint
from llmeval.core.errors import GateFailed
from llmeval.runs.difference import ABSENT, GROUPS, Difference, diff_runs
from llmeval.runs.find import find_run

_LONGEST = 160  # letters of a value
_BEFORE_CHANGE = 40  # of them before the first letter that differs
_WIDEST_NAME = 48
_MOST_LINES = 40  # of a group


def main(arguments: Namespace) -> int:
    before = find_run(arguments.before, arguments.out)
    after = find_run(arguments.after, arguments.out)
    found = diff_runs(before, after)
    if arguments.json:
        both = {"before": before.path.name, "after": after.path.name}
        print(json.dumps(both | {"differences": [d.to_plain() for d in found]}, indent=2))
    elif found:
        print(one_line(f"{before.path.name}  against  {after.path.name}"))
        print_differences(found)
    else:
        print(one_line(f"{before.path.name} and {after.path.name} do not differ"))
    return GateFailed.exit_code if found else 0


def print_differences(found: Sequence[Difference]) -> None:
    """Print differences by group: names with both values beside, or below where they are long."""
    stream = sys.stdout
    for group in GROUPS:
        inside = [one for one in found if one.group == group]
        if not inside:
            continue
        lines = ["", paint(group, BOLD, has_color(stream))]
        lines += _table(inside[:_MOST_LINES], terminal_width(stream))
        if more := len(inside) - _MOST_LINES:
            lines += [f"  and {more} more (--json has them all)"] if more > 0 else []
        print_lines(lines, stream)


def _table(found: Sequence[Difference], width: int) -> list[str]:
    cells = [(one_line(one.name), *_write_both(one)) for one in found]
    names = max(min(width_of(name), _WIDEST_NAME) for name, *_ in cells)
    room = (width - names - 3 * len(GAP)) // 2
    beside = max((width_of(old) for _, old, _ in cells if width_of(old) <= room), default=0)
    return [line for row in cells for line in _row(*row, names, beside, room)]


def _row(name: str, old: str, new: str, names: int, beside: int, room: int) -> Iterator[str]:
    if max(width_of(old), width_of(new)) <= room and width_of(name) <= names:
        yield GAP.join(["", pad(name, names), pad(old, beside), new]).rstrip()
        return
    yield f"  {name}"
    yield f"    - {old}"
    yield f"    + {new}"


def _write_both(one: Difference) -> tuple[str, str]:
    """Return both values, of long ones the part where they begin to differ."""
    old, new = _write(one.name, one.before), _write(one.name, one.after)
    same = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), 0)
    start = max(0, same - _BEFORE_CHANGE) if max(len(old), len(new)) > _LONGEST else 0
    return _cut(old, start), _cut(new, start)


def _write(name: str, value: Any) -> str:
    if value is ABSENT:
        return "absent"
    if isinstance(value, Mapping):
        return f"({len(value)} values)" if value else "{}"
    if name == "command" and isinstance(value, list):
        return one_line(shlex.join(map(str, value)))
    if isinstance(value, str) and value and value == value.strip():
        return one_line(value.replace("\n", "\\n"))
    return one_line(json.dumps(value, ensure_ascii=False))


def _cut(text: str, start: int) -> str:
    end = start + _LONGEST
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"
