"""From messages to a prompt, by the model's own template."""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jinja2

from llmeval.core.errors import UsageError
from llmeval.core.requests import GenerateRequest

log = logging.getLogger(__name__)


def render_prompt(tokenizer: Any, request: GenerateRequest, where: str) -> str:
    """Return a request's prompt as text; a last turn of the assistant is left open.

    Raises:
        UsageError: the tokenizer has no template, or it refuses the chat.
    """
    if isinstance(request.prompt, str):
        return request.prompt
    chat = [{"role": message.role, "content": message.content} for message in request.prompt]
    opened = bool(chat) and chat[-1]["role"] == "assistant"
    return render_chat(tokenizer, chat, not opened, where)


def render_chat(
    tokenizer: Any,
    messages: Sequence[Mapping[str, str]],
    add_generation_prompt: bool,
    where: str,
) -> str:
    """Render a chat; without a generation prompt the last message is left open.

    A template that refuses the chat is tried once more without system messages, as lm-eval does.

    Raises:
        UsageError: the tokenizer has no template, or it refuses the chat.
    """
    if not tokenizer.chat_template:
        raise UsageError(
            "the tokenizer has no chat template",
            where=where,
            mend="give one with the setting chat_template=FILE, or ask without chat",
        )
    try:
        try:
            return _render(tokenizer, messages, add_generation_prompt)
        except jinja2.TemplateError:
            bare = [message for message in messages if message["role"] != "system"]
            text = _render(tokenizer, bare, add_generation_prompt)
            warn_once("the chat template takes no system turn: it was left out")
            return text
    except (jinja2.TemplateError, ValueError) as error:
        raise UsageError(f"the chat template refuses the chat: {error}", where=where) from error


def judge_template(tokenizer: Any, end_ids: Collection[int]) -> str | None:
    """Say whether a model has learned its chat template: does a token of turns end its answers?

    A base model may carry the template of the chat model that was made of it, and ends its answers
    with the end of a text.

    Args:
        end_ids: the tokens that end an answer.

    Returns:
        ``learned``; ``present`` where that cannot be told; None where there is no template.
    """
    template = tokenizer.chat_template
    if not template:
        return None
    text = "".join(template.values()) if isinstance(template, Mapping) else str(template)
    ends = [tokenizer.decode([token]) for token in end_ids]
    return "learned" if any(end and end in text for end in ends) else "present"


@functools.cache
def warn_once(text: str) -> None:
    """Log a warning the first time that it is given."""
    log.warning("%s", text)


def _render(
    tokenizer: Any, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool
) -> str:
    text: str = tokenizer.apply_chat_template(
        [dict(message) for message in messages],
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
        continue_final_message=not add_generation_prompt,
    )
    return text
