"""``python -m bench.leaderboard --runs 1000 --items 1000``: a leaderboard over many records.

Another process makes synthetic records in a temporary folder (two metrics a task, one Parquet file
a run, as runs write them); then every phase of a board is timed, and its peak memory told. The
first phases are parts of *board*, taken by themselves.
"""

from __future__ import annotations

import argparse
import json
import os
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
_METRICS = ("acc", "acc_norm")


def make_records(
    folder: Path, runs: int, items: int, tasks: int, texts: int = 0, seed: int = 0
) -> None:
    """Write records of models of normal ability on items of normal difficulty.

    Args:
        texts: clusters that the items of a task fall into; 0: every item stands alone.
    """
    random = np.random.default_rng(seed)
    difficulty = random.normal(size=(tasks, items))
    digests = [
        [f"{random.integers(2**64, dtype=np.uint64):016x}" for _ in range(items)]
        for _ in range(tasks)
    ]
    for number in range(runs):
        chance = 1 / (1 + np.exp(difficulty - random.normal()))
        right = random.random((2, tasks, items)) < chance
        _write_record(folder, number, right.astype(float), digests, texts)


def _write_record(
    folder: Path, number: int, right: np.ndarray[Any, Any], digests: list[list[str]], texts: int
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
            "metric": list(_METRICS) * items,
            "value": right[:, t].T.ravel(),
            "status": ["scored"] * rows,
            "reason": pa.nulls(rows),
            "extracted": pa.nulls(rows),
            "item": pa.nulls(rows),
            "cluster": [str(i % texts) for i in range(items) for _ in range(2)]
            if texts
            else pa.nulls(rows),
            "content": content,
            "asked": content,
        }
        tables.append(pa.table(columns).cast(_scores_schema()))
    pq.write_table(
        pa.concat_tables(tables), path / "scores.parquet", compression="zstd", row_group_size=_GROUP
    )
    described = [
        {
            name: _describe(right[m, t], estimate_mean(right[m, t]))
            for m, name in enumerate(_METRICS)
        }
        for t in range(tasks)
    ]
    (path / "summary.json").write_text(json.dumps(_summary(run_id, number, items, described)))
    (path / "manifest.json").write_text(json.dumps(_manifest(run_id, number, tasks)))


def _describe(right: np.ndarray[Any, Any], found: Any) -> dict[str, Any]:
    numbers = {name: getattr(found, name) for name in ("value", "stderr", "ci95", "n", "method")}
    shown = {"coverage": 1.0, "higher_is_better": True, "chance": 0.25, "aggregation": "mean"}
    return {**numbers, "status": found.status, **shown}


def _summary(
    run_id: str, number: int, items: int, described: list[dict[str, Any]]
) -> dict[str, Any]:
    usd = 0.001 * (number + 1)
    tasks = {
        f"task_{t}": {
            "n": items,
            "coverage": 1.0,
            "version": "1",
            "num_fewshot": 0,
            "form": None,
            "data": {"id": f"task_{t}", "fingerprint": f"{t:032x}"},
            "usage": {"usd": usd},
            "metrics": metrics,
        }
        for t, metrics in enumerate(described)
    }
    asked = 4 * items * len(tasks)
    usage = {"requests": asked, "cached": 0, "prompt_tokens": 25 * asked, "completion_tokens": 0}
    seconds = {"startup": 1.0, "model": 2.0 + number % 7, "scoring": 0.5, "total": 10.0}
    model = {"name": f"model-{number}", "fingerprint": f"{number:032x}"}
    told = {"run_id": run_id, "status": "complete", "model": model, "groups": {}}
    return {**told, "tasks": tasks, "usage": usage, "seconds": seconds}


def _manifest(run_id: str, number: int, tasks: int) -> dict[str, Any]:
    model = {"name": f"model-{number}", "fingerprint": f"{number:032x}", "backend": "hf"}
    return {
        "run_id": run_id,
        "status": "complete",
        "started": "2026-01-01T00:00:00+00:00",
        "written": "2026-01-01T00:00:08+00:00",
        "model": {**model, "parameters": 10**6 * (number + 1)},
        "tasks": {f"task_{t}": {"version": "1", "config": {}} for t in range(tasks)},
        "options": {"limit": None, "apply_chat_template": False},
        "performance": {"peak_memory": {"host": 10**9, "device": None}},
    }


class Phases:
    """Seconds of each phase, and the process's peak memory after it."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        print(f"{'phase':28} {'s':>7} {'peak MB':>8}")

    def mark(self, phase: str) -> None:
        now = time.perf_counter()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{phase:28} {now - self._last:7.2f} {peak:8.0f}", flush=True)
        self._last = time.perf_counter()


def measure(folder: Path) -> None:
    """Time the phases of one board."""
    from llmeval.reports.leaderboard import (
        Choices,
        build_board,
        to_csv,
        to_html,
        to_markdown,
        to_plain,
    )
    from llmeval.reports.leaderboard.columns import lay_out
    from llmeval.reports.leaderboard.entries import Entry, read_entry
    from llmeval.reports.leaderboard.gather import gather
    from llmeval.reports.leaderboard.items import read_items
    from llmeval.reports.leaderboard.rows import fill_rows

    phases = Phases()
    paths = gather([folder])
    entries = [entry for path in paths if isinstance(entry := read_entry(path), Entry)]
    phases.mark("manifests and summaries")
    layout = lay_out(entries)
    rows = fill_rows(entries, layout, all_runs=False).rows
    phases.mark("columns and rows")
    for _, items in read_items(layout.columns, rows, entries):
        assert len(items.rows) == len(rows)
        del items
    phases.mark("scores read and matched")
    board = build_board(paths, Choices())
    phases.mark("board, all of it")
    to_plain(board)
    to_csv(board)
    to_markdown(board)
    phases.mark("JSON, CSV, Markdown")
    page = to_html(board)
    phases.mark("page")
    print(
        f"{len(board.models)} models, {len(board.columns)} columns, page {len(page) / 1e6:.1f} MB"
    )


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--items", type=int, default=1000, help="of each task")
    parser.add_argument("--tasks", type=int, default=1)
    parser.add_argument("--texts", type=int, default=0, help="clusters of a task's items")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.write:
        make_records(given.write, given.runs, given.items, given.tasks, given.texts)
        return 0
    print(f"{platform.platform()}, {platform.machine()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(prefix="llmeval-bench-") as folder:
        command = [sys.executable, "-m", "bench.leaderboard", "--write", folder, *argv]
        subprocess.run(command, check=True)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
        print(f"{given.runs} records, {size / 1e6:.0f} MB of scores")
        measure(Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
