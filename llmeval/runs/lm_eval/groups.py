"""lm-eval's groups: their members, and how they weight them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmeval.core import Estimate, GroupMetric, TaskGroup
from llmeval.runs.lm_eval.numbers import Recorded, is_close, read_numbers


def list_groups(
    content: Mapping[str, Any], estimates: Mapping[str, Mapping[str, Estimate]]
) -> list[TaskGroup]:
    """Return the groups of results, each with the metrics that it reports."""
    subtasks: Mapping[str, Sequence[str]] = content.get("group_subtasks") or {}
    groups = []
    for name, members in subtasks.items():
        if not members or name in estimates:
            continue
        leaves = _find_leaves(name, subtasks, estimates)
        numbers = read_numbers(content["results"].get(name) or {}, 0)
        metrics = [
            GroupMetric(key, _is_by_size(key, number, leaves, estimates))
            for key, number in numbers.items()
        ]
        version = (content.get("versions") or {}).get(name)
        groups.append(
            TaskGroup(
                name,
                tuple(members),
                tuple(leaves),
                tuple(metrics),
                None if version in (None, "N/A") else str(version),
            )
        )
    return groups


def _find_leaves(
    group: str, subtasks: Mapping[str, Sequence[str]], tasks: Mapping[str, Any]
) -> list[str]:
    found: dict[str, None] = {}
    seen: set[str] = set()
    waiting = [group]
    while waiting:
        name = waiting.pop(0)
        if name in tasks:
            found[name] = None
        elif name not in seen:
            seen.add(name)
            waiting += subtasks.get(name, ())
    return list(found)


def _is_by_size(
    key: str,
    number: Recorded,
    leaves: Sequence[str],
    estimates: Mapping[str, Mapping[str, Estimate]],
) -> bool:
    """Tell from the numbers whether a group weights its tasks by size: lm-eval does not say."""
    parts = [estimates[leaf][key] for leaf in leaves if key in estimates[leaf]]
    values = [part.value for part in parts if part.value is not None]
    if number.value is None or not values or len(values) < len(parts):
        return True
    return not is_close(sum(values) / len(values), number.value) or is_close(
        sum(part.n * value for part, value in zip(parts, values, strict=True))
        / (sum(part.n for part in parts) or 1),
        number.value,
    )


def correct_group(group: dict[str, Any], recorded: Mapping[str, Recorded]) -> None:
    """Take a group's number as it was reported where pooling its tasks gives another."""
    for key, metric in group["metrics"].items():
        number = recorded[key]
        if number.value is None or (
            metric["value"] is not None and is_close(metric["value"], number.value)
        ):
            continue
        found = number.estimate()
        metric |= {
            "value": found.value,
            "stderr": found.stderr,
            "ci95": list(found.ci95) if found.ci95 else None,
            "method": found.method,
            "status": found.status,
            "aggregation": "unknown",
        }
