"""lm-eval's own outputs on real benchmarks, from the optional development data."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmeval.core import GenerateRequest, LoglikelihoodRequest, Sampling
from tests.support.shared import shared_dir

RUNS = (
    ("stories260K", "lambada_openai_0shot"),
    ("tinystories656K", "arc_easy_0shot"),
    ("tinystories656K", "gsm8k_5shot"),
    ("tinystories656K", "hellaswag_0shot"),
    ("tinystories656K", "lambada_openai_0shot"),
    ("tinystories656K", "mmlu_0shot"),
    ("tinystories656K", "mmlu_5shot"),
    ("tinystories656K", "piqa_0shot"),
    ("tinystories656K", "truthfulqa_mc1_0shot"),
    ("tinystories656K", "truthfulqa_mc2_0shot"),
    ("tinystories656K", "winogrande_0shot"),
)


@dataclass(frozen=True)
class Pair:
    """A scored question and lm-eval's answer."""

    request: LoglikelihoodRequest
    logprob: float
    is_greedy: bool


@dataclass(frozen=True)
class Completion:
    """A prompt and lm-eval's greedy text."""

    request: GenerateRequest
    text: str


def read_run(model: str, run: str) -> tuple[list[Pair], list[Completion]]:
    """Return all questions of a run with lm-eval's answers; skips the test where there is none."""
    folder = shared_dir("reference", "lm_eval_0.4.13", model, run)
    pairs: list[Pair] = []
    completions: list[Completion] = []
    for arguments, answer in _read_answers(folder):
        first, second = arguments["arg_0"], arguments["arg_1"]
        if isinstance(second, str):
            logprob, greedy = answer
            request = LoglikelihoodRequest(first, second)
            pairs.append(Pair(request, float(logprob), greedy == "True"))
        else:
            sampling = Sampling(stop=tuple(second["until"]))
            completions.append(Completion(GenerateRequest(first, sampling), answer))
    return pairs, completions


def _read_answers(folder: Path) -> Iterator[tuple[dict, object]]:
    for path in sorted(folder.glob("samples_*.jsonl.gz")):
        seen = set()
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                if row["doc_id"] in seen:  # a task with two filters lists each document twice
                    continue
                seen.add(row["doc_id"])
                arguments = row["arguments"].values()
                yield from zip(arguments, (resp[0] for resp in row["resps"]), strict=True)
