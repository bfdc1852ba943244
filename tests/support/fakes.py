"""A model and tasks with known answers, for tests of everything between the two.

The model's numbers depend in their last digits on the whole batch that a question was answered in,
as those of real models do. So two records are only equal when their batches were.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from llmeval.core import (
    Answers,
    Ask,
    GenerateRequest,
    Generation,
    Gold,
    Loglikelihood,
    LoglikelihoodRequest,
    Metric,
    Request,
    Response,
    Sample,
    Score,
    Unscorable,
    canonical_json,
)
from llmeval.engine.journal import Keyring
from llmeval.stats import estimate_mean

Kind = Literal["choice", "generate", "steps", "mixed"]
Evaluate = Callable[[Sample, Ask], Any]


def number(*parts: object) -> int:
    """Return a large number that depends on the text of ``parts`` and on nothing else."""
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:6], "big")


class FakeModel:
    """Answers from a hash of the question and of the batch.

    Args:
        log: file that gets a line for each question asked: its journal key.
        delay: seconds for each batch.
        batch: questions in a batch; equal lengths stay in the order given, so order matters.
        before: called with each batch before it is answered; may raise.
        concurrency: batches that may be answered at once.
    """

    capabilities = frozenset({"loglikelihood", "generate", "chat"})

    def __init__(
        self,
        name: str = "fake",
        *,
        log: Path | None = None,
        delay: float = 0.0,
        batch: int = 8,
        before: Callable[[Sequence[Request]], object] | None = None,
        concurrency: int = 1,
    ) -> None:
        self.name = name
        self.concurrency = concurrency
        self.fingerprint = f"fingerprint of {name}"
        self.asked: list[Request] = []
        self.batches: list[tuple[Request, ...]] = []
        self._log = log
        self._delay = delay
        self._batch = batch
        self._before = before
        self._keyring = Keyring(self.fingerprint)

    def describe(self) -> dict[str, Any]:
        return {"batch": self._batch}

    def prepare(self, requests: Sequence[Request]) -> None:
        pass

    def report(self) -> dict[str, Any]:
        return {}

    def plan(self, requests: Sequence[Request]) -> list[list[int]]:
        order = sorted(range(len(requests)), key=lambda i: -len(str(requests[i].prompt)))
        return [order[i : i + self._batch] for i in range(0, len(order), self._batch)]

    def answer(self, requests: Sequence[Request]) -> Answers:
        if self._before is not None:
            self._before(requests)
        self._note(requests)
        time.sleep(self._delay)
        company = number(*(canonical_json(r.canonical()) for r in requests))
        return Answers(
            [self.reply(r, company) for r in requests],
            computed_tokens=3 * len(requests),
            distinct_tokens=2 * len(requests),
        )

    def _note(self, requests: Sequence[Request]) -> None:
        self.asked += requests
        self.batches.append(tuple(requests))
        if self._log is not None:
            lines = "".join(f"{self._keyring.key(r).hex()}\n" for r in requests)
            with self._log.open("ab", buffering=0) as file:  # O_APPEND: whole lines, any process
                file.write(lines.encode())

    def reply(self, request: Request, company: int = 0) -> Response:
        """Return the answer to a question that is asked together with ``company``."""
        value = number(request.kind, canonical_json(request.canonical()))
        if isinstance(request, GenerateRequest):
            return Generation(str(value % 1000), prompt_tokens=7, completion_tokens=3)
        low_digits = company % 997 * 1e-12
        return Loglikelihood(-(value % 10_000) / 100 + low_digits, value % 2 == 0, 1, 5)

    def close(self) -> None:
        pass

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool
    ) -> str:
        return "\n".join(f"{m['role']}: {m['content']}" for m in messages)


class FakeTask:
    """Samples of one kind: choices, a completion, several steps, or all three in turn.

    Every third context is that of an earlier sample, so questions repeat within and across windows;
    tasks of one ``theme`` share their questions.

    Args:
        evaluate: replaces how samples are evaluated.
        clustered: three neighbours share a cluster.
    """

    version = "1"
    num_fewshot = 0

    def __init__(
        self,
        name: str = "fake_task",
        n: int = 10,
        kind: Kind = "choice",
        *,
        theme: str = "theme",
        evaluate: Evaluate | None = None,
        metrics: Mapping[str, Metric] | None = None,
        clustered: bool = False,
        context: str = "",
    ) -> None:
        self.name = name
        self._n = n
        self._kind = kind
        self._theme = theme
        self._evaluate = evaluate
        self._clustered = clustered
        self._context = context
        self.metrics = metrics or {"acc": Metric("acc", estimate_mean, chance="choices")}

    def __len__(self) -> int:
        return self._n

    def samples(self) -> Iterator[Sample]:
        for i in range(self._n):
            right = number(self._theme, i) % 4
            yield Sample(
                id=str(i),
                fields={"question": self.question(i)},
                target="ABCD"[right],
                metadata={"parity": i % 2},
                cluster=f"passage {i // 3}" if self._clustered else None,
                gold=Gold(choices=tuple("ABCD"), right=(right,)),
                payload=i,
            )

    def question(self, i: int) -> str:
        asked = i // 2 if i % 3 == 2 else i
        return f"{self._context}{self._theme} {asked}{'?' * (asked % 3)}"

    async def evaluate(self, sample: Sample, ask: Ask) -> list[Score]:
        if self._evaluate is not None:
            scores: list[Score] = await self._evaluate(sample, ask)
            return scores
        kinds: Sequence[Kind] = ("choice", "generate", "steps")
        kind = kinds[sample.payload % 3] if self._kind == "mixed" else self._kind
        evaluate = {"choice": ask_choices, "generate": ask_text, "steps": ask_in_steps}[kind]
        return [Score("acc", await evaluate(sample, ask))]

    def data(self) -> list[dict[str, Any]]:
        return [
            {"id": self._theme, "config": None, "split": "test", "rows": self._n, "digest": "00"}
        ]

    def describe(self) -> dict[str, Any]:
        return {"kind": self._kind, "theme": self._theme, "n": self._n}


async def ask_choices(sample: Sample, ask: Ask) -> float:
    context = sample.fields["question"]
    answers = await ask([LoglikelihoodRequest(context, f" {c}") for c in "ABCD"])
    logprobs = [a.logprob for a in answers if isinstance(a, Loglikelihood)]
    return float("ABCD"[logprobs.index(max(logprobs))] == sample.target)


async def ask_text(sample: Sample, ask: Ask) -> float:
    text = await complete(ask, sample.fields["question"])
    if int(text) % 10 == 0:
        raise Unscorable("a round number")
    return float(int(text) % 2)


async def ask_in_steps(sample: Sample, ask: Ask) -> float:
    """Answer; two critiques at once, one of which takes a step more; a final answer."""

    async def criticise(prompt: str, steps: int) -> str:
        for _ in range(steps):
            prompt = await complete(ask, prompt)
        return prompt

    first = await complete(ask, sample.fields["question"])
    critiques = await asyncio.gather(criticise(f"? {first}", 1), criticise(f"! {first}", 2))
    await asyncio.sleep(random.random() / 1000)  # as a sandbox: who asks first is not certain
    final = await complete(ask, " ".join([first, *critiques]))
    return float(int(final) % 2)


async def complete(ask: Ask, prompt: str) -> str:
    """Ask for one completion and return its text."""
    (answer,) = await ask([GenerateRequest(prompt)])
    assert isinstance(answer, Generation)
    return answer.text


class Dies:
    """A ``before`` for :class:`FakeModel` that kills the process, or the run, at batch ``k``."""

    def __init__(self, k: int, how: Callable[[], object]) -> None:
        self._left = k
        self._how = how

    def __call__(self, requests: Sequence[Request]) -> None:
        self._left -= 1
        if self._left < 0:
            self._how()


def die_now() -> None:
    """End this process as ``kill -9`` does: nothing is flushed, no handler runs."""
    os.kill(os.getpid(), 9)
