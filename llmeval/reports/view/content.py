"""What a run's page says before its samples: head, table, findings, what it took."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from llmeval.reports.formats import (
    format_interval,
    format_seconds,
    format_share,
    format_usd,
    format_value,
)
from llmeval.reports.outline import Entry, outline
from llmeval.reports.page.plots import interval_bar
from llmeval.runs import Run

Cell = Any
"""A cell as ``macros.html`` takes it: a text, or a mapping with ``text``, ``sort``, ``class``."""

_REASONS_SHOWN = 3


def describe_run(run: Run) -> dict[str, Any]:
    """Return what the head of a page says: ``name``, ``id``, ``status``, ``facts``, ``details``."""
    manifest, summary = run.manifest, run.summary
    model = manifest.get("model", {})
    environment = manifest.get("environment", {})
    return {
        "id": run.id,
        "name": summary["model"]["name"],
        "status": summary["status"],
        "facts": [
            ("when", _when(manifest.get("started"))),
            ("record", run.id),
            ("size", _parameters(model.get("parameters"))),
            ("computed on", _computer(model)),
            *_cost(summary),
        ],
        "details": [
            ("command", _command(manifest.get("command"))),
            ("code", _code(environment.get("code"))),
            ("model fingerprint", summary["model"].get("fingerprint")),
            ("python", environment.get("python")),
            ("machine", _machine(environment)),
            ("packages", _packages(environment.get("packages"))),
        ],
        "options": [(key, _option(value)) for key, value in _set_options(manifest)],
    }


def label_runs(runs: Sequence[Run]) -> list[str]:
    """Return the models' names; with the runs' ids where two are the same."""
    names = [str(run.summary["model"]["name"]) for run in runs]
    return [
        name if names.count(name) == 1 else f"{name} ({run.id})"
        for name, run in zip(names, runs, strict=True)
    ]


def _when(started: str | None) -> str | None:
    if not started:
        return None
    try:
        return f"{datetime.fromisoformat(started):%d %B %Y, %H:%M %Z}"
    except ValueError:
        return started


def _parameters(count: Any) -> str | None:
    if not isinstance(count, int):
        return None
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g}{unit} parameters"
    return f"{count} parameters"


def _computer(model: Mapping[str, Any]) -> str | None:
    parts = [model.get("device"), model.get("dtype")]
    return ", ".join(str(part) for part in parts if part) or None


def _cost(summary: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    usage, seconds = summary.get("usage", {}), summary.get("seconds", {})
    yield "took", format_seconds(seconds.get("total"))
    questions = f"{usage.get('requests', 0):,}"
    if cached := usage.get("cached"):
        questions += f", {cached:,} of them repeated or from the journal"
    yield "questions", questions
    if tokens := usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0):
        yield "tokens", f"{tokens:,}, {usage.get('completion_tokens', 0):,} of them generated"
    yield "cost", format_usd(usage["usd"]) if usage.get("usd") is not None else None


def _command(words: Any) -> str | None:
    return shlex.join(["llmeval", "run", *map(str, words)]) if isinstance(words, list) else None


def _code(code: Mapping[str, Any] | None) -> str | None:
    if not code or not code.get("revision"):
        return None
    return f"{code['revision'][:12]}{', with changes of its own' if code.get('dirty') else ''}"


def _machine(environment: Mapping[str, Any]) -> str | None:
    parts = [
        environment.get("platform"),
        f"{environment['cpus']} CPUs" if "cpus" in environment else None,
    ]
    return ", ".join(str(part) for part in parts if part) or None


def _packages(packages: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name} {version}" for name, version in (packages or {}).items())


def _set_options(manifest: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the options that say something: those that are not empty or off."""
    for key, value in manifest.get("options", {}).items():
        if value not in (None, False, "", {}, []):
            yield key, value


def _option(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={one}" for key, one in value.items())
    return str(value)


# -- the table of results --------------------------------------------------------------------------

RESULTS_HEAD: list[Cell] = [
    "task",
    "metric",
    {"text": "value", "class": "num"},
    {"text": "0 to 1", "class": "bar", "sort": "none"},
    {"text": "95% interval", "class": "num", "sort": "none"},
    {"text": "n", "class": "num"},
    {"text": "scored", "class": "num"},
    {"text": "chance", "class": "num"},
    {"text": "shots", "class": "num"},
]


def list_results(summary: Mapping[str, Any]) -> list[list[Cell]]:
    """Return the rows of the table of results, a row for each task or group and metric."""
    return [
        _result(entry, name, metric, first=i == 0)
        for entry in outline(summary)
        for i, (name, metric) in enumerate(entry.about["metrics"].items())
    ]


def _result(entry: Entry, name: str, metric: Mapping[str, Any], *, first: bool) -> list[Cell]:
    value, interval, chance = metric["value"], metric["ci95"], metric["chance"]
    shots, coverage = entry.about.get("num_fewshot"), metric["coverage"]
    classes = [
        f"in-{min(entry.depth, 3)}" if entry.depth else "",
        "strong" if entry.is_group else "",
    ]
    classes.append("" if first else "again")
    form = f" (asked as {entry.about['form']})" if entry.about.get("form") else ""
    return [
        {"text": f"{entry.name}{form}", "class": " ".join(filter(None, classes))},
        f"{name} {'↑' if metric['higher_is_better'] else '↓'}",
        number_cell(value, format_value(value), "num strong"),
        {"text": _bar(value, interval, chance), "class": "bar"},
        {"text": format_interval(interval), "class": "num", "title": metric.get("method") or ""},
        number_cell(metric["n"], f"{metric['n']:,}"),
        number_cell(coverage, format_share(coverage), "num" if coverage >= 1 else "num bad"),
        number_cell(chance, "" if chance is None else format_value(chance), "num quiet"),
        number_cell(shots, "" if shots is None else str(shots), "num quiet"),
    ]


def number_cell(value: float | None, text: str, name: str = "num") -> Cell:
    """Return a cell that shows a text and is sorted by its number; None stays at the end."""
    return {"text": text, "sort": "" if value is None else value, "class": name}


def _bar(value: float | None, interval: Any, chance: float | None) -> Any:
    """Draw shares; what lies outside [0, 1] has no scale in common with its neighbours."""
    bounds = [b for b in (value, *(interval or ())) if b is not None]
    if not bounds or min(bounds) < 0 or max(bounds) > 1:
        return ""
    low, high = interval or (None, None)
    return interval_bar(value, low, high, mark=chance)


# -- findings --------------------------------------------------------------------------------------


def list_findings(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what health checks found, errors first, each with the ``task`` it is about."""
    found = [{**one, "task": None} for one in summary.get("health") or ()]
    for name, task in summary["tasks"].items():
        found += [{**one, "task": name} for one in task.get("health") or ()]
    return sorted(found, key=lambda one: one.get("severity") != "error")


def list_notes(summary: Mapping[str, Any]) -> list[str]:
    """Return what else a reader must know of the numbers: what was not scored, and why."""
    notes = []
    for name, task in summary["tasks"].items():
        for metric, about in task["metrics"].items():
            if reasons := about.get("not_scored"):
                most = sorted(reasons.items(), key=lambda item: -item[1])[:_REASONS_SHOWN]
                told = "; ".join(f"{reason} ({count:,})" for reason, count in most)
                lost = sum(reasons.values())
                notes.append(f"{name}, {metric}: {lost:,} of {task['n']:,} not scored: {told}")
    if any("health" in task for task in summary["tasks"].values()):
        return notes  # the checks tell of cut prompts and answers, and of whose they are
    usage = summary.get("usage", {})
    if count := usage.get("truncated"):
        notes.append(f"{count:,} prompts were too long for the model and were cut from the left")
    if count := usage.get("cut"):
        notes.append(f"{count:,} answers ended at the token limit")
    return notes
