"""From lm-eval's results and samples to the files of a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmeval.core import Metric, UsageError
from llmeval.runs.files import write_json
from llmeval.runs.lm_eval.files import LmEvalFiles, model_name
from llmeval.runs.lm_eval.groups import correct_group, list_groups
from llmeval.runs.lm_eval.manifest import (
    describe,
    describe_data,
    fingerprint_model,
    read_seconds,
    read_version,
)
from llmeval.runs.lm_eval.numbers import Recorded, make_estimator, read_numbers
from llmeval.runs.lm_eval.samples import read_samples
from llmeval.runs.record import RecordWriter
from llmeval.runs.results import to_lm_eval_results
from llmeval.runs.summary import Tally, summarize_groups, summarize_tasks

_CHANCE = frozenset({"acc", "acc_norm", "acc_bytes", "acc_mutual_info"})
_MEANS = ("wilson", "student-t")  # methods of estimates that are means over samples
_ROWS = 512  # samples handed to the writer at once


@dataclass(frozen=True, slots=True)
class ImportedTask:
    """A task of lm-eval's as `summarize_tasks` reads tasks."""

    name: str
    version: str
    num_fewshot: int | None
    metrics: Mapping[str, Metric]
    recorded: Mapping[str, Recorded]
    tally: Tally = field(default_factory=Tally)
    form: str | None = None


def write_record(folder: Path, run_id: str, content: Mapping[str, Any], files: LmEvalFiles) -> None:
    """Write all files of a record.

    Raises:
        UsageError: a file is not what lm-eval writes.
    """
    try:
        _write(folder, run_id, content, files)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"not results of lm-eval's: {type(error).__name__}: {error}"
        raise UsageError(what, where=str(files.results)) from error


def _write(folder: Path, run_id: str, content: Mapping[str, Any], files: LmEvalFiles) -> None:
    tasks = [_to_task(name, content) for name in content["configs"] if name in content["results"]]
    writer = RecordWriter(folder)
    try:
        for task in tasks:
            _write_samples(writer, task, content["configs"][task.name], files)
    finally:
        writer.close()
    summary = _summarize(run_id, tasks, content)
    shots = {task.name: task.num_fewshot for task in tasks}
    manifest = describe(run_id, shots, content, files)
    write_json(folder / "summary.json", summary)
    write_json(folder / "results.json", to_lm_eval_results(summary, manifest))
    write_json(folder / "manifest.json", manifest)


def _write_samples(
    writer: RecordWriter, task: ImportedTask, config: Mapping[str, Any], files: LmEvalFiles
) -> None:
    path = files.samples.get(task.name)
    if path is None:
        return
    samples = read_samples(path, config)
    for sample, exchanges, scores in samples:
        task.tally.add(sample, scores, exchanges)
    for start in range(0, len(samples), _ROWS):
        writer.write([(task.name, *row) for row in samples[start : start + _ROWS]])


def _to_task(name: str, content: Mapping[str, Any]) -> ImportedTask:
    config = content["configs"][name] or {}
    recorded = read_numbers(content["results"][name], _count(name, content))
    better = (content.get("higher_is_better") or {}).get(name) or {}
    shots = (content.get("n-shot") or {}).get(name)
    choice = config.get("output_type") == "multiple_choice" and not config.get("process_results")
    metrics = {}
    for key, number in recorded.items():
        metric = key.partition(",")[0]
        metrics[key] = Metric(
            name=key,
            estimate=make_estimator(number),
            higher_is_better=bool(better.get(metric, True)),
            chance="choices" if choice and metric in _CHANCE else None,
            aggregation="mean",
        )
    shown = shots if isinstance(shots, int) else None
    return ImportedTask(name, read_version(name, content), shown, metrics, recorded)


def _aggregations(config: Mapping[str, Any]) -> dict[str, str]:
    """Return what a task's configuration says of how metrics are aggregated."""
    listed = config.get("metric_list") or ()
    return {str(m.get("metric")): str(m["aggregation"]) for m in listed if m.get("aggregation")}


def _count(name: str, content: Mapping[str, Any]) -> int:
    effective = ((content.get("n-samples") or {}).get(name) or {}).get("effective")
    length = content["results"][name].get("sample_len")
    return next((int(n) for n in (effective, length) if isinstance(n, int)), 0)


def _summarize(
    run_id: str, tasks: Sequence[ImportedTask], content: Mapping[str, Any]
) -> dict[str, Any]:
    tallies = {task.name: task.tally for task in tasks}
    data = {task.name: describe_data(task.name, content) for task in tasks}
    rows, estimates = summarize_tasks(tasks, tallies, data)  # type: ignore[arg-type]
    for task in tasks:
        _correct(rows[task.name], task, _aggregations(content["configs"][task.name] or {}))
    groups = summarize_groups(list_groups(content, estimates), rows, estimates)
    for name, group in groups.items():
        correct_group(group, read_numbers(content["results"].get(name) or {}, 0))
    seconds = read_seconds(content)
    counted = dict.fromkeys(
        ("requests", "cached", "prompt_tokens", "computed_tokens", "distinct_tokens",
         "completion_tokens", "cached_tokens", "reasoning_tokens", "truncated", "cut",
         "separate_boundaries"), 0,
    )  # fmt: skip
    return {
        "run_id": run_id,
        "status": "complete",
        "model": {"name": model_name(content), "fingerprint": fingerprint_model(content)},
        "tasks": rows,
        "groups": groups,
        "usage": counted | {"requests": sum(t.tally.usage.requests for t in tasks), "usd": None},
        "seconds": {"startup": 0.0, "model": seconds, "scoring": 0.0, "total": seconds},
    }


def _correct(row: dict[str, Any], task: ImportedTask, kinds: Mapping[str, Any]) -> None:
    """Say how values were aggregated, and count what was reported without its samples."""
    if not task.tally.n:
        row["n"] = max((number.n for number in task.recorded.values()), default=0)
        row["coverage"] = 1.0 if row["n"] else 0.0
    for key, metric in row["metrics"].items():
        if not task.tally.n:
            metric["coverage"] = metric["n"] / row["n"] if row["n"] else 0.0
        if not metric["method"].startswith(_MEANS):
            metric["aggregation"] = kinds.get(key.partition(",")[0], "unknown")
