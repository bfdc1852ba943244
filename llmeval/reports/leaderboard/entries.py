"""What a leaderboard reads of one run: its numbers, how they were asked for, what they took."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from llmeval.core import UsageError, fingerprint
from llmeval.reports.forms import PromptForm, read_form

_NO_SETTINGS = ("name", "fingerprint", "identity", "versions", "training")
_PATIENCE = 5.0  # seconds between a run's last figure and its record


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric of a task or group, as the run recorded it."""

    value: float | None
    stderr: float | None
    ci95: tuple[float, float] | None
    n: int
    coverage: float
    chance: float | None
    higher_is_better: bool
    aggregation: str | None
    method: str
    status: str


@dataclass(frozen=True, slots=True)
class Human:
    """What people reach on a task, and who says so."""

    value: float
    metric: str
    source: str


@dataclass(frozen=True, slots=True)
class TaskEntry:
    """A task or group of one run.

    Attributes:
        members: of a group: tasks and groups, by name; None for a task.
        n: samples.
        usd: what a task's answers cost, whenever they were given; None where no price is known.
        faults: what makes its numbers mean something else, as the health checks say.
    """

    name: str
    form: PromptForm
    metrics: Mapping[str, Measured]
    members: tuple[str, ...] | None = None
    n: int = 0
    usd: float | None = None
    human: Human | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Effort:
    """What a run took.

    Attributes:
        tokens: of the prompts and answers that the model gave; None where that is not known.
        seconds: in which the model worked; None where the last attempt does not stand for the run.
        samples: as many as the model really answered: what the journal gave does not count.
        latency: median seconds of a call to a server.
        memory: bytes at the peak: of the device where there is one, else of the process.
        parameters: of the model.
        training_seconds, learned_bytes: of a baseline that learns, over all tasks.
    """

    tokens: int | None = None
    seconds: float | None = None
    samples: float = 0.0
    latency: float | None = None
    memory: int | None = None
    parameters: int | None = None
    training_seconds: float | None = None
    learned_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A complete run.

    Attributes:
        started: as it was recorded; by it, runs of one model are older or newer.
        tasks: tasks and groups by name, groups first.
        settings: what is recorded of the model beside its name and files.
        imported: the tool whose results were imported; None for runs of llmeval.
    """

    path: Path
    run_id: str
    started: datetime.datetime
    model: str
    fingerprint: str
    is_baseline: bool
    settings: Mapping[str, Any]
    imported: str | None
    tasks: Mapping[str, TaskEntry]
    effort: Effort


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A run that is not on the board, and why."""

    name: str
    reason: str


def read_entry(path: Path) -> Entry | LeftOut:
    """Read a record; one that is not complete, or cannot be read, is left out with its reason."""
    try:
        manifest = _read_json(path / "manifest.json")
        if (status := manifest.get("status")) != "complete":
            return LeftOut(path.name, f"the run is {status}" if status else "it has no status")
        return _to_entry(path, manifest, _read_json(path / "summary.json"))
    except UsageError as error:
        return LeftOut(path.name, error.what)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        return LeftOut(path.name, f"the record is not of the form that llmeval writes: {what}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise UsageError(f"the record has no {path.name}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path.name} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path.name} is not a JSON object")
    return content


def _to_entry(path: Path, manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> Entry:
    described, options = manifest["tasks"], manifest.get("options") or {}
    tasks = {
        name: TaskEntry(
            name,
            read_form(task, described.get(name) or {}, options),
            _read_metrics(task["metrics"]),
            n=int(task["n"]),
            usd=_finite((task.get("usage") or {}).get("usd")),
            human=_read_human(described.get(name) or {}, task["metrics"]),
            faults=tuple(
                str(found["what"])
                for found in task.get("health") or ()
                if found["severity"] == "error"
            ),
        )
        for name, task in summary["tasks"].items()
    }
    groups = {
        name: TaskEntry(
            name,
            _form_of_group(group, [tasks[leaf].form for leaf in _leaves(name, summary)]),
            _read_metrics(group["metrics"]),
            tuple(group["tasks"]),
        )
        for name, group in (summary.get("groups") or {}).items()
    }
    model = manifest["model"]
    name = str(model["name"])
    return Entry(
        path=path,
        run_id=str(manifest["run_id"]),
        started=_read_time(manifest.get("started")),
        model=name,
        fingerprint=str(model["fingerprint"]),
        settings={key: value for key, value in model.items() if key not in _NO_SETTINGS},
        is_baseline=model.get("backend") == "baseline" or name.startswith("baseline:"),
        imported=(manifest.get("imported") or {}).get("tool"),
        tasks=groups | tasks,
        effort=_read_effort(manifest, summary),
    )


def _read_metrics(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Measured]:
    return {
        name: Measured(
            value=_finite(row["value"]),
            stderr=_finite(row["stderr"]),
            ci95=(float(row["ci95"][0]), float(row["ci95"][1])) if row["ci95"] else None,
            n=int(row["n"]),
            coverage=float(row["coverage"]),
            chance=_finite(row.get("chance")),
            higher_is_better=bool(row["higher_is_better"]),
            aggregation=row.get("aggregation"),
            method=str(row.get("method")),
            status=str(row.get("status")),
        )
        for name, row in metrics.items()
    }


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _read_time(text: str | None) -> datetime.datetime:
    """Return a time; a record that has none is older than all others."""
    time = datetime.datetime.fromisoformat(text) if text else datetime.datetime.min
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)


def _read_human(described: Mapping[str, Any], metrics: Iterable[str]) -> Human | None:
    """Return what the task's own file says; it is about its first metric unless it names one."""
    human = (described.get("config") or {}).get("human")
    if not isinstance(human, Mapping) or not human.get("source"):
        return None
    metric = human.get("metric") or next(iter(metrics), None)
    value = _finite(human["value"])
    return None if value is None or metric is None else Human(value, metric, str(human["source"]))


def _leaves(group: str, summary: Mapping[str, Any]) -> list[str]:
    """Return the tasks below a group, each once; groups may hold one another."""
    groups, tasks = summary["groups"], summary["tasks"]
    found: dict[str, None] = {}
    seen, waiting = {group}, [group]
    while waiting:
        for member in groups[waiting.pop()]["tasks"]:
            if member in tasks:
                found[member] = None
            elif member in groups and member not in seen:
                seen.add(member)
                waiting.append(member)
    return sorted(found)


def _form_of_group(group: Mapping[str, Any], forms: list[PromptForm]) -> PromptForm:
    """Return what a group's tasks have in common; all of their forms stand for its data."""

    def common(field: str) -> Any:
        values = {getattr(form, field) for form in forms}
        return values.pop() if len(values) == 1 else None

    data = (
        None
        if any(form.data is None for form in forms)
        else fingerprint([[form.version, form.data] for form in forms], 16)
    )
    return PromptForm(
        version=None if group.get("version") is None else str(group["version"]),
        shots=common("shots"),
        asked_as=common("asked_as"),
        chat=common("chat"),
        multiturn=common("multiturn"),
        system=common("system"),
        generation=common("generation"),
        data=data,
    )


def _read_effort(manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> Effort:
    usage, seconds = summary.get("usage") or {}, summary.get("seconds") or {}
    performance = manifest.get("performance") or {}
    parameters = manifest["model"].get("parameters")
    requests, cached = int(usage.get("requests") or 0), int(usage.get("cached") or 0)
    asked = requests - cached
    if asked <= 0 or manifest.get("imported"):
        return Effort(parameters=parameters)
    samples = sum(int(task["n"]) for task in summary["tasks"].values())
    tokens = int(usage.get("prompt_tokens") or 0) + int(usage.get("completion_tokens") or 0)
    whole = _is_one_attempt(manifest, seconds)
    return Effort(
        tokens=tokens or None,
        seconds=_finite(seconds.get("model")) or None if whole else None,
        samples=samples * asked / requests,
        latency=((performance.get("traffic") or {}).get("latency_seconds") or {}).get("p50"),
        memory=_read_memory(performance),
        parameters=parameters,
        training_seconds=_add_up(performance, "seconds"),
        learned_bytes=_add_up(performance, "bytes"),
    )


def _add_up(performance: Mapping[str, Any], figure: str) -> Any:
    """Return what learning took over all tasks; None for what learns nothing."""
    lessons = (performance.get("training") or {}).values()
    return sum(lesson.get(figure) or 0 for lesson in lessons) or None


def _is_one_attempt(manifest: Mapping[str, Any], seconds: Mapping[str, Any]) -> bool:
    """Whether the run was never resumed: its seconds are those of the last attempt alone."""
    took = _read_time(manifest.get("written")) - _read_time(manifest.get("started"))
    return took.total_seconds() <= float(seconds.get("total") or 0) + _PATIENCE


def _read_memory(performance: Mapping[str, Any]) -> int | None:
    memory = performance.get("peak_memory") or {}
    return memory.get("device") or memory.get("host")
