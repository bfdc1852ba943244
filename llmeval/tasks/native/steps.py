"""Several questions per row: each may be built from the answers before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from llmeval.core import Ask, GenerateRequest, Gold, Metric, Sample, Score
from llmeval.tasks.native.generate import (
    build_scorers,
    judge_draws,
    read_answer,
    read_sampling,
    read_targets,
)
from llmeval.tasks.native.prompts import Prompter, Solved
from llmeval.tasks.native.rows import Row
from llmeval.tasks.native.scorers import Answer
from llmeval.tasks.native.spec import Step, StepsTask
from llmeval.tasks.native.task import NativeTask, Prepared, Setting
from llmeval.tasks.native.templates import TemplateError


@dataclass(frozen=True, slots=True)
class Payload:
    """The row, and the texts that are right."""

    row: Row
    targets: tuple[str, ...]


class StepsTaskRunner(NativeTask):
    """A ``steps`` task."""

    def __init__(self, spec: StepsTask, setting: Setting) -> None:
        super().__init__(spec, setting)
        self._steps = [_BoundStep(step, self, setting) for step in spec.steps]
        self._scored_step = spec.score or spec.steps[-1].name
        self._conversation = spec.conversation
        self._targets = read_targets(self, spec)
        self._scorers = build_scorers(spec, 1, setting)
        prompter = Prompter.of(
            setting.options,
            setting.workbench,
            system=spec.system,
            delimiter=spec.delimiter,
            gap="\n\n",
        )
        # Examples may stand in one turn if that is asked for; what was said stays as it was said.
        self._prompter = replace(prompter, multiturn=True)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return {scorer.metric.name: scorer.metric for scorer in self._scorers}

    def _prepare(self, row: Row, sample_id: str) -> Prepared:
        targets = self._targets(row)
        self._check_steps(row)
        return Prepared(Payload(row, targets), targets[0], Gold(text=targets[0]))

    def _check_steps(self, row: Row) -> None:
        """Render every step with stand-ins for answers: no question is asked in vain."""
        known = dict(row)
        for step in self._steps:
            if step.name in row:
                raise TemplateError(f"step {step.name!r} has the name of a field of the row")
            step.question(known)
            known[step.name] = "an answer"

    async def _evaluate(self, sample: Sample, ask: Ask) -> list[Score]:
        payload: Payload = sample.payload
        known = dict(payload.row)
        history: list[Solved] = []
        answers: dict[str, Answer] = {}
        for step in self._steps:
            question = step.question(known)
            prompter = self._prompter.with_system(step.system)
            prompt = prompter.write(question, history if self._conversation else ())
            request = GenerateRequest(prompt, step.sampling)
            (response,) = await ask([request])
            answer = answers[step.name] = read_answer(request, response, self._grade_cut)
            known[step.name] = answer.text.strip()
            history.append((question, known[step.name]))
        final = answers[self._scored_step]
        return [judge_draws(scorer, [final], payload.targets) for scorer in self._scorers]


class _BoundStep:
    """A step with its template compiled."""

    def __init__(self, step: Step, task: NativeTask, setting: Setting) -> None:
        self.name = step.name
        self.system = step.system
        self.sampling = read_sampling(step, setting.options)
        self.question = task.compile_question(step.prompt, f"step {step.name!r}")
