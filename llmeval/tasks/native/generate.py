"""Generation: a completion of the prompt, judged by scorers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from llmeval.core import (
    Ask,
    GenerateRequest,
    Generation,
    Gold,
    Metric,
    Response,
    Sample,
    Sampling,
    Score,
    Unscorable,
    UsageError,
)
from llmeval.tasks.generation import require_whole, to_sampling
from llmeval.tasks.native.rows import Row
from llmeval.tasks.native.scorers import Answer, Judgement, Scorer
from llmeval.tasks.native.spec import GenerateTask, Sampled, Scored
from llmeval.tasks.native.task import NativeTask, Prepared, PromptedTask, Setting, as_text
from llmeval.tasks.native.templates import TemplateError
from llmeval.tasks.options import TaskOptions


@dataclass(frozen=True, slots=True)
class Payload:
    """The question, and the texts that are right."""

    request: GenerateRequest
    targets: tuple[str, ...]


class GenerateTaskRunner(PromptedTask):
    """A ``generate`` task."""

    def __init__(self, spec: GenerateTask, setting: Setting) -> None:
        super().__init__(spec, setting)
        self._sampling = read_sampling(spec, setting.options)
        self._repeats = read_repeats(spec.repeats, self._sampling, setting)
        self._targets = read_targets(self, spec)
        self._scorers = build_scorers(spec, self._repeats, setting)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return {scorer.metric.name: scorer.metric for scorer in self._scorers}

    def _prepare(self, row: Row, sample_id: str) -> Prepared:
        targets = self._targets(row)
        prompt = self._prompter.write(self._question(row), self._examples_for(row, sample_id))
        payload = Payload(GenerateRequest(prompt, self._sampling), targets)
        return Prepared(payload, targets[0], self._gold(row), payload.request.size)

    def _gold(self, row: Row) -> Gold:
        return Gold(text=self._full_answer(row))

    def _answer(self, row: Row) -> str:
        return self._targets(row)[0]

    async def _evaluate(self, sample: Sample, ask: Ask) -> list[Score]:
        payload: Payload = sample.payload
        requests = list(payload.request.draws(self._repeats))
        answers = [
            read_answer(request, response, self._grade_cut)
            for request, response in zip(requests, await ask(requests), strict=True)
        ]
        return [judge_draws(scorer, answers, payload.targets) for scorer in self._scorers]


def read_sampling(spec: Sampled, options: TaskOptions) -> Sampling:
    """Return a task's sampling settings, the command line's in place of its own."""
    own = {
        "max_completion_tokens": spec.max_tokens,  # the alias that gives way to all others
        "temperature": spec.temperature or None,
        "top_p": spec.top_p,
        "top_k": spec.top_k,
        "until": spec.stop,
    }
    return to_sampling({**own, **options.gen_kwargs}, options.seed)


def read_repeats(own: int, sampling: Sampling, setting: Setting) -> int:
    """Return how often each question is asked.

    Raises:
        UsageError: several times at temperature 0, which would give the same answer each time.
    """
    repeats = own if setting.options.repeats is None else setting.options.repeats
    if repeats > 1 and sampling.greedy:
        raise UsageError(
            f"{repeats} repeats at temperature 0 are the same answer {repeats} times",
            where=str(setting.path),
            mend="set a temperature above 0, in the task or with --gen-kwargs temperature=0.8",
        )
    return repeats


def build_scorers(spec: Scored, repeats: int, setting: Setting) -> list[Scorer]:
    """Return a task's scorers.

    Raises:
        UsageError: two with one name, or a corpus metric over several draws.
    """
    scorers = [scorer.build() for scorer in spec.scorers]
    names = [scorer.metric.name for scorer in scorers]
    for scorer in scorers:
        if names.count(scorer.metric.name) > 1:
            raise UsageError(
                f"two scorers report {scorer.metric.name!r}",
                where=f"{setting.path}: field 'scorers'",
                mend="give one of them a name: {type: ..., name: ...}",
            )
        if scorer.is_corpus and repeats > 1:
            raise UsageError(
                f"{scorer.metric.name} is about one answer a sample, not {repeats}",
                where=f"{setting.path}: field 'repeats'",
                mend="set repeats to 1",
            )
    return scorers


def read_targets(task: NativeTask, spec: Scored) -> Callable[[Row], tuple[str, ...]]:
    """Return a function from a row to the texts that are right; TemplateError where none is."""
    answer = spec.answer
    if isinstance(answer, list):
        parts = [task.compile_answer(text) for text in answer]
        return lambda row: tuple(as_text(part(row)) for part in parts)
    if isinstance(answer, int):
        return lambda row: (str(answer),)
    read = task.compile_answer(answer)

    def targets(row: Row) -> tuple[str, ...]:
        value = read(row)
        texts = tuple(as_text(one) for one in (value if isinstance(value, list) else [value]))
        if not texts or value is None:
            raise TemplateError("answer: the row has none")
        return texts

    return targets


def read_answer(request: GenerateRequest, response: Response, grade_cut: bool) -> Answer:
    """Return what is judged of a response.

    Raises:
        Unscorable: the answer is none, or is not all of one.
    """
    if not isinstance(response, Generation):
        raise TypeError(f"expected a completion, got {response.kind}")
    require_whole(request, response, grade_cut)
    return Answer(response.text, truncated=response.finish_reason == "length")


def judge_draws(scorer: Scorer, answers: Sequence[Answer], targets: Sequence[str]) -> Score:
    """Return the mean over draws; unscored where one of them cannot be read.

    Leaving such draws out would raise the number, and counting them as 0 would lower it.
    """
    name = scorer.metric.name
    judged: list[Judgement] = []
    unreadable: list[str] = []
    for answer in answers:
        try:
            judged.append(scorer.judge(answer, targets))
        except Unscorable as verdict:
            unreadable.append(str(verdict))
    if unreadable:
        many = f"{len(unreadable)} of {len(answers)} draws: " if len(answers) > 1 else ""
        shown = judged[0].extracted if judged else None
        return Score(name, status="unscored", reason=many + unreadable[0], extracted=shown)
    values = [one.value for one in judged if one.value is not None]
    value = sum(values) / len(values) if values else None
    return Score(name, value, extracted=judged[0].extracted, item=judged[0].item)
