"""Calls contenders in turn, on one server, and keeps what each call took."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.serving import questions
from bench.serving.contenders import Contender, Job
from tests.support.mock_openai.launch import MockServer, serve

LONGEST = 540.0  # seconds of one call
_CLOSE = 1e-6  # accuracies are sums of 0 and 1, in whichever order

Row = dict[str, Any]
Say = Callable[[str], None]


class CallFailed(Exception):
    """A process ended without a result; its text is the end of what it said."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all parts have in common."""

    latency: float
    repeat: int
    say: Say


@dataclass(frozen=True, slots=True)
class Part:
    """A table: so many questions of a kind, to each contender at each number of connections."""

    name: str
    kind: str
    questions: int
    connections: Sequence[int]


def measure_part(
    setting: Setting, part: Part, contenders: Sequence[Contender], keep: Callable[[Row], None]
) -> None:
    """Measure every contender of a part, ``repeat`` times in turn; hand each row to ``keep``."""
    contenders = [each for each in contenders if part.kind in each.kinds]
    with _given(part) as given, serve(latency=setting.latency) as server:
        expected = {
            kind: questions.expect_accuracy(given / "four.jsonl", part.questions, kind)
            for kind in {each.expects(part.kind) for each in contenders}
        }
        warm = Job(given.parent / "run", given, server.url, part.kind, 1, part.connections[0])
        for each in contenders:  # bytecode, page cache, and lm-eval's conversion of the data
            with suppress(CallFailed):
                _call(each, warm, server)
        for connections in part.connections:
            calls: dict[str, list[Row]] = {each.name: [] for each in contenders}
            failures: dict[str, str] = {}
            for _ in range(setting.repeat):  # in turn, so that all see the same machine
                for each in contenders:
                    if each.name in failures:
                        continue
                    job = replace(warm, limit=part.questions, connections=connections)
                    try:
                        calls[each.name].append(_measure(each, job, server))
                    except CallFailed as error:
                        failures[each.name] = str(error)
                        setting.say(f"{part.name}, {each.name}: failed\n{error}")
            for each in contenders:
                row = {
                    "part": part.name,
                    "name": each.name,
                    "label": each.label,
                    "connections": connections,
                    "questions": part.questions,
                    "expected": expected[each.expects(part.kind)],
                    **summarize(calls[each.name]),
                }
                row["agree"] = "NO: failed" if each.name in failures else judge(row)
                keep(row)


@contextmanager
def _given(part: Part) -> Iterator[Path]:
    """Write what all calls of a part read, in a folder that is removed in the end."""
    with tempfile.TemporaryDirectory(prefix="bench-serving-") as name:
        given = Path(name) / "given"
        given.mkdir()
        questions.write_questions(given / "four.jsonl", part.questions)
        if part.kind == "choice":
            questions.write_tokenizer(given / "tokenizer", given / "four.jsonl")
        yield given


def _measure(contender: Contender, job: Job, server: MockServer) -> Row:
    """Call a contender with one question, then with all, each in a fresh folder."""
    first = _call(contender, replace(job, limit=1), server)
    whole = _call(contender, job, server)
    return {
        **whole,
        "startup": first["wall"],
        "startup_cpu": first["cpu"],
        "cpu_sample": (whole["cpu"] - first["cpu"]) / max(1, job.limit - 1),
    }


def _call(contender: Contender, job: Job, server: MockServer) -> Row:
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir()
    command = contender.command(job)
    server.reset()
    before = server.stats()["cpu_seconds"]
    found: Row = run_process(command, job.folder, contender.environment(job))
    stats = server.stats()
    try:
        said = contender.read(job)
    except (StopIteration, OSError, KeyError, ValueError, subprocess.SubprocessError) as error:
        raise CallFailed(f"{contender.name}: no results ({error!r}); {_tail(job.folder)}") from None
    phase = stats["last_answer"] - stats["first_request"]
    return {
        **found,
        "n": said.n,
        "accuracy": said.accuracy,
        "own_seconds": said.seconds,
        "server_seconds": phase,
        "requests": stats["answered"],
        "tokenized": stats["by_path"].get("/tokenize", 0),
        "distinct": stats["distinct_answered"],
        "in_flight": stats["max_in_flight"],
        "busy": (stats["cpu_seconds"] - before) / phase if phase else 0.0,
        "bytes": weigh(contender.left(job)),
        "load": os.getloadavg()[0],
    }


def run_process(command: Sequence[str], folder: Path, more: Mapping[str, str]) -> dict[str, float]:
    """Run a command to its end; return wall seconds, CPU seconds and peak memory (MB).

    CPU seconds are user and system, of the process and the children that it waited for; the peak
    is of the largest of these.

    Raises:
        CallFailed: it did not end with 0, or not in time.
    """
    with (folder / "log.txt").open("w", encoding="utf-8") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **more}, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log,
        )  # fmt: skip
        status, usage = _wait(process, began + LONGEST)
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        said = f"exit {process.returncode} after {wall:.0f} s"
        raise CallFailed(f"{' '.join(command[:5])}: {said}\n{_tail(folder)}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}


def _wait(process: subprocess.Popen[bytes], until: float) -> tuple[int, Any]:
    """Wait for the end, or bring it about at a time; ``wait4`` knows of no time limit."""
    timer = threading.Timer(until - time.perf_counter(), process.kill)
    timer.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
    finally:
        timer.cancel()
    return status, usage


def _tail(folder: Path) -> str:
    return (folder / "log.txt").read_text(encoding="utf-8", errors="replace")[-2000:]


def weigh(folders: Iterable[Path]) -> int:
    """Return the bytes of all files in folders."""
    files = (file for folder in folders for file in folder.rglob("*"))
    return sum(file.stat().st_size for file in files if file.is_file())


def summarize(calls: Sequence[Row]) -> Row:
    """Return the median of each figure, with the walls of all calls; nothing for no call."""
    if not calls:
        return {"calls": 0}
    figures: Row = {}
    for name, value in calls[0].items():
        values = [call[name] for call in calls]
        figures[name] = None if value is None else statistics.median(values)
    counts = [(call["n"], call["accuracy"]) for call in calls]
    return {
        **figures,
        "calls": len(calls),
        "same": len(set(counts)) == 1,
        "walls": [round(call["wall"], 3) for call in calls],
        "rates": [round(call["n"] / call["server_seconds"], 1) for call in calls],
    }


def judge(row: Mapping[str, Any]) -> str:
    """Return ``yes``, or what does not agree with what the mock's language says."""
    faults = []
    if row["n"] != row["questions"] or not row["same"]:
        faults.append(f"{row['n']:g} questions of {row['questions']} answered")
    if abs(row["accuracy"] - row["expected"]) > _CLOSE:
        faults.append(f"accuracy {row['accuracy']:.4f}, not {row['expected']:.4f}")
    return "NO: " + "; ".join(faults) if faults else "yes"
