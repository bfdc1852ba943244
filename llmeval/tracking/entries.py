"""What a tracker is told of a run: parameters, metrics, tags, files."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmeval.core import UsageError, fingerprint
from llmeval.runs import Run
from llmeval.runs.catalog import MANIFEST, RESULTS, SUMMARY
from llmeval.runs.record import SAMPLES, SCORES

_LONGEST = 500  # letters of a parameter or tag: what the oldest servers take
_FOREIGN = re.compile(r"[^\w.\- /]")  # what MLflow has in no name
_USAGE = ("requests", "prompt_tokens", "completion_tokens", "usd")


@dataclass(frozen=True, slots=True)
class Entries:
    """A run as trackers know runs.

    Attributes:
        params: what was asked, as text.
        metrics: numbers by name, ``TASK/METRIC`` with ``_stderr``, ``_ci_low``, ``_ci_high``,
            ``_n`` and ``_coverage``; what is not known is left out.
        tags: ``llmeval.*``: what the run is.
        started, written: in milliseconds since 1970.
    """

    run_id: str
    status: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    files: tuple[Path, ...]
    started: int
    written: int


def collect_entries(run: Run, *, tables: bool = False) -> Entries:
    """Return what a tracker is told of a record.

    Args:
        tables: the Parquet files, too, with all prompts and answers.

    Raises:
        UsageError: the run has no results, or its record is not as llmeval writes it.
    """
    names = [MANIFEST, SUMMARY, RESULTS, *([SAMPLES, SCORES] if tables else [])]
    manifest, summary = run.manifest, run.summary
    try:
        return Entries(
            run_id=run.path.resolve().name,
            status=str(summary["status"]),
            params={k: _crop(v) for k, v in _params(manifest)},
            metrics=_unique(_metrics(summary)),
            tags={f"llmeval.{k}": _crop(v) for k, v in _tags(run)},
            files=tuple(run.path / name for name in names if (run.path / name).is_file()),
            started=_milliseconds(manifest["started"]),
            written=_milliseconds(manifest["written"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        what = f"the record is not as llmeval writes it: {type(error).__name__}: {error}"
        raise UsageError(what, where=str(run.path)) from error


def _params(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "model", str(manifest["model"]["name"])
    yield "tasks", ",".join(manifest["tasks"])
    for name, value in manifest["options"].items():
        if value is not None:
            yield name, value if isinstance(value, str) else json.dumps(value)


def _metrics(summary: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, entry in {**summary["groups"], **summary["tasks"]}.items():
        for key, metric in entry["metrics"].items():
            low, high = metric["ci95"] or (None, None)
            numbers = {
                "": metric["value"],
                "_stderr": metric["stderr"],
                "_ci_low": low,
                "_ci_high": high,
                "_n": metric["n"],
                "_coverage": metric["coverage"],
            }
            for ending, value in numbers.items():
                if value is not None:
                    yield f"{name}/{key}{ending}", float(value)
    for name in _USAGE:
        if (value := summary["usage"].get(name)) is not None:
            yield f"run/{name}", float(value)
    yield "run/seconds", float(summary["seconds"]["total"])


def _unique(metrics: Iterator[tuple[str, float]]) -> dict[str, float]:
    """Give metrics names that trackers take, no two of them the same."""
    named: dict[str, float] = {}
    for name, value in metrics:
        clean = _FOREIGN.sub("_", name)
        while clean in named:
            clean += "_"
        named[clean] = value
    return named


def _tags(run: Run) -> Iterator[tuple[str, str]]:
    manifest = run.manifest
    code = manifest["environment"]["code"] or {}
    data = {name: task["data"] for name, task in manifest["tasks"].items()}
    yield "run_id", run.path.resolve().name
    yield "status", str(manifest["status"])
    yield "written", str(manifest["written"])
    yield "model_fingerprint", str(manifest["model"]["fingerprint"])
    yield "data_fingerprint", fingerprint(data)
    yield "version", str(manifest["environment"]["packages"].get("llmeval", "none"))
    for name in ("revision", "dirty"):
        if code.get(name):
            yield f"code_{name}", str(code[name])
    if manifest.get("rerun_of"):
        yield "rerun_of", str(manifest["rerun_of"])


def _crop(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _milliseconds(iso: str) -> int:
    return round(datetime.datetime.fromisoformat(iso).timestamp() * 1000)
