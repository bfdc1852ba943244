"""Tasks are asked in a form that the model can answer, and say so where it is not their own."""

from __future__ import annotations

import logging
from collections.abc import Collection

import pytest

from llmeval.core import (
    Ask,
    LoglikelihoodRequest,
    RollingRequest,
    Sample,
    Score,
    ServedModel,
    UsageError,
)
from llmeval.models import load_model
from llmeval.tasks.fitting import fit_tasks
from llmeval.tasks.letters import BY_GENERATION, BY_LOGPROBS, LetterTask
from llmeval.tasks.options import TaskOptions
from llmeval.tasks.registry import Selection
from tests.engine.serving.support import FakeServed
from tests.support.fakes import FakeModel, FakeTask

ALL = frozenset({"generate", "chat", "loglikelihood", "top_logprobs"})

CHAT = TaskOptions(apply_chat_template=True)


class Served(FakeServed):
    """Has what it is given, as of its exploration."""

    why_no_loglikelihood: str | None = "it is shifted by a token"

    def __init__(self, *has: str) -> None:
        super().__init__()
        self._has = frozenset(has)
        self.capabilities = frozenset()  # type: ignore[misc]
        self.explored: list[set[str]] = []

    def explore(self, kinds: Collection[str]) -> None:
        self.explored.append(set(kinds))
        self.capabilities = self._has  # type: ignore[misc]


async def ask_one(sample: Sample, ask: Ask) -> list[Score]:
    await ask([LoglikelihoodRequest("c", " last word")])
    return [Score("acc", 1.0)]


async def ask_rolling(sample: Sample, ask: Ask) -> list[Score]:
    await ask([RollingRequest("a text")])
    return [Score("acc", 1.0)]


CHOICE = FakeTask("choice")
GENERATE = FakeTask("generate", kind="generate")
LAMBADA = FakeTask("lambada", evaluate=ask_one)
WIKITEXT = FakeTask("wikitext", evaluate=ask_rolling)


def test_a_model_of_ones_own_is_asked_as_tasks_are() -> None:
    selection = Selection([CHOICE, GENERATE, LAMBADA], [])
    assert fit_tasks(selection, FakeModel(), TaskOptions()) is selection
    assert fit_tasks(selection, load_model("baseline:random"), TaskOptions()) is selection


def test_a_server_with_log_probabilities_is_asked_as_tasks_are() -> None:
    model = Served(*ALL)
    assert isinstance(model, ServedModel)
    selection = Selection([CHOICE, GENERATE, LAMBADA, WIKITEXT], [])
    assert fit_tasks(selection, model, TaskOptions()) is selection
    assert model.explored == [{"generate", "loglikelihood"}]


def test_a_server_is_not_tried_for_what_no_task_needs() -> None:
    model, selection = Served("generate", "chat"), Selection([GENERATE], [])
    assert fit_tasks(selection, model, TaskOptions()) is selection
    assert model.explored == [{"generate"}]


@pytest.mark.parametrize(
    ("has", "form"),
    [(("generate", "chat", "top_logprobs"), BY_LOGPROBS), (("generate", "chat"), BY_GENERATION)],
)
def test_without_log_probabilities_choices_are_asked_for_by_letter(
    has: tuple[str, ...], form: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "llmeval"):
        fitted = fit_tasks(Selection([CHOICE, GENERATE], []), Served(*has), TaskOptions())
    letters, generate = fitted.tasks
    assert isinstance(letters, LetterTask)
    assert letters.form == form
    assert letters.name == "choice"
    assert generate is GENERATE
    assert form in caplog.text
    assert "fake served" in caplog.text


def test_in_a_chat_choices_are_asked_for_by_letter_as_well() -> None:
    """Only the server renders its chats, so there is no text to score."""
    (letters,) = fit_tasks(Selection([CHOICE], []), Served(*ALL), CHAT).tasks
    assert isinstance(letters, LetterTask)
    assert letters.form == BY_LOGPROBS


@pytest.mark.parametrize("task", [LAMBADA, WIKITEXT])
def test_a_task_that_needs_the_log_probability_of_a_text_is_refused(task: FakeTask) -> None:
    with pytest.raises(UsageError, match=task.name) as caught:
        fit_tasks(Selection([CHOICE, task], []), Served("generate", "chat"), TaskOptions())
    assert "it is shifted by a token" in str(caught.value)
    with pytest.raises(UsageError, match="leave --apply-chat-template out"):
        fit_tasks(Selection([task], []), Served(*ALL), CHAT)


def test_groups_stay() -> None:
    groups = [object()]
    fitted = fit_tasks(Selection([CHOICE], groups), Served("generate", "chat"), TaskOptions())  # type: ignore[arg-type]
    assert fitted.groups == groups


def test_no_tasks_are_none() -> None:
    assert fit_tasks(Selection([], []), Served("generate"), TaskOptions()).tasks == []
