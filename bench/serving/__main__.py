"""``python -m bench.serving``: llmeval, lm-eval, Inspect and a bare loop on one mock server."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.scoring.machine import describe_machine
from bench.serving.contenders import Bare, Contender, Llmeval, find_inspect, find_lm_eval
from bench.serving.measure import Part, Setting, measure_part
from bench.serving.table import render

SWEEP = (64, 128, 256, 512)
_HARNESSES = ("llmeval", "lm-eval", "inspect", "bare")


def main(argv: Sequence[str]) -> int:
    given = _parse(argv)
    if given.render:
        print(render(json.loads(given.render.read_text(encoding="utf-8"))), end="")
        return 0
    contenders, skipped = _find_contenders(given)
    found: dict[str, Any] = {"machine": _describe(given), "rows": [], "command": []}
    if given.json and given.json.exists():
        old = json.loads(given.json.read_text(encoding="utf-8"))
        found |= {"rows": old["rows"], "command": old["command"]}
    found["skipped"] = skipped
    found["command"] = [*found["command"], "python -m bench.serving " + " ".join(argv)]
    measured: list[dict[str, Any]] = []

    def keep(row: dict[str, Any]) -> None:
        measured.append(row)
        _put(found["rows"], row)
        _say(_tell(row))
        if given.json:
            given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")

    setting = Setting(given.latency / 1000, given.repeat, _say)
    for part in _make_parts(given):
        few = part.name == "sweep"
        some = [c for c in contenders if c.name in ("llmeval", "bare")] if few else contenders
        measure_part(setting, part, some, keep)
    print(render(found), end="")
    return 1 if any(row["agree"] != "yes" for row in measured) else 0


def _make_parts(given: argparse.Namespace) -> list[Part]:
    parts = {
        "generate": Part("generate", "generate", given.questions, [given.connections]),
        "choice": Part("choice", "choice", given.choice_questions, [given.connections]),
        "sweep": Part("sweep", "generate", given.sweep_questions, given.sweep),
    }
    return [parts[name] for name in given.parts]


def _find_contenders(given: argparse.Namespace) -> tuple[list[Contender], dict[str, str]]:
    """Return who is measured, and who is not and why."""
    lookups = {
        "llmeval": lambda: [Llmeval(), Llmeval(text=True)],
        "lm-eval": lambda: find_lm_eval(given.lm_eval_python),
        "inspect": lambda: find_inspect(given.inspect_python),
        "bare": lambda: [Bare()],
    }
    contenders: list[Contender] = []
    skipped = {}
    for name in given.only:
        found = lookups[name]()
        if isinstance(found, str):
            skipped[name] = found
        else:
            contenders += found
    for name, reason in skipped.items():
        _say(f"{name}: skipped, {reason}")
    return contenders, skipped


def _describe(given: argparse.Namespace) -> dict[str, Any]:
    """Return machine, versions and date."""
    names = ("llmeval", "aiohttp")
    versions = {"Python": platform.python_version(), **{name: version(name) for name in names}}
    try:
        loop = f"uvloop {version('uvloop')}"
    except PackageNotFoundError:
        loop = "asyncio's own loop"
    machine = describe_machine(0)
    return {
        **{name: machine[name] for name in ("date", "cpu", "cores", "memory_gb")},
        "versions": versions,
        "loop": loop,
        "latency": given.latency / 1000,
        "repeat": given.repeat,
    }


def _put(rows: list[dict[str, Any]], row: dict[str, Any]) -> None:
    """Replace the row of the same part, harness and connections, or add it."""
    key = ("part", "name", "connections")
    for i, old in enumerate(rows):
        if all(old[name] == row[name] for name in key):
            rows[i] = row
            return
    rows.append(row)


def _tell(row: dict[str, Any]) -> str:
    begin = f"{row['part']}, {row['connections']} connections, {row['label']}: "
    if not row["calls"]:
        return begin + row["agree"]
    return begin + (
        f"{row['n'] / row['server_seconds']:,.0f} samples/s, {1000 * row['cpu_sample']:.2f} ms of"
        f" CPU a sample; answers agree: {row['agree']}; load {row['load']:.1f}"
    )


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.serving", description=__doc__)
    add = parser.add_argument
    add("--questions", type=int, default=1000)
    add("--connections", type=int, default=64)
    add("--latency", type=float, default=50.0, help="of the mock server, in ms")
    add("--parts", type=_names, default=["generate", "choice", "sweep"])
    add("--choice-questions", type=int, default=200, help="whose log-probabilities are asked")
    add("--sweep", type=_numbers, default=list(SWEEP), help="connections, by commas")
    add("--sweep-questions", type=int, default=4000)
    add("--only", type=_names, default=list(_HARNESSES), help=", ".join(_HARNESSES))
    add("--lm-eval-python", type=Path, default=Path(sys.executable),
        help="an interpreter that has lm-eval[api] and transformers")  # fmt: skip
    add("--inspect-python", type=Path, help="an interpreter that has inspect-ai and openai")
    add("--repeat", type=int, default=1, help="rounds in turn; the medians count")
    add("--json", type=Path, help="file that gets the figures; rows already there are kept")
    add("--render", type=Path, help="only print the tables of such a file")
    given = parser.parse_args(argv)
    for names, known in ((given.parts, ("generate", "choice", "sweep")), (given.only, _HARNESSES)):
        for name in names:
            if name not in known:
                parser.error(f"unknown: {name!r}; there are {', '.join(known)}")
    if min(given.questions, given.choice_questions, given.sweep_questions) < 2:
        parser.error("at least 2 questions: the first one is the start-up")
    return given


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
