"""The tasks and groups of a run in the order in which a table shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """A task or a group.

    Args:
        about: what ``summary.json`` says of it.
        root: the top-level group above it, None for what stands at the top itself.
        depth: how many groups stand above it.
    """

    name: str
    about: Mapping[str, Any]
    is_group: bool
    root: str | None
    depth: int


def outline(summary: Mapping[str, Any]) -> list[Entry]:
    """Return groups, each with what is in it, and the tasks of no group; everything once."""
    tasks, groups = summary["tasks"], summary["groups"]
    seen: set[str] = set()

    def walk(name: str, root: str | None, depth: int) -> Iterator[Entry]:
        if name in seen or (name not in groups and name not in tasks):
            return
        seen.add(name)
        is_group = name in groups
        about = groups[name] if is_group else tasks[name]
        if about["metrics"]:
            yield Entry(name, about, is_group, root, depth)
            root, depth = root or name, depth + 1
        if is_group:  # inner groups first: they sum up what comes after them
            for member in sorted(about["tasks"], key=lambda member: member not in groups):
                yield from walk(member, root, depth)

    inner = {member for group in groups.values() for member in group["tasks"]}
    tops = [name for name in [*groups, *tasks] if name not in inner]
    # Then all others: groups that hold one another have no top.
    return [entry for name in [*tops, *groups, *tasks] for entry in walk(name, None, 0)]
