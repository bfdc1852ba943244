"""Markdown of what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def render(found: Mapping[str, Any]) -> str:
    """Return the machine and the tables of a JSON file that ``--json`` wrote."""
    parts = [_describe_machine(found["machine"])]
    if found["models"]:
        parts.append(_describe_models(found["models"]))
    rows = found["rows"]
    evaluations = [row for row in rows if "floor" in row]
    if evaluations:
        parts.append("Speed, model already loaded (ratios: lm-eval / llmeval):")
        parts.append(_table(_SPEED, evaluations))
        parts.append("Resources, and how far from the floor:")
        parts.append(_table(_RESOURCES, evaluations))
    processes = [row for row in rows if "floor" not in row]
    if processes:
        parts.append("Whole processes of the two command lines:")
        parts.append(_table(_PROCESSES, processes))
    return "\n\n".join(parts) + "\n"


def _describe_machine(machine: Mapping[str, Any]) -> str:
    return (
        f"{machine['date']}: {machine['cpu']}, {machine['cores']} cores, {machine['threads']}"
        f" threads used, {machine['memory_gb']} GB; Python {machine['python']},"
        f" torch {machine['torch']}, transformers {machine['transformers']},"
        f" lm-eval {machine['lm_eval']}; load at the start {machine['load']}."
    )


def _describe_models(models: Mapping[str, Mapping[str, Any]]) -> str:
    head = ["model", "parameters", "MFLOP a token", "+ a row seen (kFLOP)", "+ head (MFLOP)"]
    rows = [
        [
            label,
            f"{costs['parameters'] / 1e6:.1f} M",
            f"{costs['body'] / 1e6:.1f}",
            f"{costs['attention'] / 1e3:.1f}",
            f"{costs['head'] / 1e6:.1f}",
            "; ".join(f"{shape} {rate:.0f}" for shape, rate in costs["gflops"].items()),
        ]
        for label, costs in models.items()
    ]
    return _lines([*head, "matrix product (GFLOP/s)"], rows)


def _table(columns: Mapping[str, Any], rows: Sequence[Row]) -> str:
    return _lines(list(columns), [[make(row) for make in columns.values()] for row in rows])


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    marks = ["---", *(["---:"] * (len(head) - 1))]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, marks, *rows))


def _ratio(row: Row, *path: str) -> float:
    one, other = row["lm_eval"], row["llmeval"]
    for key in path:
        one, other = one[key], other[key]
    return float(one / other)


def _pair(row: Row, *path: str, form: str = ".1f") -> str:
    one, other = row["lm_eval"], row["llmeval"]
    for key in path:
        one, other = one[key], other[key]
    return f"{one:{form}} / {other:{form}}"


def _efficiency(row: Row) -> str:
    return f"{_ratio(row, 'wall') / _ratio(row, 'tokens'):.2f}"


def _questions(row: Row) -> str:
    limit = f"first {row['limit']} of each task" if row["limit"] else "whole"
    tasks = ", ".join(row["tasks"]) if row["work"].startswith("mmlu") else ""
    return f"{row['about']} ({', '.join(filter(None, (tasks, limit)))})"


def _rate(row: Row, seconds: float) -> str:
    return f"{100 * row['floor']['seconds'] / seconds:.0f}%" if seconds else "-"


_NAMES = {
    "model": lambda row: row["model"],
    "work": _questions,
}
_SPEED = {
    **_NAMES,
    "batch": lambda row: str(row["batch_size"]),
    "wall s, lm-eval / llmeval": lambda row: _pair(row, "wall"),
    "ratio": lambda row: f"**{_ratio(row, 'wall'):.2f}**",
    "ratio, tasks loaded": lambda row: f"{_ratio(row, 'loaded_wall'):.2f}",
    "tokens, lm-eval / llmeval": lambda row: _pair(row, "tokens", form=",d"),
    "token ratio": lambda row: f"{_ratio(row, 'tokens'):.2f}",
    "speed / tokens": _efficiency,
    "answers agree": lambda row: row["agree"],
}
_RESOURCES = {
    **_NAMES,
    "CPU s": lambda row: _pair(row, "cpu"),
    "peak MB": lambda row: _pair(row, "memory", form=".0f"),
    "whole process s": lambda row: _pair(row, "process", "wall"),
    "process ratio": lambda row: f"{_ratio(row, 'process', 'wall'):.2f}",
    "computed / distinct": lambda row: f"{row['llmeval']['tokens'] / row['floor']['tokens']:.3f}",
    "floor s": lambda row: f"{row['floor']['seconds']:.2f}",
    "llmeval's model s": lambda row: f"{row['llmeval']['seconds']['model']:.2f}",
    "of the matrix rate": lambda row: _rate(row, row["llmeval"]["seconds"]["model"]),
    "of it by wall": lambda row: _rate(row, row["llmeval"]["wall"]),
}
_PROCESSES = {
    **_NAMES,
    "wall s, lm-eval / llmeval": lambda row: _pair(row, "process", "wall"),
    "ratio": lambda row: f"**{_ratio(row, 'process', 'wall'):.2f}**",
    "CPU s": lambda row: _pair(row, "process", "cpu"),
    "peak MB": lambda row: _pair(row, "process", "memory", form=".0f"),
    "answers agree": lambda row: row["agree"],
}
