"""Markdown of what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

RATE_GOAL = 1100.0  # samples/s at 64 connections
CPU_GOAL = 0.0007  # seconds a sample

Row = Mapping[str, Any]

_ORDER = ("llmeval", "llmeval-text", "lm-eval-chat", "lm-eval-completions", "inspect", "bare")


def render(found: Mapping[str, Any]) -> str:
    """Return the machine and the tables of a JSON file that ``--json`` wrote."""
    parts = [_describe_machine(found["machine"])]
    for part, (title, columns) in _PARTS.items():
        rows = [row for row in found["rows"] if row["part"] == part]
        if not rows:
            continue
        rows.sort(key=lambda row: (row["connections"], _ORDER.index(row["name"])))
        parts += [title.format(**rows[0]) + _tell_load(rows) + ":", _table(columns, rows)]
        if part == "generate":
            parts += filter(None, [_tell_goals(rows)])
    for name, reason in found.get("skipped", {}).items():
        if not any(row["name"].startswith(name) for row in found["rows"]):
            parts.append(f"{name}: skipped, {reason}.")
    return "\n\n".join(parts) + "\n"


def _describe_machine(machine: Row) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['date']}: {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB;"
        f" {versions}; the mock on {machine['loop']}, {1000 * machine['latency']:.0f} ms an answer;"
        f" rounds: {machine['repeat']}."
    )


def _tell_load(rows: Sequence[Row]) -> str:
    """Return the load average of a table's rows, each its median; the bench itself is in it."""
    loads = [row["load"] for row in rows if row["calls"]]
    return f" (load {min(loads):.1f} to {max(loads):.1f})" if loads else ""


def _table(columns: Mapping[str, Callable[[Row], str]], rows: Sequence[Row]) -> str:
    head = list(columns)
    marks = ["---", *(["---:"] * (len(head) - 1))]
    lines = [head, marks, *([_cell(make, row) for make in columns.values()] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(make: Callable[[Row], str], row: Row) -> str:
    try:
        return make(row)
    except (KeyError, TypeError):  # a figure that this contender has not
        return "-"


def _tell_goals(rows: Sequence[Row]) -> str:
    """Say how llmeval stands to its goals, which are for 64 connections and 50 ms."""
    ours = next((row for row in rows if row["name"] == "llmeval" and row["calls"]), None)
    if ours is None or ours["connections"] != 64:
        return ""
    rate, cpu = ours["n"] / ours["own_seconds"], ours["cpu_sample"]
    return (
        f"llmeval's goals at 64 connections: {rate:,.0f} of {RATE_GOAL:,.0f} samples/s"
        f" ({_verdict(rate >= RATE_GOAL)}), {1000 * cpu:.2f} of {1000 * CPU_GOAL:.2f} ms of CPU"
        f" a sample ({_verdict(cpu <= CPU_GOAL)})."
    )


def _verdict(reached: bool) -> str:
    return "reached" if reached else "NOT reached"


def _range(row: Row) -> str:
    low, high = min(row["rates"]), max(row["rates"])
    return f"{row['n'] / row['server_seconds']:,.0f} ({low:,.0f}-{high:,.0f})"


_RATES: dict[str, Callable[[Row], str]] = {
    "samples/s, its own clock": lambda row: f"{row['n'] / row['own_seconds']:,.0f}",
    "samples/s, the server's clock (range)": _range,
}
_COSTS: dict[str, Callable[[Row], str]] = {
    "CPU ms/sample": lambda row: f"{1000 * row['cpu_sample']:.2f}",
    "start-up CPU s": lambda row: f"{row['startup_cpu']:.2f}",
    "start-up s": lambda row: f"{row['startup']:.2f}",
}
_GENERATE: dict[str, Callable[[Row], str]] = {
    "harness": lambda row: row["label"],
    **_RATES,
    "samples/s, whole process": lambda row: f"{row['n'] / row['wall']:,.0f}",
    **_COSTS,
    "bytes/sample": lambda row: f"{row['bytes'] / row['n']:,.0f}",
    "peak MB": lambda row: f"{row['peak_mb']:.0f}",
    "answers agree": lambda row: row["agree"],
}
_CHOICE: dict[str, Callable[[Row], str]] = {
    "harness": lambda row: row["label"],
    "requests": lambda row: f"{row['requests']:,.0f}",
    "+ to /tokenize": lambda row: f"{row['tokenized']:,.0f}",
    "requests/s, the server's clock": lambda row: f"{row['requests'] / row['server_seconds']:,.0f}",
    **_RATES,
    "samples/s, whole process": lambda row: f"{row['n'] / row['wall']:,.0f}",
    **_COSTS,
    "bytes/sample": lambda row: f"{row['bytes'] / row['n']:,.0f}",
    "server's core": lambda row: f"{100 * row['busy']:.0f}%",
    "answers agree": lambda row: row["agree"],
}
_SWEEP: dict[str, Callable[[Row], str]] = {
    "connections": lambda row: str(row["connections"]),
    "harness": lambda row: row["label"],
    **_RATES,
    "in flight": lambda row: f"{row['in_flight']:.0f}",
    "CPU ms/sample": lambda row: f"{1000 * row['cpu_sample']:.2f}",
    "server's core": lambda row: f"{100 * row['busy']:.0f}%",
    "answers agree": lambda row: row["agree"],
}
_PARTS = {
    "generate": (
        "One letter written, {questions:,} questions, {connections} connections",
        _GENERATE,
    ),
    "choice": (
        "Log-probabilities of four letters by echo, {questions:,} questions, {connections}"
        " connections",
        _CHOICE,
    ),
    "sweep": ("More connections, {questions:,} questions of one letter", _SWEEP),
}
