"""What all native tasks share: rows become samples, lazily and the same every time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from llmeval.core import (
    Ask,
    Gold,
    Metric,
    Sample,
    Score,
    TrainingRows,
    Unscorable,
    UsageError,
    canonical_json,
)
from llmeval.tasks.defect import Defect
from llmeval.tasks.native.examples import Examples
from llmeval.tasks.native.prompts import Prompter, Solved
from llmeval.tasks.native.rows import Row, Rows, Source
from llmeval.tasks.native.spec import Common, Prompted
from llmeval.tasks.native.templates import TemplateError, compile_text, compile_value
from llmeval.tasks.options import TaskOptions, Workbench


@dataclass(frozen=True, slots=True)
class Setting:
    """What surrounds a task: its file, the run's options, and what it may use."""

    path: Path
    options: TaskOptions
    workbench: Workbench


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a row comes to: what the task needs to evaluate it, what is right, how long it is."""

    payload: Any
    target: str | None
    gold: Gold | None
    size: int = 0


class NativeTask(ABC):
    """A task from YAML in the shape of :class:`llmeval.core.Task`.

    A row that a template or an answer does not fit becomes an unscored sample, so that one bad row
    does not end a run; the first row is tried when the task is loaded, so that a template which
    fits no row does not start one.
    """

    num_fewshot: int = 0

    def __init__(self, spec: Common, setting: Setting) -> None:
        self._spec = spec
        self._setting = setting
        self._source = Source(spec.data, setting.path.parent, setting.workbench.mirror)
        self._all_rows = self._source.evaluated()
        self._rows = self._all_rows.head(setting.options.limit)
        self._id = self._value(spec.id, "id") if spec.id is not None else None
        self._cluster = self._value(spec.cluster, "cluster") if spec.cluster is not None else None
        self._metadata = {name: self._value(name, "metadata") for name in spec.metadata}

    def check(self) -> None:
        """Try the first row, and look whether people were measured by a metric of the task.

        Raises:
            UsageError: the templates do not fit it, or there is no such metric.
        """
        human = self._spec.human
        if human is not None and human.metric not in (None, *self.metrics):
            raise UsageError(
                f"the task has no metric {human.metric!r}",
                where=f"{self._setting.path}, human.metric",
                mend=f"it has {', '.join(self.metrics)}",
            )
        first = next(self.samples(), None)
        if first is not None and isinstance(first.payload, Defect):
            raise UsageError(first.payload.reason, where=str(self._setting.path))

    @property
    def name(self) -> str:
        return self._spec.task

    @property
    def _grade_cut(self) -> bool:
        return self._setting.workbench.grade_cut()

    @property
    def version(self) -> str:
        return self._spec.version

    @property
    @abstractmethod
    def metrics(self) -> Mapping[str, Metric]: ...

    def __len__(self) -> int:
        return len(self._rows)

    def data(self) -> list[dict[str, Any]]:
        return [self._all_rows.fingerprint]

    def describe(self) -> dict[str, Any]:
        spec = self._spec.model_dump(mode="json", exclude_unset=True)
        return {"source": "native", "file": self._setting.path.name, "config": spec}

    def samples(self) -> Iterator[Sample]:
        """Yield the samples in the order of the rows.

        Raises:
            UsageError: two rows have the same id.
        """
        seen: dict[str, int] = {}
        for index, row in enumerate(self._rows):
            sample = self._sample(index, row)
            if seen.setdefault(sample.id, index) != index:
                raise UsageError(
                    f"rows {seen[sample.id]} and {index} have the same id {sample.id!r}",
                    where=f"{self._setting.path}: field 'id'",
                    mend="name a field that is unique, or none: rows are then numbered",
                )
            yield sample

    async def evaluate(self, sample: Sample, ask: Ask) -> list[Score]:
        if isinstance(sample.payload, Defect):
            raise Unscorable(sample.payload.reason)
        return await self._evaluate(sample, ask)

    @abstractmethod
    def _prepare(self, row: Row, sample_id: str) -> Prepared:
        """Render a row; TemplateError where it does not fit."""

    @abstractmethod
    async def _evaluate(self, sample: Sample, ask: Ask) -> list[Score]: ...

    def _sample(self, index: int, row: Row) -> Sample:
        sample = Sample(id=str(index), fields=row)
        try:
            sample = replace(
                sample,
                id=sample.id if self._id is None else as_text(self._id(row)),
                cluster=None if self._cluster is None else as_text(self._cluster(row)),
                metadata={name: value(row) for name, value in self._metadata.items()},
            )
            made = self._prepare(row, sample.id)
        except TemplateError as error:
            return replace(sample, payload=Defect(f"row {index}: {error}"))
        return replace(
            sample, target=made.target, gold=made.gold, payload=made.payload, size=made.size
        )

    # Compiling, with a syntax error that names the file.

    def compile_question(self, source: str, what: str) -> Callable[[Row], str]:
        """Return the renderer of a prompt."""
        return self._text(source, what)

    def compile_answer(self, source: str) -> Callable[[Row], Any]:
        """Return the reader of the ``answer`` field."""
        return self._value(source, "answer")

    def _text(self, source: str, what: str) -> Callable[[Row], str]:
        return self._compile(compile_text, source, what)

    def _value(self, source: str, what: str) -> Callable[[Row], Any]:
        return self._compile(compile_value, source, what)

    def _compile(
        self, compiler: Callable[[str, str], Callable[[Row], Any]], source: str, what: str
    ) -> Callable[[Row], Any]:
        try:
            return compiler(source, what)
        except TemplateError as error:
            raise UsageError(str(error), where=str(self._setting.path)) from error


class PromptedTask(NativeTask):
    """A native task with one prompt per row and solved examples before it."""

    def __init__(self, spec: Prompted, setting: Setting) -> None:
        super().__init__(spec, setting)
        options = setting.options
        self._fewshot = spec.fewshot
        self._question = self._text(spec.prompt, "prompt")
        answer = spec.fewshot.answer
        self._shown = self._text(answer, "fewshot.answer") if answer is not None else None
        asked = options.num_fewshot
        self.num_fewshot = spec.fewshot.num if asked is None else asked
        self._prompter = Prompter.of(
            options,
            setting.workbench,
            system=spec.system,
            delimiter=spec.delimiter,
            gap=spec.fewshot.delimiter,
        )

    def data(self) -> list[dict[str, Any]]:
        rows = [self._all_rows]
        if self.num_fewshot and self._pool is not self._all_rows:
            rows.append(self._pool)
        return [part.fingerprint for part in rows]

    def training_rows(self) -> TrainingRows:
        rows = self._source.training()

        def read(numbers: Sequence[int]) -> Iterator[Sample]:
            for number, row in zip(numbers, rows.pick(numbers), strict=True):
                yield Sample(id=str(number), fields=row, gold=self._gold_or_none(row))

        return TrainingRows(rows.fingerprint, len(rows), read)

    def question(self, sample: Sample) -> str:
        return self._question(sample.fields)

    def _gold_or_none(self, row: Row) -> Gold | None:
        try:
            return self._gold(row)
        except TemplateError:
            return None

    @abstractmethod
    def _gold(self, row: Row) -> Gold:
        """Return what is right; TemplateError where the row does not fit."""

    @abstractmethod
    def _answer(self, row: Row) -> str:
        """Return the answer that an example shows."""

    def _examples_for(self, row: Row, sample_id: str) -> Sequence[Solved]:
        return self._examples.choose(row, sample_id) if self.num_fewshot else ()

    def _full_answer(self, row: Row) -> str:
        """The answer with its reasoning, where the task shows any."""
        return self._shown(row) if self._shown is not None else self._answer(row)

    def _solve(self, row: Row) -> Solved:
        return self._question(row), self._full_answer(row)

    @cached_property
    def _pool(self) -> Rows:
        return self._source.examples() or self._all_rows

    @cached_property
    def _examples(self) -> Examples:
        seed = self._setting.options.seed
        return Examples(self._pool, self._fewshot, self.num_fewshot, seed, self._solve)


def as_text(value: Any) -> str:
    """Return a row's value as the text that a prompt would show; lists and objects as JSON."""
    if isinstance(value, list | dict):
        return canonical_json(value).decode()
    return str(value)
