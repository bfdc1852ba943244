"""Chats that the backend renders, in tasks that only know texts.

lm-eval renders a chat to one text with the model's template. A server renders its chats itself, so
there the text is the turns as JSON behind a mark, and becomes turns again before it is asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from llmeval.core import Message

_MARK = "\x02chat\x03"  # no prompt begins so


def encode_chat(messages: Sequence[Mapping[str, str]], add_generation_prompt: bool) -> str:
    """Return turns as a text that :func:`decode_chat` reads; a chat template's stand-in.

    Args:
        add_generation_prompt: False where the last turn is an answer begun; the turns say so.
    """
    turns = [[message["role"], message["content"]] for message in messages]
    return _MARK + json.dumps(turns, ensure_ascii=False)


def decode_chat(text: str) -> str | tuple[Message, ...]:
    """Return the turns of an encoded chat, or a plain text as it is."""
    if not text.startswith(_MARK):
        return text
    turns, end = json.JSONDecoder().raw_decode(text, len(_MARK))
    messages = [Message(role, content) for role, content in turns]
    if rest := text[end:]:  # what a task put behind its rendered chat
        messages[-1] = Message(messages[-1].role, messages[-1].content + rest)
    return tuple(messages)
