"""``python -m bench.leaderboard --runs 1000 --items 1000``: a leaderboard over many records.

Makes synthetic records in a temporary folder (two metrics a task, one Parquet file a run, as runs
write them) and prints seconds and peak memory of each phase.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_GROUP = 2048  # rows of a row group, as records have them


def make_records(folder: Path, runs: int, items: int, tasks: int, seed: int = 0) -> None:
    """Write records of models of normal ability on items of normal difficulty."""
    random = np.random.default_rng(seed)
    difficulty = random.normal(size=(tasks, items))
    digests = [[f"{random.integers(2**64, dtype=np.uint64):016x}" for _ in range(items)]
               for _ in range(tasks)]
    for number in range(runs):
        chance = 1 / (1 + np.exp(difficulty - random.normal()))
        right = random.random((2, tasks, items)) < chance
        _write_record(folder, number, right.astype(float), digests)


def _write_record(
    folder: Path, number: int, right: np.ndarray[Any, Any], digests: list[list[str]]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from llmeval.runs.record import _scores_schema
    from llmeval.stats import estimate_mean

    _, tasks, items = right.shape
    run_id = f"20260101-{number // 3600:02d}{number // 60 % 60:02d}{number % 60:02d}-model-{number}"
    path = folder / run_id
    path.mkdir(parents=True)
    rows = 2 * items
    tables = []
    for t in range(tasks):
        content = [digest for digest in digests[t] for _ in range(2)]
        columns = {
            "task": [f"task_{t}"] * rows,
            "sample_id": [str(i) for i in range(items) for _ in range(2)],
            "metric": ["acc", "acc_norm"] * items,
            "value": right[:, t].T.ravel(),
            "status": ["scored"] * rows,
            "reason": pa.nulls(rows),
            "extracted": pa.nulls(rows),
            "item": pa.nulls(rows),
            "cluster": pa.nulls(rows),
            "content": content,
            "asked": content,
        }
        tables.append(pa.table(columns).cast(_scores_schema()))
    pq.write_table(
        pa.concat_tables(tables), path / "scores.parquet", compression="zstd", row_group_size=_GROUP
    )
    metrics = [
        {
            name: {
                "value": (found := estimate_mean(right[m, t])).value,
                "stderr": found.stderr,
                "ci95": found.ci95,
                "n": items,
                "method": found.method,
                "status": found.status,
                "coverage": 1.0,
                "higher_is_better": True,
                "chance": 0.25,
                "aggregation": "mean",
            }
            for m, name in enumerate(("acc", "acc_norm"))
        }
        for t in range(tasks)
    ]
    model = {"name": f"model-{number}", "fingerprint": f"{number:032x}"}
    summary = {
        "run_id": run_id,
        "status": "complete",
        "model": model,
        "tasks": {
            f"task_{t}": {
                "n": items,
                "coverage": 1.0,
                "version": "1",
                "num_fewshot": 0,
                "form": None,
                "data": {"id": f"task_{t}", "fingerprint": f"{t:032x}"},
                "metrics": metrics[t],
            }
            for t in range(tasks)
        },
        "groups": {},
        "usage": {"requests": 4 * items, "cached": 0, "prompt_tokens": 100 * items,
                  "completion_tokens": 0, "computed_tokens": 30 * items,
                  "distinct_tokens": 30 * items, "usd": 0.001 * (number + 1)},
        "seconds": {"startup": 1.0, "model": 2.0 + number % 7, "scoring": 0.5, "total": 4.0},
    }
    manifest = {
        "run_id": run_id,
        "status": "complete",
        "started": "2026-01-01T00:00:00+00:00",
        "written": "2026-01-01T00:00:04+00:00",
        "model": {**model, "backend": "hf", "parameters": 10**6 * (number + 1)},
        "tasks": {f"task_{t}": {"version": "1", "num_fewshot": 0, "config": {}} for t in range(tasks)},
        "options": {"limit": None, "apply_chat_template": False},
        "groups": {},
        "performance": {"tokens_per_second": 1000.0},
        "environment": {"packages": {}},
    }
    (path / "summary.json").write_text(json.dumps(summary, indent=2))
    (path / "manifest.json").write_text(json.dumps(manifest, indent=2))
