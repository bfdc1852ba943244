"""What a task's YAML may hold. Every error names file, line and field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from llmeval.tasks.native.scorers import AnyScorer, Strict, short_form
from llmeval.tasks.native.templates import is_template
from llmeval.tasks.native.validation import Misfit, validate
from llmeval.tasks.native.yaml_source import Document

Template = Annotated[str, Field(min_length=1)]


def _version(value: Any) -> Any:
    if isinstance(value, float):
        raise Misfit("a bare 1.10 would be read as 1.1", "write it in quotes")
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Data(Strict):
    """Where the rows are: a file or folder (``path``), or a data set on the hub (``id``).

    Attributes:
        fewshot_split, fewshot_path: rows that solved examples are drawn from.
        train_split, train_path: rows that baselines learn from; those of ``fewshot_*`` by default.
    """

    path: str | None = None
    id: str | None = None
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    fewshot_split: str | None = None
    fewshot_path: str | None = None
    train_split: str | None = None
    train_path: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.id is None):
            raise Misfit("needs exactly one source", "give path (a file) or id (a hub data set)")
        return self


class FewShot(Strict):
    """Solved examples before each question.

    Attributes:
        num: how many; ``--num-fewshot`` overrides it.
        delimiter: between examples.
        sampler: ``first`` for the first rows, ``random`` for a draw of its own per sample.
        seed: of the draws; the run's seed by default.
        match: only rows that have the same value in this field (MMLU: ``subject``).
        answer: what stands as an example's answer, where it is more than the target (reasoning).
    """

    num: int = Field(default=0, ge=0)
    delimiter: str = "\n\n"
    sampler: Literal["first", "random"] = "random"
    seed: int | None = None
    match: str | None = None
    answer: Template | None = None


class Sampled(Strict):
    """How completions are drawn."""

    max_tokens: int = Field(default=256, ge=1)
    temperature: int | float = Field(default=0, ge=0, allow_inf_nan=False)
    top_p: int | float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=1)
    stop: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)


class Human(Strict):
    """What people reach on a task, which leaderboards show beside the models.

    Attributes:
        value: in the metric's unit.
        metric: the task's metric that it is about; its first one by default.
        source: who measured it, where that is written.
    """

    value: int | float = Field(allow_inf_nan=False)
    metric: str | None = None
    source: str = Field(min_length=1)


class Common(Strict):
    """Fields that every task has."""

    task: str = Field(pattern=r"^[\w][\w.+:-]*$")
    description: str = ""
    version: Annotated[str, BeforeValidator(_version)] = "1"
    tags: list[str] = Field(default_factory=list)
    data: Data
    id: str | None = None
    cluster: str | None = None
    metadata: list[str] = Field(default_factory=list)
    system: str | None = None
    human: Human | None = None


class Prompted(Common):
    """A task with one prompt per row."""

    prompt: Template
    delimiter: str = " "
    fewshot: FewShot = FewShot()

    @field_validator("prompt")
    @classmethod
    def _reads_row(cls, prompt: str) -> str:
        if not is_template(prompt):
            raise Misfit("reads no field of the row", "write it in braces, {{ question }}")
        return prompt


class ChoiceSet(Strict):
    """Choices and which of them are right.

    Attributes:
        choices: a field that holds a list, Jinja that gives one, or a list of Jinja texts.
        answer: the right one: its index, or its text; or a list of either.
        labels: instead of ``answer``, a list of 0 and 1, one for each choice.
    """

    choices: Template | list[str]
    answer: Template | int | None = None
    labels: Template | None = None

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if (self.answer is None) == (self.labels is None):
            raise Misfit("nothing or two things say which choice is right", "give answer or labels")
        return self


class ChoiceMetric(Strict):
    """A metric of a choice task, over choices of its own where it names some."""

    type: Literal["acc", "acc_norm", "mc2", "brier_score"]
    name: str | None = None
    choices: Template | list[str] | None = None
    answer: Template | int | None = None
    labels: Template | None = None

    @model_validator(mode="after")
    def _whole_set(self) -> Self:
        given = self.answer is not None or self.labels is not None
        if given != (self.choices is not None):
            raise Misfit(
                "a metric needs its own choices and answer or labels together", "give both"
            )
        if self.choices is not None:
            self.own_choices()
        return self

    def own_choices(self) -> ChoiceSet | None:
        """Return the metric's own choices, if any."""
        if self.choices is None:
            return None
        return ChoiceSet(choices=self.choices, answer=self.answer, labels=self.labels)


class ChoiceTask(Prompted):
    """Multiple choice by log-probability."""

    type: Literal["choice"]
    choices: Template | list[str]
    answer: Template | int | None = None
    labels: Template | None = None
    metrics: list[Annotated[ChoiceMetric, BeforeValidator(short_form)]] = Field(
        default_factory=lambda: [ChoiceMetric(type="acc"), ChoiceMetric(type="acc_norm")],
        min_length=1,
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self.main_choices()
        _refuse_duplicates([m.name or m.type for m in self.metrics], "metrics")
        return self

    def main_choices(self) -> ChoiceSet:
        """Return the choices that metrics without choices of their own are about."""
        return ChoiceSet(choices=self.choices, answer=self.answer, labels=self.labels)


class Scored(Strict):
    """What is compared with the completion, and how."""

    answer: Template | int | list[str]
    scorers: list[AnyScorer] = Field(min_length=1)


class GenerateTask(Prompted, Sampled, Scored):
    """A completion and its scorers."""

    type: Literal["generate"]
    repeats: int = Field(default=1, ge=1)


class CodeTask(Common, Sampled):
    """A completion that is executed in the sandbox, with ``test`` or ``asserts``.

    Attributes:
        test, entry_point: as HumanEval: ``test`` defines ``check(candidate)``.
        asserts, setup: as MBPP: statements about what the completion defines.
        begins: the program that the completion continues; the prompt unless given.
        extract: ``raw`` takes the completion as it is, ``fence`` what stands in its last fenced
            block, if it has one.
        solution: a completion that passes, for ``baseline:oracle``.
        k: of pass@k.
    """

    type: Literal["code"]
    prompt: Template
    begins: Template | None = None
    test: Template | None = None
    entry_point: Template | None = None
    asserts: Template | None = None
    setup: Template | None = None
    extract: Literal["raw", "fence"] = "raw"
    solution: Template | None = None
    max_tokens: int = Field(default=512, ge=1)
    repeats: int = Field(default=1, ge=1, le=1000)
    k: list[Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: [1], min_length=1)

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        if (self.test is None) == (self.asserts is None):
            raise Misfit("needs exactly one kind of test", "give test and entry_point, or asserts")
        if (self.test is None) != (self.entry_point is None):
            raise Misfit("test and entry_point come together", "give both")
        return self


class Step(Sampled):
    """One question of several; its template reads the row and the answers of earlier steps."""

    name: str = Field(pattern=r"^[A-Za-z_]\w*$")
    prompt: Template
    system: str | None = None


class StepsTask(Common, Scored):
    """Several questions per row, each of which may use the answers before it.

    Attributes:
        score: name of the step that is scored; the last one by default.
        conversation: earlier prompts and answers stay in the prompt, as turns of a chat.
    """

    type: Literal["steps"]
    steps: list[Step] = Field(min_length=1)
    score: str | None = None
    conversation: bool = False
    delimiter: str = " "

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [step.name for step in self.steps]
        _refuse_duplicates(names, "steps")
        if self.score is not None and self.score not in names:
            raise Misfit(f"score names no step: {self.score!r}", f"steps are {', '.join(names)}")
        return self


class SuiteMember(Strict):
    """A task of a suite by name, native or lm-eval's, with settings of its own."""

    task: str = Field(min_length=1)
    num_fewshot: int | None = Field(default=None, ge=0)
    limit: int | None = Field(default=None, ge=1)
    apply_chat_template: bool | None = None
    system_instruction: str | None = None
    fewshot_as_multiturn: bool | None = None
    gen_kwargs: dict[str, Any] | None = None
    repeats: int | None = Field(default=None, ge=1)
    seed: int | None = None


def _member(value: Any) -> Any:
    return {"task": value} if isinstance(value, str) else value


class SuiteSpec(Strict):
    """A list of tasks under one name."""

    type: Literal["suite"]
    task: str = Field(pattern=r"^[\w][\w.+:-]*$")
    description: str = ""
    tags: list[str] = Field(default_factory=list)
    tasks: list[Annotated[SuiteMember, BeforeValidator(_member)]] = Field(min_length=1)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        names = [member.task for member in self.tasks]
        _refuse_duplicates(names, "tasks")
        if self.task in names:
            raise Misfit(f"the suite lists itself: {self.task!r}", "take it out")
        return self


TaskSpec = ChoiceTask | GenerateTask | CodeTask | StepsTask
AnySpec = TaskSpec | SuiteSpec


def _refuse_duplicates(names: Sequence[str], what: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Misfit(f"{', '.join(twice)} stands in {what} more than once", "give each a name")


def parse_spec(document: Document) -> AnySpec:
    """Return the validated content of a task file.

    Raises:
        UsageError: one line with file, line and field of the first fault, and how many more.
    """
    spec: AnySpec = validate(document, AnySpec, discriminator="type")
    return spec
