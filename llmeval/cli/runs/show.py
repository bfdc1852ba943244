"""``llmeval runs show``: what a run was, in words, and its results."""

from __future__ import annotations

import json
import shlex
import sys
import textwrap
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from llmeval.cli.columns import print_lines, print_table, terminal_width
from llmeval.cli.streams import one_line
from llmeval.core.errors import UsageError
from llmeval.home import find_workspace
from llmeval.reports.formats import format_seconds
from llmeval.runs import Run
from llmeval.runs.find import find_run
from llmeval.runs.lock import is_running
from llmeval.runs.tags import read_tags, tags_by_run
from llmeval.tasks.options import TaskOptions

_LABEL = 14
_DIGITS = 12  # of a digest
_MOST_TASKS = 12


def main(arguments: Namespace) -> int:
    run = find_run(arguments.run, arguments.out)
    if arguments.json:
        summary = run.summary if _has_summary(run) else None
        record = {"path": str(run.path), "tags": _tags(run)}
        print(json.dumps(record | {"manifest": run.manifest, "summary": summary}, indent=2))
        return 0
    try:
        _print_manifest(run)
        _print_tasks(run.manifest["tasks"], all_tasks=arguments.all_tasks)
        _print_results(run, all_tasks=arguments.all_tasks)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        said = f"{type(error).__name__}: {error}"
        what = f"the record is not as llmeval writes it: {said}"
        raise UsageError(what, where=str(run.path), mend="--json shows what it holds") from error
    return 0


def _has_summary(run: Run) -> bool:
    return (run.path / "summary.json").exists()


def _tags(run: Run) -> list[str]:
    path = run.path.resolve()
    return tags_by_run(read_tags(path.parent)).get(path.name, [])


def _print_manifest(run: Run) -> None:
    width = max(terminal_width(sys.stdout), 4 * _LABEL)
    for label, text in _lines(run):
        wrapped = textwrap.wrap(
            one_line(text), width - _LABEL, break_on_hyphens=False, break_long_words=False
        )
        first, *more = wrapped or [""]
        print_lines([f"{label:{_LABEL}}{first}", *(" " * _LABEL + m for m in more)], sys.stdout)


def _lines(run: Run) -> Iterator[tuple[str, str]]:
    """Yield what a manifest says, a label and a text each; what it does not say is left out."""
    manifest = run.manifest
    # What is imported in passing lies in a folder named by its content.
    yield "run", run.id if manifest.get("imported") else run.path.name
    if tags := _tags(run):
        yield "tags", ", ".join(tags)
    yield "status", _status(run)
    yield "record", str(run.path)
    if command := manifest.get("command"):
        yield "command", f"llmeval run {shlex.join(map(str, command))}"
    if imported := manifest.get("imported"):
        yield "imported", f"from {imported['tool']}, {imported['results']}"
    if original := manifest.get("rerun_of"):
        yield "rerun of", str(original)
    yield "model", _model(manifest["model"])
    yield "options", _options(manifest)
    yield from _environment(manifest["environment"])


def _status(run: Run) -> str:
    manifest = run.manifest
    status = str(manifest["status"])
    started = str(manifest["started"]).replace("T", " ").replace("+00:00", " UTC")
    if status == "interrupted" and is_running(find_workspace(), run.path.name):
        status = "running"
    if status != "complete" and _has_summary(run):
        status += f" with {_count_done(run)}"
    took = f", took {format_seconds(run.summary['seconds']['total'])}" if _has_summary(run) else ""
    return f"{status}; started {started}{took}"


def _count_done(run: Run) -> str:
    """Return how many samples are done, and of how many where the record tells."""
    done = sum(task["n"] for task in run.summary["tasks"].values())
    total = _count_planned(run.manifest)
    return f"{done:,} samples done" if total is None else f"{done:,} of {total:,} samples done"


def _count_planned(manifest: Mapping[str, Any]) -> int | None:
    """Return how many samples a run was to have; None where its manifest does not tell."""
    limit = manifest["options"].get("limit")
    chosen = (manifest.get("request") or {}).get("subset")
    evaluated = [task["data"][0] if task["data"] else {} for task in manifest["tasks"].values()]
    rows: list[int] = [data["rows"] for data in evaluated if data.get("rows") is not None]
    if chosen or len(rows) < len(evaluated) or not (limit is None or limit >= 1):
        return None
    return sum(rows if limit is None else (min(count, int(limit)) for count in rows))


def _model(model: Mapping[str, Any]) -> str:
    parts = [str(model["name"])]
    parts += [str(model[key]) for key in ("architecture", "base_url", "provider") if model.get(key)]
    if count := model.get("parameters"):
        parts.append(f"{count:,} parameters")
    if model.get("dtype"):
        device = f" on {model['device']}" if model.get("device") else ""
        parts.append(f"{model['dtype']}{device}")
    return f"{', '.join(parts)}; fingerprint {model['fingerprint']}"


def _options(manifest: Mapping[str, Any]) -> str:
    """Say what was set; an option that is as it comes says nothing, but for the seed."""
    usual = asdict(TaskOptions())
    given = {k: v for k, v in manifest["options"].items() if k == "seed" or v != usual.get(k)}
    given |= {"window": manifest.get("window")}
    given |= {f"max {k}": v for k, v in manifest.get("limits", {}).items()}
    given = {k: v for k, v in given.items() if v is not None}
    return ", ".join(f"{k.replace('_', ' ')} {_plain(v)}" for k, v in given.items())


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _environment(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "code", _code(environment["code"])
    if workspace := environment.get("workspace"):
        yield "workspace", _code(workspace)
    if platform := environment["platform"]:
        cpus, python = environment["cpus"], environment["python"]
        yield "machine", f"{platform}, {cpus} CPUs, Python {python}"
    yield "packages", ", ".join(f"{k} {v}" for k, v in environment["packages"].items())
    if variables := environment.get("variables"):
        yield "variables", " ".join(f"{name}={value}" for name, value in variables.items())


def _code(code: Mapping[str, Any] | None) -> str:
    if code is None:
        return "not under version control"
    changes = f", with changes that are not committed ({code['dirty']})" if code["dirty"] else ""
    return f"revision {code['revision']}{changes}"


def _print_tasks(tasks: Mapping[str, Any], *, all_tasks: bool) -> None:
    shown = list(tasks.items()) if all_tasks else list(tasks.items())[:_MOST_TASKS]
    rows = [row for name, task in shown for row in _task_rows(name, task)]
    head = ("task", "version", "shots", "data", "split", "rows", "fingerprint")
    print()
    print_table(head, rows, sys.stdout, text=("data", "split", "fingerprint"))
    if more := len(tasks) - len(shown):
        print(f"and {more} more (--all-tasks)")


def _task_rows(name: str, task: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each data set of a task: what is evaluated first, then solved examples."""
    shots = "" if task["num_fewshot"] is None else str(task["num_fewshot"])
    first = (name, str(task["version"]), shots)
    for data in task["data"] or [{}]:
        source = "/".join(str(data[key]) for key in ("id", "config") if data.get(key))
        rows = "" if data.get("rows") is None else f"{data['rows']:,}"
        digest = str(data.get("digest") or "")[:_DIGITS]
        yield *first, source, str(data.get("split") or ""), rows, digest
        first = ("", "", "")


def _print_results(run: Run, *, all_tasks: bool) -> None:
    from llmeval.cli.table import print_results

    print()
    if not _has_summary(run):
        print("no results: the run was killed; `llmeval run --resume` continues it")
        return
    print_results(run.summary, run.manifest.get("performance"), all_tasks=all_tasks)
