"""Grading stored answers once more by the task's own scorer, with a wrapping taken off.

No model is asked: the tasks are built again from the manifest, and ``ask`` gives what the record
holds. Code is executed in the sandbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmeval.core import (
    Ask,
    Generation,
    LlmevalError,
    Request,
    Response,
    Sample,
    Score,
    Task,
)
from llmeval.engine.verdicts import NoAnswer, require_answers, score
from llmeval.reports.triage.items import Side
from llmeval.reports.triage.repairs import unwrap
from llmeval.runs import Run
from llmeval.runs.record import content_of
from llmeval.tasks.letters import BY_GENERATION, LetterTask
from llmeval.tasks.options import TaskOptions, Workbench
from llmeval.tasks.registry import load_tasks

if TYPE_CHECKING:
    from llmeval.sandbox import Sandbox

THOROUGH = 300  # answers that are tried with every wrapping: code takes a while
_AT_ONCE = 32
_MAY_DIFFER = 0.1  # of the answers: code that takes its time may pass once and not again
_OTHERWISE = "\0"


def _join_turns(messages: Sequence[Mapping[str, str]], add_generation_prompt: bool) -> str:
    """Stand for a model's chat template: the prompts are not asked any more."""
    return "\n\n".join(message["content"] for message in messages)


@dataclass(frozen=True, slots=True)
class Materials:
    """What tasks are built again from.

    Args:
        workspace: whose tasks hide built-in ones.
        mirror: local mirror of data sets.
        sandbox: gives the sandbox where a task executes code; None: such tasks are not regraded.
    """

    workspace: Path
    mirror: Path | None = None
    sandbox: Callable[[], Sandbox] | None = None


class Regrader:
    """The tasks of one run, built again.

    Args:
        run: whose answers are graded.
        names: the tasks as they were asked for; those of the manifest by default.
    """

    def __init__(self, run: Run, materials: Materials, names: Sequence[str] = ()) -> None:
        self._run = run
        self._materials = materials
        self._names = names
        self._built: dict[str, Task] | None = None
        self._problem: str | None = None

    def why_not(self, task: str) -> str | None:
        """Return why a task cannot be graded again; None where it can."""
        if task in self._build():
            return None
        return self._problem or f"the task {task} is not found any more"

    def _build(self) -> dict[str, Task]:
        if self._built is None:
            self._built = {}
            for name in self._names_asked():
                try:
                    self._built |= {task.name: task for task in self._load(name)}
                except LlmevalError as error:
                    self._problem = str(error)
                except Exception as error:  # a foreign task's code
                    self._problem = f"{type(error).__name__}: {error}".splitlines()[0]
        return self._built

    def _names_asked(self) -> Sequence[str]:
        request = self._run.manifest.get("request")
        asked = request.get("tasks") if isinstance(request, Mapping) else None
        return self._names or asked or list(self._run.summary["tasks"])

    def _load(self, name: str) -> Iterator[Task]:
        manifest, tasks = self._run.manifest, self._run.summary["tasks"]
        known = {field.name for field in fields(TaskOptions)}
        told = manifest.get("options") or {}
        options = TaskOptions(**{name: told[name] for name in told if name in known})
        grade_cut = _graded_cut(manifest)
        workbench = Workbench(
            mirror=self._materials.mirror,
            chat_template=_join_turns,
            sandbox=self._materials.sandbox,
            grade_cut=lambda: grade_cut,
        )
        for task in load_tasks([name], options, workbench, self._materials.workspace).tasks:
            by_letter = (tasks.get(task.name) or {}).get("form") == BY_GENERATION
            yield LetterTask(task, BY_GENERATION, grade_cut=grade_cut) if by_letter else task

    def find_wrapping(
        self, task: str, metric: str, items: Sequence[Side], reaches: Callable[[Side, float], bool]
    ) -> dict[str, str]:
        """Return, for each item that is right once a wrapping is off, the name of the wrapping.

        Args:
            items: of the same run. After `THOROUGH` of them, only wrappings that were found are
                looked for.
            reaches: whether a value makes an item as good as it ought to be.

        Raises:
            CannotRegrade: the task scores otherwise now than it did then, or is not there.
        """
        if problem := self.why_not(task):
            raise CannotRegrade(problem)
        wanted = {side.sample_id: side for side in items if side.text}
        regrading = _Regrading(self._build()[task], metric, reaches)
        try:
            return asyncio.run(regrading.all(wanted))
        except LlmevalError as error:
            raise CannotRegrade(str(error)) from error


class CannotRegrade(Exception):
    """Why answers cannot be graded again; the text says it."""


def _graded_cut(manifest: Mapping[str, Any]) -> bool:
    """Whether answers at the token limit were graded, as ``preparation`` decides it."""
    options = manifest.get("options") or {}
    chosen = options.get("cut_answers", "auto")
    model = manifest.get("model") or {}
    if chosen != "auto" or model.get("backend") != "openai":
        return bool(chosen != "unscored")
    completes = bool((model.get("api") or {}).get("text") == "completions")
    return completes and not options.get("apply_chat_template")


@dataclass(frozen=True, slots=True)
class _Regrading:
    task: Task
    metric: str
    reaches: Callable[[Side, float], bool]

    async def all(self, wanted: Mapping[str, Side]) -> dict[str, str]:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(sample: Sample, only: set[str] | None = None) -> tuple[str, str | None]:
            async with gate:
                return sample.id, await self._find(sample, wanted[sample.id], only)

        samples = [
            sample
            for sample in self.task.samples()
            if sample.id in wanted and content_of(sample) == wanted[sample.id].content
        ]
        found = await asyncio.gather(*(one(sample) for sample in samples[:THOROUGH]))
        if names := {name for _, name in found if name and name != _OTHERWISE}:
            found += await asyncio.gather(*(one(sample, names) for sample in samples[THOROUGH:]))
        others = [name for name, wrapping in found if wrapping == _OTHERWISE]
        if len(others) > _MAY_DIFFER * len(found):
            what = f"{len(others)} of {len(found)} answers get another score now than in the run"
            raise CannotRegrade(f"{what}, e.g. {others[0]}: its scoring has changed")
        return {name: text for name, text in found if text and text != _OTHERWISE}

    async def _find(self, sample: Sample, side: Side, only: set[str] | None) -> str | None:
        responses = side.responses
        if self._value(await self._grade(sample, responses)) != side.value:
            return _OTHERWISE
        for name, repaired in _repair(responses):
            if only is not None and name not in only:
                continue
            value = self._value(await self._grade(sample, repaired))
            if value is not None and self.reaches(side, value):
                return name
        return None

    def _value(self, scores: Sequence[Score]) -> float | None:
        scored = (s.value for s in scores if s.metric == self.metric and s.status == "scored")
        return next(scored, None)

    async def _grade(self, sample: Sample, responses: Sequence[Response]) -> list[Score]:
        return await score(self.task, sample, _replay(responses))


def _replay(responses: Sequence[Response]) -> Ask:
    """Return an ``ask`` that gives stored answers in the order in which they were given."""
    left = iter(responses)

    async def ask(requests: Sequence[Request]) -> list[Response]:
        given = [answer for _, answer in zip(requests, left, strict=False)]
        if len(given) < len(requests):
            raise NoAnswer("the record holds no answer to this question")
        require_answers(given)
        return given

    return ask


def _repair(responses: Sequence[Response]) -> Iterator[tuple[str, list[Response]]]:
    """Yield the answers with each wrapping taken off that any of them has."""
    found: dict[str, dict[int, str]] = {}
    for place, response in enumerate(responses):
        if isinstance(response, Generation):
            for name, text in unwrap(response.text):
                found.setdefault(name, {})[place] = text
    for name, texts in found.items():
        yield (
            name,
            [
                replace(response, text=texts[place])
                if place in texts and isinstance(response, Generation)
                else response
                for place, response in enumerate(responses)
            ],
        )
