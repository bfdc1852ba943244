"""What a run needs before it asks anything: the model, the tasks, the sandbox."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from llmeval.batch_run import AnyModel
from llmeval.core import Generation, InformedModel, ServedModel, Task, UsageError
from llmeval.core.protocols import PricedModel
from llmeval.models import load_model
from llmeval.run_spec import RunSpec
from llmeval.tasks.fitting import fit_tasks
from llmeval.tasks.options import ChatTemplate, Workbench
from llmeval.tasks.registry import Selection, load_tasks
from llmeval.tasks.subset import SubsetTask

if TYPE_CHECKING:
    from llmeval.sandbox import Sandbox


@contextlib.contextmanager
def prepared(spec: RunSpec) -> Iterator[tuple[AnyModel, Selection, Sandboxes]]:
    """Load what a run needs, and in the end close it: the model, the tasks, the sandbox."""
    with Sandboxes(spec.allow_unsafe_code) as sandboxes, _open_model(spec) as model:
        _check_price(spec, model)
        workbench = Workbench(
            mirror=spec.mirror,
            chat_template=_find_chat_template(spec, model),
            sandbox=sandboxes.get,
            grade_cut=lambda: _grades_cut(spec, model),
        )
        selection = _load_tasks(spec, workbench)
        yield model, fit_tasks(selection, model, spec.options), sandboxes


@contextlib.contextmanager
def _open_model(spec: RunSpec) -> Iterator[AnyModel]:
    """Load the model that is named and close it in the end; one that was handed in stays open."""
    if not isinstance(spec.model, str):
        yield spec.model
        return
    model = load_model(spec.model, spec.model_settings)
    try:
        yield model
    finally:
        if not isinstance(model, InformedModel):
            model.close()


def _grades_cut(spec: RunSpec, model: AnyModel) -> bool:
    """Whether an answer that ended at the token limit is graded: a chat's answer is not whole."""
    chosen = spec.options.cut_answers
    if chosen != "auto" or not isinstance(model, ServedModel):
        return chosen != "unscored"
    return "completions" in model.capabilities and not spec.options.apply_chat_template


def _find_chat_template(spec: RunSpec, model: AnyModel) -> ChatTemplate | None:
    if isinstance(model, InformedModel):  # it reads no prompt, so any form will do
        return _join_turns
    if spec.options.apply_chat_template and "chat" not in model.capabilities:
        raise UsageError(
            f"{model.name} has no chat template",
            where="--apply-chat-template",
            mend="leave it out, or name one with --chat-template",
        )
    if isinstance(model, ServedModel):  # the server renders its chats
        return None
    return model.apply_chat_template


def _load_tasks(spec: RunSpec, workbench: Workbench) -> Selection:
    selection = Selection()
    for task in spec.tasks:
        if isinstance(task, str):
            loaded = load_tasks([task], spec.options, workbench, spec.workspace)
            selection.add(loaded.tasks, loaded.groups)
        else:
            selection.add([task], [])
    if spec.subset is not None:
        selection.tasks = [SubsetTask(task, spec.subset) for task in selection.tasks]
    return selection


def preview_tasks(spec: RunSpec) -> list[Task]:
    """Build a run's tasks without its model: for what they are, not to ask or to score.

    Raises:
        UsageError: as for the run itself.
    """
    with Sandboxes(spec.allow_unsafe_code) as sandboxes:
        workbench = Workbench(mirror=spec.mirror, chat_template=_join_turns, sandbox=sandboxes.get)
        return _load_tasks(spec, workbench).tasks


def _join_turns(messages: Sequence[Mapping[str, str]], add_generation_prompt: bool) -> str:
    return "\n\n".join(message["content"] for message in messages)


def _check_price(spec: RunSpec, model: AnyModel) -> None:
    """Refuse a bound in dollars that would bound nothing."""
    if spec.limits.usd is None:
        return
    trial = Generation("", prompt_tokens=1, completion_tokens=1)
    if not isinstance(model, PricedModel) or model.price(trial) is None:
        raise UsageError(
            f"no price of {model.name} is known",
            where="--max-usd",
            mend="set price_input and price_output with -a, or add it to providers.yaml",
        )


class Sandboxes:
    """Starts the sandbox when the first task needs it and closes it with the run."""

    def __init__(self, allow_unsafe: bool) -> None:
        self._allow_unsafe = allow_unsafe
        self._sandbox: Sandbox | None = None

    def __enter__(self) -> Sandboxes:
        return self

    def __exit__(self, *_: object) -> None:
        if self._sandbox is not None:
            self._sandbox.close()

    def get(self) -> Sandbox:
        if self._sandbox is None:
            from llmeval.sandbox import Sandbox

            self._sandbox = Sandbox(allow_unsafe=self._allow_unsafe)
        return self._sandbox

    @property
    def tier(self) -> str | None:
        return self._sandbox.tier if self._sandbox else None
