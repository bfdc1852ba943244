"""Which form of a task a model can be asked in."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from llmeval.core import InformedModel, Model, ServedModel, Task, UsageError
from llmeval.tasks.generation import to_sampling
from llmeval.tasks.letters import BY_GENERATION, BY_LOGPROBS, LetterTask, kinds_of
from llmeval.tasks.options import TaskOptions
from llmeval.tasks.registry import Selection

log = logging.getLogger(__name__)


def fit_tasks(
    selection: Selection, model: Model | ServedModel | InformedModel, options: TaskOptions
) -> Selection:
    """Return the tasks in a form that the model can answer; most stay as they are.

    A served model is asked here what it has, as far as these tasks need it. Where it gives no
    log-probabilities, choices are asked for by letter, and the tasks say so.

    Args:
        options: under a chat template, prompts are chats that only the server renders, so it has
            no text to echo.

    Raises:
        UsageError: a task needs what the model does not have.
    """
    if not isinstance(model, ServedModel):
        return selection
    kinds = {task.name: kinds_of(task) for task in selection.tasks}
    scored = any(found & {"choice", "loglikelihood"} for found in kinds.values())
    model.explore({"generate", *(["loglikelihood"] if scored else [])})
    if options.apply_chat_template and "chat" not in model.capabilities:
        raise UsageError(
            f"{model.name} has no chats", where="--apply-chat-template", mend="leave it out"
        )
    if not scored or ("loglikelihood" in model.capabilities and not options.apply_chat_template):
        return selection
    fitted = [_fit(task, kinds[task.name], model, options) for task in selection.tasks]
    _tell(fitted, model)
    return Selection(fitted, selection.groups)


def _fit(task: Task, kinds: set[str], model: ServedModel, options: TaskOptions) -> Task:
    if "loglikelihood" in kinds:
        only_chats = options.apply_chat_template and "loglikelihood" in model.capabilities
        where_not = "in a chat" if only_chats else "at all"
        raise UsageError(
            f"it needs log-probabilities of texts, which {model.name} does not give {where_not}",
            where=task.name,
            mend="leave --apply-chat-template out" if only_chats else _mend(model),
        )
    if "choice" not in kinds:
        return task
    if "chat" not in model.capabilities:
        raise UsageError(
            f"{model.name} gives no log-probabilities, and has no chats to ask for a letter in",
            where=task.name,
            mend=_mend(model),
        )
    form = BY_LOGPROBS if "top_logprobs" in model.capabilities else BY_GENERATION
    limit = to_sampling(options.gen_kwargs, options.seed).max_tokens
    return LetterTask(task, form, limit, grade_cut=options.cut_answers == "grade")


def _mend(model: ServedModel) -> str:
    why = getattr(model, "why_no_loglikelihood", None)
    return f"its server: {why}" if why else "leave the task out, or serve the model with vLLM"


def _tell(tasks: Sequence[Task], model: ServedModel) -> None:
    forms = {task.form for task in tasks if isinstance(task, LetterTask)}
    for form in sorted(forms):
        log.warning(
            "%s gives no log-probabilities here: choices are asked for as %s", model.name, form
        )
