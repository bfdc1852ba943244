"""What differs between two run records, by what it belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmeval.runs.load import Run

OPTIONS = "command and options"
MODEL = "model"
TASKS = "tasks and data"
PACKAGES = "packages"
CODE = "code"
MACHINE = "machine"
RESULTS = "results"
GROUPS = (OPTIONS, MODEL, TASKS, PACKAGES, CODE, MACHINE, RESULTS)

_OPTION_KEYS = ("command", "options", "window", "limits", "sandbox")
_REQUEST_KEYS = ("data", "allow_unsafe_code", "batch")
_MACHINE_KEYS = ("python", "platform", "machine", "cpus", "variables")
_METRIC_KEYS = ("value", "n", "coverage")


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()
"""Stands for a value that a record does not have, which is not the same as null."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that two records say differently.

    Args:
        group: what it belongs to, of ``GROUPS``.
        name: where it stands, with dots: ``tasks.arc_easy.version``.
        before, after: as JSON data; ``ABSENT`` where a record does not say.
    """

    group: str
    name: str
    before: Any
    after: Any

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON data; what is absent is left out."""
        sides = {"before": self.before, "after": self.after}
        said = {side: value for side, value in sides.items() if value is not ABSENT}
        return {"group": self.group, "name": self.name, **said}


def diff_runs(before: Run, after: Run) -> list[Difference]:
    """Return what differs, group by group. Ids, times and speed differ always and are left out.

    Raises:
        UsageError: a record cannot be read.
    """
    return [
        *diff_manifests(before.manifest, after.manifest),
        *diff_results(_summary(before), _summary(after)),
    ]


def _summary(run: Run) -> Mapping[str, Any]:
    """Return a run's summary; a killed run has none."""
    return run.summary if (run.path / "summary.json").exists() else {}


def diff_manifests(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Return what two manifests say differently about what was asked, of whom, with what."""
    old, new = _sections(before), _sections(after)
    return [
        Difference(group, name, *values)
        for group in old
        for name, *values in _walk(old[group], new[group], "")
    ]


def diff_results(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Return the numbers of two summaries that are not equal to the last bit."""
    found = _walk(_numbers(before), _numbers(after), "")
    return [Difference(RESULTS, name, *values) for name, *values in found]


def _sections(manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Sort what a manifest says into groups, each thing once."""
    environment = _mapping(manifest.get("environment"))
    request = _mapping(manifest.get("request"))
    model = dict(_mapping(manifest.get("model")))
    versions = _mapping(model.pop("versions", None))
    return {
        OPTIONS: _pick(manifest, _OPTION_KEYS) | _pick(request, _REQUEST_KEYS),
        MODEL: model,
        TASKS: _tasks(manifest) | _pick(manifest, ("groups",)),
        PACKAGES: {**versions, **_mapping(environment.get("packages"))},
        CODE: _pick(environment, ("code", "workspace")),
        MACHINE: _pick(environment, _MACHINE_KEYS),
    }


def _tasks(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tasks, with what stands in lists of objects (their data sets) by number."""
    return {name: _unlist(task) for name, task in _mapping(manifest.get("tasks")).items()}


def _unlist(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _unlist(inner) for key, inner in value.items()}
    if isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
        return {str(i): _unlist(inner) for i, inner in enumerate(value)}
    return value


def _numbers(summary: Mapping[str, Any]) -> dict[str, Any]:
    entries = {**_mapping(summary.get("groups")), **_mapping(summary.get("tasks"))}
    numbers: dict[str, Any] = _pick(summary, ("status",))
    for name, entry in entries.items():
        metrics = _mapping(_mapping(entry).get("metrics"))
        numbers[name] = {key: _pick(_mapping(m), _METRIC_KEYS) for key, m in metrics.items()}
    return numbers


def _walk(before: Any, after: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the paths of what differs, with both values, in the order of the first record."""
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        if before != after:
            yield name, before, after
        return
    for key in dict.fromkeys([*before, *after]):
        inner = f"{name}.{key}" if name else str(key)
        yield from _walk(before.get(key, ABSENT), after.get(key, ABSENT), inner)


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return a value that ought to be an object; a foreign manifest may hold anything."""
    return value if isinstance(value, Mapping) else {}


def _pick(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}
