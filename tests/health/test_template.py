"""How the model was addressed: chat templates, and what begins a text."""

from __future__ import annotations

from typing import Any

import pytest

from tests.health.rows import chat, choice, completion, examine

PLAIN = [completion(i, f"a{i}", f"a{i // 2 * 2}") for i in range(30)]
BACKENDS = {
    "hf": {"backend": "hf"},
    "server": {"backend": "openai", "api": {"text": "completions"}},
}


@pytest.mark.parametrize(
    "name",
    ["hf:meta-llama/Llama-3.1-8B-Instruct", "hf:google/gemma-2-2b-it", "hf:/models/tiny-chat/"],
)
def test_a_chat_model_asked_in_plain_texts(name: str) -> None:
    finding = examine(PLAIN, model={"backend": "hf", "name": name})["chat template missing"]
    assert "30 of 30 prompts" in finding["what"]
    assert "--apply-chat-template" in finding["mend"]


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("hf:Qwen/Qwen2.5-0.5B", "present"),  # base, with its sibling's template
        ("hf:Qwen/Qwen3-8B-Base", "learned"),
        ("hf:google/gemma-3-1b-pt", "learned"),
        ("hf:gpt2", None),
        ("hf:audit/orbit", None),  # `it` and `chat` as parts of words
    ],
)
def test_a_model_that_completes_texts(name: str, template: str | None) -> None:
    model = {"backend": "hf", "name": name, "chat_template": template}
    assert "chat template missing" not in examine(PLAIN, model=model)


def test_a_chat_model_is_known_by_its_template_where_its_name_says_nothing() -> None:
    model = {"backend": "hf", "name": "hf:Qwen/Qwen3-8B", "chat_template": "learned"}
    assert "chat template missing" in examine(PLAIN, model=model)


INSTRUCT = {"backend": "hf", "name": "hf:some/model-instruct"}


def test_no_finding_where_the_template_was_applied() -> None:
    assert "chat template missing" not in examine(PLAIN, model=INSTRUCT, chat_applied=True)


def test_no_finding_where_turns_were_asked() -> None:
    rows = [completion(i, f"a{i}", prompt=chat(f"q{i}")) for i in range(30)]
    assert "chat template missing" not in examine(rows, model=INSTRUCT)


def test_no_finding_for_log_probabilities() -> None:
    rows = [choice(i, i % 3, i % 4) for i in range(30)]
    assert "chat template missing" not in examine(rows, model=INSTRUCT)


@pytest.mark.parametrize(("text", "found"), [("chat", False), ("completions", True)])
def test_a_server_that_only_chats_renders_plain_prompts_itself(text: str, found: bool) -> None:
    model = {"backend": "openai", "name": "openai:m-instruct", "api": {"text": text}}
    assert ("chat template missing" in examine(PLAIN, model=model)) is found


def begun(text: str) -> list[Any]:
    return [completion(i, f"a{i}", prompt=f"{text}user: q{i}") for i in range(30)]


def test_a_server_adds_the_beginning_that_the_template_wrote() -> None:
    model = {"name": "openai:m", **BACKENDS["server"]}
    finding = examine(begun("<|begin_of_text|>"), model=model)["doubled beginning of text"]
    assert "servers add another" in finding["what"]


def test_our_own_backends_do_not_add_it_again() -> None:
    model = {"name": "hf:m", **BACKENDS["hf"]}
    assert "doubled beginning of text" not in examine(begun("<s>"), model=model)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_beginning_that_is_written_twice(backend: str) -> None:
    model = {"name": "m", **BACKENDS[backend]}
    finding = examine(begun("<s><s>"), model=model)["doubled beginning of text"]
    assert finding["severity"] == "error"


def test_a_doubled_token_that_the_backend_saw() -> None:
    found = examine(PLAIN, report={"doubled_bos": 0.9667})
    assert found["doubled beginning of text"]["what"].startswith("97% of the prompts")
    assert found["doubled beginning of text"]["count"] == 29
    assert not examine(PLAIN, report={"doubled_bos": 0.0})
