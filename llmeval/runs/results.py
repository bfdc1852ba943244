"""``results.json`` in lm-eval's shape, for the tools that read that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def to_lm_eval_results(summary: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what lm-eval 0.4.13 would have written: metric keys are ``metric,filter``."""
    tasks: Mapping[str, Any] = summary["tasks"]
    groups: Mapping[str, Any] = summary["groups"]
    described: Mapping[str, Any] = manifest["tasks"]
    results = {name: _metrics(name, row, row["n"]) for name, row in tasks.items()}
    pooled = {name: _pooled(name, row) for name, row in groups.items() if row["metrics"]}
    return {
        "results": {**pooled, **results},
        "groups": pooled,
        "group_subtasks": {name: list(row["tasks"]) for name, row in groups.items()},
        "configs": {name: described[name].get("config", described[name]) for name in tasks},
        "versions": {name: row["version"] for name, row in {**tasks, **groups}.items()},
        "n-shot": {name: row["num_fewshot"] for name, row in tasks.items()},
        "higher_is_better": {
            name: {_split(k)[0]: m["higher_is_better"] for k, m in row["metrics"].items()}
            for name, row in {**tasks, **groups}.items()
        },
        "n-samples": {
            name: {"original": _original(described[name], row), "effective": row["n"]}
            for name, row in tasks.items()
        },
        "config": {
            "model": summary["model"]["name"],
            "model_args": manifest["model"],
            "limit": manifest["options"]["limit"],
            "random_seed": manifest["options"]["seed"],
        },
        "model_name": summary["model"]["name"],
        "date": manifest["started"],
        "total_evaluation_time_seconds": str(summary["seconds"]["total"]),
    }


def _split(key: str) -> tuple[str, str]:
    metric, _, filter_name = key.partition(",")
    return metric, filter_name or "none"


def _pooled(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    counts = {",".join(_split(key)): metric["n"] for key, metric in row["metrics"].items()}
    return {**_metrics(name, row, max(counts.values())), "sample_count": counts}


def _metrics(name: str, row: Mapping[str, Any], n: int) -> dict[str, Any]:
    flat: dict[str, Any] = {"name": name, "alias": name, "sample_len": n}
    for key, metric in row["metrics"].items():
        label, filter_name = _split(key)
        stderr = metric["stderr"]
        flat[f"{label},{filter_name}"] = metric["value"]
        flat[f"{label}_stderr,{filter_name}"] = "N/A" if stderr is None else stderr
    return flat


def _original(described: Mapping[str, Any], row: Mapping[str, Any]) -> int:
    rows = [data["rows"] for data in described.get("data", ())]
    return int(rows[0]) if rows else int(row["n"])
