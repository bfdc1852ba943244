"""Manifests and summaries of runs that never were, for what reads many of them or strange ones."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MANIFEST: dict[str, Any] = {
    "run_id": "",
    "status": "complete",
    "started": "2026-01-02T03:04:05+00:00",
    "written": "2026-01-02T03:05:05+00:00",
    "model": {"name": "pocket", "fingerprint": "0f" * 16, "settings": {"dtype": "auto"}},
    "tasks": {
        "colours": {
            "version": "1",
            "num_fewshot": 0,
            "data": [{"id": "me/colours", "config": None, "split": "test", "rows": 8}],
        }
    },
    "groups": {},
    "options": {"limit": None, "seed": 1234, "max_errors": 0.05},
    "window": 4096,
    "limits": {"usd": None, "requests": None, "minutes": None},
    "command": ["-m", "pocket", "-t", "colours"],
    "sandbox": None,
    "performance": None,
    "environment": {
        "python": "3.11.7",
        "platform": "Linux",
        "machine": "x86_64",
        "cpus": 2,
        "packages": {"llmeval": "0.1.0", "numpy": "2.0.0"},
        "code": {"revision": "a" * 40, "dirty": None},
        "workspace": None,
        "variables": {},
    },
}


def metric(value: float | None, n: int = 8, **changes: Any) -> dict[str, Any]:
    """Return a metric's row in a summary."""
    ci95 = None if value is None else [value - 0.1, value + 0.1]
    return {
        **{"value": value, "stderr": 0.05, "ci95": ci95, "n": n, "coverage": 1.0},
        **{"method": "wilson", "status": "ok", "higher_is_better": True, "chance": None},
        **changes,
    }


def summary(tasks: Mapping[str, Mapping[str, Any]], **changes: Any) -> dict[str, Any]:
    """Return a summary of tasks with their metrics."""
    rows = {
        name: {
            **{"n": 8, "coverage": 1.0, "version": "1", "num_fewshot": 0, "form": None},
            "metrics": dict(metrics),
        }
        for name, metrics in tasks.items()
    }
    counts = dict.fromkeys(("requests", "cached", "prompt_tokens", "completion_tokens"), 0)
    return {
        "status": "complete",
        "model": {"name": "pocket", "fingerprint": "0f" * 16},
        "tasks": rows,
        "groups": {},
        "usage": {**counts, "usd": None},
        "seconds": dict.fromkeys(("startup", "model", "scoring", "total"), 1.0),
        **changes,
    }


IMPORTED: dict[str, Any] = {
    "imported": {"tool": "lm-eval 0.4.13", "results": "results_x.json", "without_samples": []},
    "model": {"backend": "lm-eval hf", "name": "gpt2", "dtype": None, "fingerprint": "00"},
    "options": {"limit": None, "seed": None},
    "window": None,
    "command": None,
    "environment": {
        **dict.fromkeys(("python", "platform", "machine", "cpus", "code", "workspace")),
        "packages": {"lm_eval": "0.4.13"},
        "variables": {},
    },
}
"""What the manifest of a run that lm-eval did does not know."""

SUMMARY = summary({"colours": {"acc": metric(0.5)}})


def write_manifest(
    folder: Path, run_id: str, told: Mapping[str, Any] | None = SUMMARY, **changes: Any
) -> Path:
    """Write a record without tables, and return its folder.

    Args:
        told: the summary, None for a record without one.
        changes: of the manifest's fields.
    """
    path = folder / run_id
    path.mkdir(parents=True)
    manifest = copy.deepcopy(MANIFEST) | {"run_id": run_id} | changes
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    if told is not None:
        content = {**told, "run_id": run_id, "status": manifest["status"]}
        (path / "summary.json").write_text(json.dumps(content), encoding="utf-8")
    return path
