"""``python -m bench.scoring``: lm-eval 0.4.13 and llmeval on the same model, tasks and machine."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.scoring.cells import Contender, Setting, SideFailed, run_cell, run_job
from bench.scoring.machine import describe_machine
from bench.scoring.table import render
from bench.scoring.works import SUBJECTS, WORKS, missing_data


def main(argv: Sequence[str]) -> int:
    given = _parse(argv)
    if given.render:
        print(render(json.loads(given.render.read_text(encoding="utf-8"))), end="")
        return 0
    setting = Setting(
        given.data, given.threads, given.device, given.dtype, given.batch_sizes, given.repeat,
        given.probe, given.cache,
    )  # fmt: skip
    found: dict[str, Any] = {"machine": describe_machine(given.threads), "models": {}, "rows": []}
    if given.json and given.json.exists():
        old = json.loads(given.json.read_text(encoding="utf-8"))
        found |= {"models": old["models"], "rows": old["rows"]}
    found["command"] = [*found.get("command", []), "python -m bench.scoring " + " ".join(argv)]
    failures = 0
    for model in _find_models(given, setting):
        found["models"][model.label] = dict(model.costs)
        for name in given.works:
            row = _run(given, setting, model, name)
            failures += row is None or row["agree"].startswith("NO")
            if row is not None:
                _put(found["rows"], row)
            if given.json:
                given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(render(found), end="")
    return 1 if failures else 0


def _run(
    given: argparse.Namespace, setting: Setting, model: Contender, name: str
) -> dict[str, Any] | None:
    work = WORKS[name]
    tasks = work.resolve_tasks(given.subjects)
    if missing := missing_data(tasks, given.data):
        _say(f"{model.label} {name}: skipped, --data has no {', '.join(missing)}")
        return None
    _say(f"{model.label} {name} ...")
    began = time.perf_counter()
    try:
        row = run_cell(setting, model, work, tasks, work.limit(model.size, given.limit))
    except SideFailed as error:
        _say(f"{model.label} {name}: failed\n{error}")
        return None
    walls = [side.get("wall", side["process"]["wall"]) for side in (row["lm_eval"], row["llmeval"])]
    _say(
        f"{model.label} {name}: {walls[0]:.1f} s / {walls[1]:.1f} s = {walls[0] / walls[1]:.2f},"
        f" answers agree: {row['agree']} ({time.perf_counter() - began:.0f} s in all)"
    )
    return row


def _put(rows: list[dict[str, Any]], row: dict[str, Any]) -> None:
    """Replace the row of the same model and work, or add it."""
    for i, old in enumerate(rows):
        if (old["model"], old["work"]) == (row["model"], row["work"]):
            rows[i] = row
            return
    rows.append(row)


def _find_models(given: argparse.Namespace, setting: Setting) -> Iterator[Contender]:
    for folder in given.model:
        yield _weigh(setting, folder.name, folder, "tiny")
    if given.shapes and given.tokenizer is None:
        _say(f"{', '.join(given.shapes)}: skipped, no --tokenizer")
        return
    for shape in given.shapes:
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            job = {
                "side": "make",
                "shape": shape,
                "tokenizer": str(given.tokenizer),
                "cache": str(given.cache),
            }
            made = run_job(setting, job, Path(scratch) / "make")
        yield _weigh(setting, shape, Path(made["folder"]), shape)


def _weigh(setting: Setting, label: str, folder: Path, size: str) -> Contender:
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        job = {"side": "model", "model": str(folder.resolve())}
        costs = run_job(setting, job, Path(scratch) / "model")
    costs.pop("process")
    return Contender(label, folder.resolve(), size, costs)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scoring", description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, help="local mirror of the data sets (LLMEVAL_DATA)")
    add("--model", type=Path, action="append", default=[], help="a tiny real checkpoint")
    add("--shapes", type=_names, default=["15M", "135M"], help="random models: 15M,135M,1B,8B")
    add("--tokenizer", type=Path, help="folder of GPT-2's tokenizer, for the random models")
    add("--works", type=_names, default=list(WORKS), help=", ".join(WORKS))
    add("--subjects", type=_names, default=list(SUBJECTS), help="of MMLU")
    add("--limit", type=int, help="questions of each task, in place of each work's own number")
    add("--batch-sizes", type=_numbers, default=(1, 8, 32), help="lm-eval's, the best one counts")
    add("--full-probe", dest="probe", action="store_false",
        help="compare batch sizes on all questions, not on a fifth")  # fmt: skip
    add("--repeat", type=int, default=1, help="rounds in turn; the medians count")
    add("--threads", type=int, default=1)
    add("--device", default="cpu")
    add("--dtype", default="float32")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmeval" / "bench"
    add("--cache", type=Path, default=cache, help="folder of the random models")
    add("--json", type=Path, help="file that gets the figures; rows already there are kept")
    add("--render", type=Path, help="only print the tables of such a file")
    given = parser.parse_args(argv)
    if given.render:
        return given
    if given.data is None and os.environ.get("LLMEVAL_DATA"):
        given.data = Path(os.environ["LLMEVAL_DATA"])
    if given.data is None or not given.data.is_dir():
        parser.error("no mirror of the data sets: give --data DIR")
    for name in given.works:
        if name not in WORKS:
            parser.error(f"unknown work {name!r}; there are {', '.join(WORKS)}")
    return given


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
