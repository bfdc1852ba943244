"""Findings of the health checks, beside a table and below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmeval.cli.columns import wrap
from llmeval.cli.streams import BOLD, DIM, RED, paint

WARNING, ERROR = "!", "!!"
_SHOWN = 6  # kinds of findings

Finding = Mapping[str, Any]
"""As in ``summary.json``."""


def list_leaves(summary: Mapping[str, Any], name: str) -> list[str]:
    """Return the tasks of a group, those of inner groups too; a task is its own."""
    tasks, groups = summary["tasks"], summary["groups"]
    found: dict[str, None] = {}
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current in tasks:
            found[current] = None
        elif current in groups and current not in seen:  # groups may hold one another
            seen.add(current)
            waiting += groups[current]["tasks"]
    return list(found)


def mark(summary: Mapping[str, Any], tasks: Iterable[str]) -> str:
    """Return what stands in a row for the findings of some tasks: ``!``, ``!!`` for grave ones.

    A number behind it says how many there are, where there are several.
    """
    found = [f for task in tasks for f in summary["tasks"][task].get("health", ())]
    if not found:
        return ""
    sign = ERROR if any(f["severity"] == "error" for f in found) else WARNING
    return f"{sign}{len(found)}" if len(found) > 1 else sign


def list_findings(summary: Mapping[str, Any], width: int, *, color: bool = False) -> list[str]:
    """Return lines that say what was found and what to do; the same in many tasks is said once."""
    kinds = _group(summary)
    shown = kinds[:_SHOWN]
    lines = [line for kind in shown for line in _describe(kind, width, color)]
    count = sum(len(kind) for kind in kinds)
    rest = sum(len(kind) for kind in kinds[_SHOWN:])
    notes = [f"and {rest} more findings of other kinds"] if rest else []
    if rest or count > len(shown):
        notes.append("all of them with examples: `llmeval view`, or `health` in summary.json")
    for note in notes:
        lines += [paint(line, DIM, color) for line in wrap(note, width, "   ")]
    return lines


Kind = Sequence[tuple[str, Finding]]
"""Findings of one check, each with its task, the gravest first; the run has no name."""


def _group(summary: Mapping[str, Any]) -> list[Kind]:
    kinds: dict[str, list[tuple[str, Finding]]] = {}
    for finding in summary.get("health", ()):
        kinds.setdefault(finding["check"], []).append(("", finding))
    for name, task in summary["tasks"].items():
        for finding in task.get("health", ()):
            kinds.setdefault(finding["check"], []).append((name, finding))
    for kind in kinds.values():
        kind.sort(key=lambda item: (item[1]["severity"] != "error", -(item[1]["share"] or 0)))
    return sorted(kinds.values(), key=lambda kind: kind[0][1]["severity"] != "error")


def _describe(kind: Kind, width: int, color: bool) -> list[str]:
    name, worst = kind[0]
    grave = worst["severity"] == "error"
    sign = ERROR if grave else WARNING
    where = f"{name}: " if name else ""
    also = f" (the worst of {len(kind)} tasks with {worst['check']})" if len(kind) > 1 else ""
    what = wrap(f"{where}{worst['what']}{also}", width, f"{sign:2} ")
    what[0] = paint(sign, f"{BOLD};{RED}" if grave else BOLD, color) + what[0][len(sign) :]
    return what + [paint(line, DIM, color) for line in wrap(worst["mend"], width, "   -> ")]


def has_finding(summary: Mapping[str, Any], check: str | None = None) -> bool:
    """Return whether there is a finding of a check, or any."""
    kinds = {finding["check"] for kind in _group(summary) for _, finding in kind}
    return bool(kinds) if check is None else check in kinds
