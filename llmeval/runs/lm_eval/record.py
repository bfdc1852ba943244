"""From lm-eval's results and samples to the files of a record."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from llmeval.core import Estimate, GroupMetric, Metric, TaskGroup, fingerprint
from llmeval.runs.files import write_json
from llmeval.runs.lm_eval.files import LmEvalFiles, model_name, read_date
from llmeval.runs.lm_eval.samples import metric_key, read_samples
from llmeval.runs.record import RecordWriter
from llmeval.runs.results import to_lm_eval_results
from llmeval.runs.summary import Tally, summarize_groups, summarize_tasks
from llmeval.stats import Estimate as StatsEstimate
from llmeval.stats import bootstrap_perplexity, estimate_mean
from llmeval.stats.intervals import Status

_CHANCE = frozenset({"acc", "acc_norm", "acc_bytes", "acc_mutual_info"})
_CLOSE = 1e-6  # relative: what the samples come to and what lm-eval reported
_REPORTED = "as lm-eval reported it"
_Z95 = 1.959963984540054
_ROWS = 512  # samples handed to the writer at once


@dataclass(frozen=True, slots=True)
class Recorded:
    """A number as lm-eval reported it; NaN and ``N/A`` are None."""

    value: float | None
    stderr: float | None
    n: int

    def estimate(self) -> StatsEstimate:
        """Return the number with a normal interval from the standard error that was reported."""
        if self.value is None:
            return StatsEstimate(None, None, None, self.n, _REPORTED, status="undefined")
        if not self.stderr:
            status: Status = "degenerate" if self.stderr == 0 else "undefined"
            return StatsEstimate(self.value, self.stderr, None, self.n, _REPORTED, status=status)
        half = _Z95 * self.stderr
        ci = (self.value - half, self.value + half)
        return StatsEstimate(self.value, self.stderr, ci, self.n, f"{_REPORTED}, normal")


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
    tasks = [_to_task(name, content) for name in content["configs"] if name in content["results"]]
    writer = RecordWriter(folder)
    try:
        for task in tasks:
            _write_samples(writer, task, content["configs"][task.name], files)
    finally:
        writer.close()
    summary = _summarize(run_id, tasks, content)
    manifest = _describe(run_id, tasks, content, files)
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


# -- what lm-eval reported -------------------------------------------------------------------------


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
            estimate=_estimator(number),
            higher_is_better=bool(better.get(metric, True)),
            chance="choices" if choice and metric in _CHANCE else None,
            aggregation="mean",
        )
    version = str((content.get("versions") or {}).get(name, "unknown"))
    return ImportedTask(name, version, None if shots is None else int(shots), metrics, recorded)


def _aggregations(config: Mapping[str, Any]) -> dict[str, str]:
    """Return what a task's configuration says of how metrics are aggregated."""
    listed = config.get("metric_list") or ()
    return {str(m.get("metric")): str(m["aggregation"]) for m in listed if m.get("aggregation")}


def read_numbers(results: Mapping[str, Any], n: int) -> dict[str, Recorded]:
    """Return the numbers of a task or group by llmeval's keys, in lm-eval's order."""
    counts = results.get("sample_count")
    counts = counts if isinstance(counts, Mapping) else {}
    numbers = {}
    for key, value in results.items():
        metric, comma, filter_name = key.partition(",")
        if not comma or metric.endswith("_stderr") or metric == "bypass":
            continue
        stderr = results.get(f"{metric}_stderr,{filter_name}")
        count = counts.get(key)
        numbers[metric_key(metric, filter_name)] = Recorded(
            _finite(value), _finite(stderr), count if isinstance(count, int) else n
        )
    return numbers


def _finite(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and math.isfinite(value) else None


def _count(name: str, content: Mapping[str, Any]) -> int:
    effective = ((content.get("n-samples") or {}).get(name) or {}).get("effective")
    length = content["results"][name].get("sample_len")
    return next((int(n) for n in (effective, length) if isinstance(n, int)), 0)


def _estimator(recorded: Recorded) -> Any:
    """Return the estimator that gives lm-eval's number: with our interval where it is the mean or
    the perplexity of the samples, else with one from lm-eval's standard error."""

    def estimate(items: Sequence[Any], clusters: Sequence[str] | None) -> Estimate:
        if not items or not all(isinstance(item, float) for item in items):
            return recorded.estimate()
        mean = estimate_mean(items, clusters)
        if recorded.value is None:  # a sample's score is not a number, so lm-eval's mean is none
            return mean
        for found in (mean, _perplexity(items, clusters)):
            if found.value is not None and _is_close(found.value, recorded.value):
                return replace(found, value=recorded.value)
        return recorded.estimate()

    return estimate


def _perplexity(items: Sequence[float], clusters: Sequence[str] | None) -> StatsEstimate:
    """Return the perplexity of log-likelihoods, of nothing where these are none."""
    if max(items) > 0:
        return StatsEstimate(None, None, None, len(items), "none", status="undefined")
    return bootstrap_perplexity(items, clusters=None if clusters is None else np.array(clusters))


# -- the summary -----------------------------------------------------------------------------------


def _summarize(
    run_id: str, tasks: Sequence[ImportedTask], content: Mapping[str, Any]
) -> dict[str, Any]:
    tallies = {task.name: task.tally for task in tasks}
    data = {task.name: _describe_data(task.name, content) for task in tasks}
    rows, estimates = summarize_tasks(tasks, tallies, data)  # type: ignore[arg-type]
    for task in tasks:
        _correct(rows[task.name], task, _aggregations(content["configs"][task.name] or {}))
    groups = summarize_groups(_list_groups(content, estimates), rows, estimates)
    for name, group in groups.items():
        _correct_group(group, read_numbers(content["results"].get(name) or {}, 0))
    seconds = _seconds(content)
    counted = dict.fromkeys(
        ("requests", "cached", "prompt_tokens", "computed_tokens", "distinct_tokens",
         "completion_tokens", "cached_tokens", "reasoning_tokens", "truncated", "cut",
         "separate_boundaries"), 0,
    )  # fmt: skip
    return {
        "run_id": run_id,
        "status": "complete",
        "model": {"name": model_name(content), "fingerprint": _fingerprint(content)},
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
        if metric["method"].startswith(_REPORTED):
            metric["aggregation"] = kinds.get(key.partition(",")[0], "unknown")


def _list_groups(
    content: Mapping[str, Any], estimates: Mapping[str, Mapping[str, Estimate]]
) -> list[TaskGroup]:
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
    return not _is_close(sum(values) / len(values), number.value) or _is_close(
        sum(part.n * value for part, value in zip(parts, values, strict=True))
        / (sum(part.n for part in parts) or 1),
        number.value,
    )


def _is_close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=_CLOSE, abs_tol=_CLOSE)


def _correct_group(group: dict[str, Any], recorded: Mapping[str, Recorded]) -> None:
    """Take a group's number as it was reported where pooling its tasks gives another."""
    for key, metric in group["metrics"].items():
        number = recorded[key]
        if number.value is None or (
            metric["value"] is not None and _is_close(metric["value"], number.value)
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


# -- the manifest ----------------------------------------------------------------------------------


def _describe(
    run_id: str, tasks: Sequence[ImportedTask], content: Mapping[str, Any], files: LmEvalFiles
) -> dict[str, Any]:
    config = content.get("config") or {}
    version = str(content.get("lm_eval_version") or "of unknown version")
    started = datetime.datetime.fromtimestamp(read_date(content), datetime.UTC)
    ended = started + datetime.timedelta(seconds=_seconds(content))
    subtasks = content.get("group_subtasks") or {}
    return {
        "run_id": run_id,
        "status": "complete",
        "started": started.isoformat(timespec="seconds"),
        "written": ended.isoformat(timespec="seconds"),
        "imported": {
            "tool": f"lm-eval {version}",
            "results": files.results.name,
            "without_samples": [t.name for t in tasks if t.name not in files.samples],
        },
        "model": {
            "backend": f"lm-eval {config.get('model') or 'model'}",
            "name": model_name(content),
            "parameters": config.get("model_num_parameters"),
            "settings": config.get("model_args"),
            "dtype": str(config.get("model_dtype") or "") or None,
            "fingerprint": _fingerprint(content),
        },
        "tasks": {
            task.name: {
                "version": task.version,
                "num_fewshot": task.num_fewshot,
                "source": f"imported from lm-eval {version}",
                "config": content["configs"][task.name],
                "data": _describe_data(task.name, content),
            }
            for task in tasks
        },
        "options": _read_options(content),
        "groups": {name: list(members) for name, members in subtasks.items() if members},
        "seeds": {"fewshot": config.get("fewshot_seed"), "sampling": config.get("torch_seed")},
        "window": None,
        "limits": {"usd": None, "requests": None, "minutes": None},
        "command": None,
        "sandbox": None,
        "performance": None,
        "environment": {
            "python": None,
            "platform": None,
            "machine": None,
            "cpus": None,
            "packages": {
                name: str(content[key])
                for name, key in (
                    ("lm_eval", "lm_eval_version"),
                    ("transformers", "transformers_version"),
                )
                if content.get(key)
            },
            "code": None,
            "workspace": None,
            "variables": {},
        },
    }


def _read_options(content: Mapping[str, Any]) -> dict[str, Any]:
    config = content.get("config") or {}
    limit = _finite(config.get("limit"))
    settings = config.get("gen_kwargs") or {}
    return {
        "num_fewshot": None,
        "limit": int(limit) if limit is not None and limit >= 1 else None,
        "apply_chat_template": bool(content.get("chat_template")),
        "system_instruction": content.get("system_instruction"),
        "fewshot_as_multiturn": bool(content.get("fewshot_as_multiturn")),
        "gen_kwargs": settings if isinstance(settings, Mapping) else {"as given": settings},
        "repeats": None,
        "seed": config.get("fewshot_seed"),
        "cut_answers": "auto",
        "max_errors": 0.0,
    }


def _describe_data(task: str, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    config = content["configs"][task] or {}
    rows = ((content.get("n-samples") or {}).get(task) or {}).get("original")
    return [
        {
            "id": str(config.get("dataset_path")),
            "config": config.get("dataset_name"),
            "split": config.get("test_split") or config.get("validation_split"),
            "rows": rows,
            "digest": None,
        }
    ]


def _seconds(content: Mapping[str, Any]) -> float:
    """Return lm-eval's own figure: the whole evaluation, the model's loading included."""
    try:
        return round(float(content.get("total_evaluation_time_seconds") or 0), 3)
    except (TypeError, ValueError):
        return 0.0


def _fingerprint(content: Mapping[str, Any]) -> str:
    """Return a name of the model as lm-eval described it: it logs no digest of the weights."""
    config = content.get("config") or {}
    told = [config.get(k) for k in ("model", "model_args", "model_sha", "model_dtype")]
    return fingerprint(["lm-eval", model_name(content), *told])
