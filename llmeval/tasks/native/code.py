"""Code: a completion that the sandbox executes; pass@k by the unbiased estimator."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmeval.core import (
    Ask,
    GenerateRequest,
    Gold,
    Metric,
    Sample,
    Score,
    UsageError,
)
from llmeval.stats import pass_at_k
from llmeval.tasks.native.generate import read_answer, read_repeats, read_sampling
from llmeval.tasks.native.prompts import Prompter
from llmeval.tasks.native.rows import Row
from llmeval.tasks.native.scorers import mean
from llmeval.tasks.native.spec import CodeTask
from llmeval.tasks.native.task import NativeTask, Prepared, Setting, as_text
from llmeval.tasks.native.templates import TemplateError

if TYPE_CHECKING:
    from llmeval.sandbox import Sandbox, Verdict

_FENCE = re.compile(r"^[ \t]*```[\w+-]*[ \t]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Payload:
    """The question and what its answers must pass."""

    request: GenerateRequest
    begins: str
    test: str
    entry_point: str
    asserts: tuple[str, ...]
    setup: str


class CodeTaskRunner(NativeTask):
    """A ``code`` task. The sandbox is started when the task is loaded."""

    def __init__(self, spec: CodeTask, setting: Setting) -> None:
        super().__init__(spec, setting)
        self._sandbox = _start_sandbox(setting)
        self._sampling = read_sampling(spec, setting.options)
        self._repeats = read_repeats(spec.repeats, self._sampling, setting)
        self._extract = _read_fence if spec.extract == "fence" else str
        self._ks = _fitting(spec.k, self._repeats, setting)
        self._question = self._text(spec.prompt, "prompt")
        self._begins = self._optional(spec.begins, "begins") or self._question
        self._test = self._optional(spec.test, "test")
        self._entry_point = self._optional(spec.entry_point, "entry_point")
        self._asserts = self._optional(spec.asserts, "asserts")
        self._setup = self._optional(spec.setup, "setup")
        self._solution = self._optional(spec.solution, "solution")
        self._prompter = Prompter.of(
            setting.options, setting.workbench, system=spec.system, delimiter="", gap="\n\n"
        )

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return {f"pass@{k}": Metric(f"pass@{k}", mean) for k in self._ks}

    def _optional(self, source: str | None, what: str) -> Callable[[Row], Any] | None:
        return None if source is None else self._value(source, what)

    def _prepare(self, row: Row, sample_id: str) -> Prepared:
        asserts = self._asserts(row) if self._asserts else []
        payload = Payload(
            request=GenerateRequest(self._prompter.write(self._question(row)), self._sampling),
            begins=_read(self._begins, row),
            test=_read(self._test, row),
            entry_point=_read(self._entry_point, row),
            asserts=_read_asserts(asserts),
            setup=_read(self._setup, row),
        )
        solution = None if self._solution is None else _read(self._solution, row)
        return Prepared(payload, solution, Gold(text=solution), payload.request.size)

    async def _evaluate(self, sample: Sample, ask: Ask) -> list[Score]:
        payload: Payload = sample.payload
        requests = list(payload.request.draws(self._repeats))
        answers = [
            read_answer(request, response, self._grade_cut)
            for request, response in zip(requests, await ask(requests), strict=True)
        ]
        texts = [self._extract(answer.text) for answer in answers]
        return await asyncio.to_thread(self._judge, payload, texts)

    def _judge(self, payload: Payload, texts: Sequence[str]) -> list[Score]:
        """Execute the completions; runs in a thread of its own, for it takes a while."""
        from llmeval.sandbox import SandboxError

        try:
            verdicts = [self._execute(payload, text) for text in texts]
        except SandboxError as error:
            return [Score(name, status="errored", reason=str(error)) for name in self.metrics]
        broken = [verdict.reason for verdict in verdicts if verdict.status == "error"]
        if broken:
            return [Score(name, status="unscored", reason=broken[0]) for name in self.metrics]
        passed = sum(verdict.passed for verdict in verdicts)
        about = _summarise(verdicts, passed)
        return [
            Score(f"pass@{k}", float(pass_at_k(len(verdicts), passed, k)), extracted=about)
            for k in self._ks
        ]

    def _execute(self, payload: Payload, text: str) -> Verdict:
        if payload.entry_point:
            return self._sandbox.check_function(
                payload.begins, text, payload.test, payload.entry_point
            )
        return self._sandbox.check_asserts(text, payload.asserts, payload.setup)


def _start_sandbox(setting: Setting) -> Sandbox:
    if setting.workbench.sandbox is None:
        raise UsageError(
            "the task executes code, and there is no sandbox here", where=str(setting.path)
        )
    return setting.workbench.sandbox()


def _fitting(ks: Sequence[int], repeats: int, setting: Setting) -> list[int]:
    """Return the k of pass@k that so many draws can tell."""
    fitting = [k for k in ks if k <= repeats]
    if not fitting:
        raise UsageError(
            f"pass@{min(ks)} needs {min(ks)} draws of each question, and there are {repeats}",
            where=str(setting.path),
            mend=f"set repeats: {min(ks)} or more, or --repeats",
        )
    return fitting


def _read(reader: Callable[[Row], Any] | None, row: Row) -> str:
    if reader is None:
        return ""
    value = reader(row)
    if value is None:
        raise TemplateError("a field that the test needs is null")
    return as_text(value)


def _read_asserts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise TemplateError(f"asserts must be a list of statements, not {value!r:.80}")
    return tuple(value)


def _read_fence(text: str) -> str:
    blocks = _FENCE.findall(text)
    return blocks[-1] if blocks else text


def _summarise(verdicts: Sequence[Verdict], passed: int) -> str:
    failed = next((v for v in verdicts if not v.passed), None)
    count = f"{passed} of {len(verdicts)} passed"
    return count if failed is None else f"{count}; {failed.status}: {failed.reason}"
