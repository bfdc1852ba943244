"""Turns travel as a text through tasks that only know texts, and come out as turns again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.core import Message
from llmeval.tasks.chat import decode_chat, encode_chat

contents = st.text() | st.text(st.characters(codec=None, categories=["Cs", "Cc", "L"]))
roles = st.sampled_from(["system", "user", "assistant"]) | st.text()
turns = st.lists(
    st.fixed_dictionaries({"role": roles, "content": contents}), min_size=1, max_size=5
)


@given(turns, st.booleans())
def test_turns_come_out_as_they_went_in(messages: list[dict[str, str]], prompt: bool) -> None:
    decoded = decode_chat(encode_chat(messages, prompt))
    assert decoded == tuple(Message(m["role"], m["content"]) for m in messages)


@given(turns, contents)
def test_what_a_task_puts_behind_its_chat_belongs_to_the_last_turn(
    messages: list[dict[str, str]], behind: str
) -> None:
    """lm-eval's ``gen_prefix`` and target delimiter."""
    decoded = decode_chat(encode_chat(messages, True) + behind)
    assert isinstance(decoded, tuple)
    assert len(decoded) == len(messages)
    assert decoded[-1].content == messages[-1]["content"] + behind
    assert [m.content for m in decoded[:-1]] == [m["content"] for m in messages[:-1]]


@given(st.text())
def test_a_plain_text_stays_one(text: str) -> None:
    assert decode_chat(text) == text


@pytest.mark.parametrize("text", ["", "[]", '[["user", "Hello"]]', "\x02", "chat"])
def test_what_looks_like_turns_is_a_text(text: str) -> None:
    assert decode_chat(text) == text


def test_equal_turns_are_equal_texts() -> None:
    """Two samples with one chat are one question."""
    messages: Any = [{"role": "user", "content": "ü"}]
    swapped: Any = [{"content": "ü", "role": "user"}]
    assert encode_chat(messages, True) == encode_chat(swapped, True)
