"""``python -m bench.host``: how long the host takes from task names to packs, stage by stage.

MMLU five-shot whole is the measure: 14,042 questions of four choices after some 3 kB of context.
One core: the tokenizer may not use more. No model is loaded. ``--plain`` also times the slow way
of tokenizing, every text whole, on a part of the questions.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from llmeval.core import LoglikelihoodRequest, Request, Response, Sample, Task

_PACK = 512  # tokens, as the CPU has them
_UNIT = 16 * _PACK
_ANY = 1 << 30  # vocabulary: there is no model that could lack a token


class _Asked(Exception):
    """Ends a sample at its first question."""


class Clock:
    """Seconds of each stage: wall, and of the process on all cores."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, float, float, str]] = []

    @contextmanager
    def time(self, what: str) -> Iterator[list[str]]:
        """Time a block; what it puts into the list is told beside the figure."""
        notes: list[str] = []
        wall, cpu = time.perf_counter(), time.process_time()
        yield notes
        spent = time.perf_counter() - wall, time.process_time() - cpu
        self.stages.append((what, *spent, ", ".join(notes)))

    def render(self) -> str:
        total = ("together", sum(s[1] for s in self.stages), sum(s[2] for s in self.stages), "")
        lines = [f"{w:24} {s:7.2f} s {c:7.2f} s CPU  {n}" for w, s, c, n in [*self.stages, total]]
        return "\n".join(line.rstrip() for line in lines)


def collect(
    clock: Clock, data: Path | None, names: Sequence[str], shots: int
) -> list[LoglikelihoodRequest]:
    """Return what the tasks ask first."""
    with clock.time("load tasks") as notes, tempfile.TemporaryDirectory() as workspace:
        from llmeval.tasks.options import TaskOptions, Workbench
        from llmeval.tasks.registry import load_tasks

        options = TaskOptions(num_fewshot=shots)
        tasks = load_tasks(names, options, Workbench(mirror=data), Path(workspace)).tasks
        notes.append(f"{len(tasks)} tasks")
    with clock.time("render") as notes:
        samples = [(task, sample) for task in tasks for sample in task.samples()]
        notes.append(f"{len(samples)} samples")
    with clock.time("ask") as notes:
        asked = [request for task, sample in samples for request in _ask(task, sample)]
        pairs = [request for request in asked if isinstance(request, LoglikelihoodRequest)]
        notes.append(f"{len(pairs)} questions")
    return pairs


def encode(clock: Clock, model: Path, length: int, pairs: Sequence[LoglikelihoodRequest]) -> Any:
    """Return the rows of questions."""
    with clock.time("load tokenizer"):
        rules = _load_rules(model, length)
    with clock.time("tokenize") as notes:
        spans = [span for e in rules.encode_pairs(pairs) for span in getattr(e, "spans", ())]
        notes.append(f"{sum(len(span.inputs) for span in spans)} tokens")
    return spans


def compare(clock: Clock, model: Path, length: int, pairs: Sequence[LoglikelihoodRequest]) -> None:
    """Time both ways of tokenizing on the same questions, and check that they agree."""
    found = []
    for cutting in (True, False):
        rules = _load_rules(model, length, cutting)
        with clock.time("cut" if cutting else "whole texts") as notes:
            encoded = rules.encode_pairs(pairs)
            notes.append(f"{len(pairs)} questions")
        found.append([[span.inputs.tolist() for span in e.spans] for e in encoded])
    if found[0] != found[1]:
        raise SystemExit("the two ways give different tokens")


def _load_rules(model: Path, length: int, cutting: bool = True) -> Any:
    from transformers import AutoTokenizer

    from llmeval.models.hf.tokens import TokenRules

    return TokenRules(AutoTokenizer.from_pretrained(model), length, _ANY, cutting=cutting)


def _ask(task: Task, sample: Sample) -> list[Request]:
    """Return the questions that a sample asks first."""
    asked: list[Request] = []

    async def ask(requests: Sequence[Request]) -> list[Response]:
        asked.extend(requests)
        raise _Asked

    coroutine: Coroutine[Any, Any, Any] = task.evaluate(sample, ask)
    try:
        coroutine.send(None)
    except (_Asked, StopIteration):
        pass
    finally:
        coroutine.close()
    return asked


def pack(clock: Clock, spans: Sequence[Any]) -> None:
    """Cut rows into packs, as the scorer does."""
    from llmeval.models.packing import build_trie, cut_packs, plan_units

    with clock.time("tree") as notes:
        trie = build_trie([span.inputs for span in spans])
        notes.append(f"{trie.nodes} distinct tokens")
    with clock.time("units") as notes:
        reads = trie.lengths
        first = np.array([len(span.inputs) - len(span.targets) for span in spans])
        np.minimum.at(reads, trie.row_of, first)
        units = plan_units(trie, reads.tolist(), _UNIT)
        notes.append(f"{len(units)} units")
    with clock.time("packs") as notes:
        packs = 0
        for unit in units:
            rows = np.arange(len(unit.rows))
            ends = np.array([len(row) - 1 for row in unit.rows])
            packs += len(cut_packs(unit.rows, unit.shared, np.stack([rows, ends]), _PACK))
        notes.append(f"{packs} packs of {_PACK}")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="local mirror of data sets; the hub otherwise")
    parser.add_argument("--model", type=Path, required=True, help="folder with a tokenizer")
    parser.add_argument("--tasks", nargs="+", default=["mmlu"])
    parser.add_argument("--num-fewshot", type=int, default=5)
    parser.add_argument("--max-length", type=int, default=4096, help="the model's context")
    parser.add_argument(
        "--plain", type=int, metavar="N", help="also time the slow way, on N of the questions"
    )
    given = parser.parse_args(argv)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core
    clock = Clock()
    pairs = collect(clock, given.data, given.tasks, given.num_fewshot)
    pack(clock, encode(clock, given.model, given.max_length, pairs))
    print(clock.render())
    if given.plain:
        some = random.Random(0).sample(pairs, min(given.plain, len(pairs)))
        ways = Clock()
        compare(ways, given.model, given.max_length, some)
        print("\n" + ways.render())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
