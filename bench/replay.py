"""``python -m bench.replay``: how fast a run with everything journaled is replayed.

14,000 samples of four choices (56,000 questions, contexts of 3 kB): MMLU five-shot in shape. The
first run asks a model that answers at once, the second one finds every answer in the journal.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmeval.core import (
    Answers,
    Ask,
    Gold,
    Loglikelihood,
    LoglikelihoodRequest,
    Metric,
    Request,
    Sample,
    Score,
)
from llmeval.run_spec import RunSpec
from llmeval.session import execute
from llmeval.stats import estimate_mean

_CHOICES = ("A", "B", "C", "D")


class InstantModel:
    """Answers at once, by the length of the context."""

    name = "instant"
    fingerprint = "instant"
    capabilities = frozenset({"loglikelihood"})
    concurrency = 1

    def __init__(self) -> None:
        self.asked = 0

    def describe(self) -> dict[str, Any]:
        return {}

    def prepare(self, requests: Sequence[Request]) -> None:
        pass

    def report(self) -> dict[str, Any]:
        return {}

    def plan(self, requests: Sequence[Request]) -> list[list[int]]:
        return [list(range(i, min(i + 256, len(requests)))) for i in range(0, len(requests), 256)]

    def answer(self, requests: Sequence[Request]) -> Answers:
        self.asked += len(requests)
        return Answers([Loglikelihood(-float(len(r.prompt) % 7), False, 1, 700) for r in requests])

    def close(self) -> None:
        pass

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool
    ) -> str:
        raise NotImplementedError


class Choices:
    """Questions of four choices after a long context."""

    name = "choices"
    version = "1"
    num_fewshot = 5
    metrics: Mapping[str, Metric] = {"acc": Metric("acc", estimate_mean, chance="choices")}

    def __init__(self, n: int, length: int) -> None:
        self._n = n
        self._shots = ("The quick brown fox jumps over the lazy dog. " * length)[:length]

    def __len__(self) -> int:
        return self._n

    def samples(self) -> Iterator[Sample]:
        for i in range(self._n):
            gold = Gold(_CHOICES, (i % 4,))
            yield Sample(str(i), {"question": f"Question {i}?"}, _CHOICES[i % 4], gold=gold)

    async def evaluate(self, sample: Sample, ask: Ask) -> list[Score]:
        context = f"{self._shots}\n{sample.fields['question']}\nAnswer:"
        answers = await ask([LoglikelihoodRequest(context, f" {c}") for c in _CHOICES])
        logprobs = [a.logprob for a in answers if isinstance(a, Loglikelihood)]
        best = logprobs.index(max(logprobs))
        return [Score("acc", float(_CHOICES[best] == sample.target))]

    def data(self) -> list[dict[str, Any]]:
        return [{"id": "bench", "config": None, "split": "test", "rows": self._n, "digest": "0"}]

    def describe(self) -> dict[str, Any]:
        return {"n": self._n}


def measure(samples: int, length: int, workspace: Path) -> list[tuple[str, float, int]]:
    """Return for the first run and its replay: what it is, seconds, questions asked."""
    figures = []
    for what in ("asked", "replayed"):
        model = InstantModel()
        spec = RunSpec(model, (Choices(samples, length),), workspace, out=workspace / "results")
        start = time.perf_counter()
        execute(spec)
        figures.append((what, time.perf_counter() - start, model.asked))
    return figures


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=14_000)
    parser.add_argument("--length", type=int, default=3000, help="characters of a context")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        for what, seconds, asked in measure(given.samples, given.length, Path(folder)):
            rate = given.samples / seconds
            print(f"{what:9} {seconds:7.2f} s {rate:9.0f} samples/s {asked:7} questions asked")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
