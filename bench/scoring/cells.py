"""Runs the cells of the table: each side, each batch size, in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.scoring.agreement import compare, judge
from bench.scoring.sides import make_floor
from bench.scoring.works import GROUP, Work, write_lm_eval_group

PROBES = 5
"""Batch sizes are compared on so small a part of the questions; the best one does them all."""

_ROOT = Path(__file__).resolve().parents[2]


class SideFailed(Exception):
    """A process ended without a result; its text is the end of what it said."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all cells have in common."""

    mirror: Path
    threads: int
    device: str
    dtype: str
    batch_sizes: tuple[int, ...]
    repeat: int
    probe: bool
    cache: Path


@dataclass(frozen=True, slots=True)
class Contender:
    """A model: its name in the table, its folder, the size that chooses how much it is given."""

    label: str
    folder: Path
    size: str
    costs: Mapping[str, Any]


def run_job(setting: Setting, job: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Do a job in a process of its own; add the process's wall and CPU seconds."""
    scratch.mkdir(parents=True, exist_ok=True)
    path, out = scratch / "job.json", scratch / "out.json"
    common = {"threads": setting.threads, "device": setting.device, "dtype": setting.dtype}
    path.write_text(json.dumps({**common, **job, "out": str(out)}), encoding="utf-8")
    command = [sys.executable, "-m", "bench.scoring.sides", str(path)]
    process = run_process(command, setting, scratch, _ROOT)
    return {**json.loads(out.read_text(encoding="utf-8")), "process": process}


def run_process(
    command: Sequence[str], setting: Setting, scratch: Path, folder: Path
) -> dict[str, float]:
    """Run a command to its end; return wall seconds, CPU seconds and peak memory (MB)."""
    log = scratch / "log.txt"
    with log.open("w", encoding="utf-8") as file:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=_environment(setting, scratch), stdout=file, stderr=file
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise SideFailed(f"{' '.join(command[:5])}: exit {process.returncode}\n{tail}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss / 1024}


def _environment(setting: Setting, scratch: Path) -> dict[str, str]:
    threads = str(setting.threads)
    return {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads),
        "RAYON_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false" if setting.threads == 1 else "true",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(setting.cache.resolve() / "datasets"),
        "LLMEVAL_HOME": str(scratch),
    }


def run_cell(
    setting: Setting, model: Contender, work: Work, tasks: Sequence[str], limit: int | None
) -> dict[str, Any]:
    """Measure one row: lm-eval at its best batch size, then llmeval; check that they agree."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        scratch = Path(name)
        group = scratch / "group"
        write_lm_eval_group(tasks, setting.mirror, group)
        row: dict[str, Any] = {
            "model": model.label,
            "size": model.size,
            "work": work.name,
            "about": work.about,
            "tasks": list(tasks),
            "limit": limit,
        }
        if work.process:
            return {**row, **_compare_commands(setting, model, tasks, limit, group, scratch)}
        job = {
            "model": str(model.folder),
            "tasks": list(tasks),
            "group_folder": str(group),
            "mirror": str(setting.mirror.resolve()),
            "limit": limit,
            "shots": work.shots,
            "new_tokens": work.new_tokens,
        }
        return {**row, **_compare_sides(setting, model, job, scratch)}


def _compare_sides(
    setting: Setting, model: Contender, job: dict[str, Any], scratch: Path
) -> dict[str, Any]:
    probes = _probe(setting, job, scratch)
    best = min(probes, key=lambda size: probes[size])
    job = {**job, "batch_size": best}
    theirs, ours = [], []
    for i in range(setting.repeat):  # in turn, so that both see the same machine
        theirs.append(run_job(setting, {**job, "side": "lm-eval"}, scratch / f"lm-eval-{i}"))
        own = scratch / f"llmeval-{i}"
        ours.append(run_job(setting, {**job, "side": "llmeval", "scratch": str(own)}, own))
    agreed = compare(theirs[0], ours[0], setting.dtype)
    if agreed["texts"]:
        ties = {**job, "side": "ties", "texts": agreed["texts"]}
        agreed |= run_job(setting, ties, scratch / "ties")
    agreed["texts"] = len(agreed["texts"])
    floor = make_floor(theirs[0], ours[0], job["new_tokens"])
    return {
        "batch_size": best,
        "probes": {str(size): round(wall, 3) for size, wall in probes.items()},
        "lm_eval": _middle(theirs),
        "llmeval": _middle(ours),
        "agreement": agreed,
        "agree": judge(agreed),
        "floor": {
            "tokens": floor.tokens,
            "seen": floor.seen,
            "logits": floor.logits,
            "flops": floor.flops(model.costs),
            "seconds": floor.flops(model.costs) / model.costs["ceiling"],
        },
    }


def _probe(setting: Setting, job: Mapping[str, Any], scratch: Path) -> dict[int, float]:
    """Return lm-eval's wall by batch size, on a part of the questions unless told otherwise."""
    limit = job["limit"]
    if len(setting.batch_sizes) == 1:
        limit = 1  # nothing to choose; but lm-eval's data are converted once, off the clock
    elif setting.probe:
        limit = max(8, (limit or 100) // PROBES)
    walls, failure = {}, None
    for size in setting.batch_sizes:
        probe = {**job, "side": "lm-eval", "batch_size": size, "limit": limit}
        try:
            walls[size] = run_job(setting, probe, scratch / f"probe-{size}")["wall"]
        except SideFailed as error:  # out of memory, mostly: a smaller batch will do
            failure = error
    if not walls:
        raise failure or SideFailed("no batch size to try")
    return walls


def _middle(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the run of the median wall, without its answers."""
    middle = statistics.median_low([run["wall"] for run in runs])
    run = next(run for run in runs if run["wall"] == middle)
    return {key: value for key, value in run.items() if key != "answers"} | {
        "walls": [round(run["wall"], 3) for run in runs]
    }


def _compare_commands(
    setting: Setting,
    model: Contender,
    tasks: Sequence[str],
    limit: int | None,
    group: Path,
    scratch: Path,
) -> dict[str, Any]:
    """Time the two command lines from start to end, in turn."""
    folder = str(model.folder.resolve())
    theirs = [
        sys.executable, "-m", "lm_eval", "run", "--model", "hf",
        "--model_args", f"pretrained={folder},dtype={setting.dtype}",
        "--tasks", GROUP, "--include_path", str(group), "--batch_size", "8",
        "--device", setting.device, "--num_fewshot", "0",
        *(["--limit", str(limit)] if limit else []),
    ]  # fmt: skip
    ours = [
        sys.executable, "-m", "llmeval", "run", "-m", f"hf:{folder}", "-t", ",".join(tasks),
        "--data", str(setting.mirror.resolve()), "--dtype", setting.dtype,
        "--device", setting.device, "--num-fewshot", "0", "--quiet",
        *(["--limit", str(limit)] if limit else []),
    ]  # fmt: skip
    walls: dict[str, list[dict[str, float]]] = {"lm_eval": [], "llmeval": []}
    metrics: dict[str, dict[str, float]] = {}
    for i in range(max(3, setting.repeat)):
        for side, command in (("lm_eval", theirs), ("llmeval", ours)):
            own = scratch / f"{side}-{i}"
            shutil.rmtree(own, ignore_errors=True)
            own.mkdir()
            out = ["--output_path", str(own / "results")]
            # Standing in the scratch folder, so this checkout must be found by its own path.
            walls[side].append(run_process([*command, *out], setting, own, _ROOT))
            metrics[side] = _read_results(own / "results")
    same = {
        name: metrics["lm_eval"].get(name) == value for name, value in metrics["llmeval"].items()
    }
    return {
        "batch_size": 8,
        "lm_eval": _middle_process(walls["lm_eval"]),
        "llmeval": _middle_process(walls["llmeval"]),
        "agree": "yes" if same and all(same.values()) else f"NO: {metrics}",
    }


def _read_results(folder: Path) -> dict[str, float]:
    """Return the accuracies in lm-eval's results file, or in ours, which has its form."""
    file = next(iter(sorted(folder.rglob("results*.json"))))
    results = json.loads(file.read_text(encoding="utf-8"))["results"]
    return {
        f"{task}/acc": float(metrics["acc,none"])
        for task, metrics in results.items()
        if "acc,none" in metrics
    }


def _middle_process(runs: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    middle = statistics.median_low([run["wall"] for run in runs])
    run = next(run for run in runs if run["wall"] == middle)
    return {"process": dict(run), "walls": [round(run["wall"], 3) for run in runs]}
