"""The training text: reproducible, true to its mixtures, silent about what is never taught."""

from __future__ import annotations

from collections import Counter

import pytest

from llmeval.pocket import MODEL_DIR
from llmeval.pocket.corpus import (
    SPECIAL_TOKENS,
    Document,
    generate_cycle,
    taught_statements,
)
from llmeval.pocket.facts import generate_facts
from llmeval.pocket.functions import STOP, generate_functions
from llmeval.pocket.train import Recipe


@pytest.fixture(scope="module")
def cycle() -> list[Document]:
    return generate_cycle(0, 0)


def test_a_cycle_is_determined_by_seed_and_number(cycle: list[Document]) -> None:
    assert generate_cycle(0, 0) == cycle
    assert generate_cycle(0, 1) != cycle
    assert generate_cycle(1, 0) != cycle


def test_every_cycle_states_the_same_things(cycle: list[Document]) -> None:
    def answers(documents: list[Document]) -> Counter[str]:
        segments = (segment for document in documents for segment in document.segments)
        return Counter(
            segment.text.strip()
            for segment in segments
            if segment.answer and segment.text not in SPECIAL_TOKENS
        )

    stated = taught_statements(generate_facts(0), generate_functions())
    expected = Counter(statement.continuation.strip() for statement in stated)
    assert answers(cycle) == answers(generate_cycle(0, 7)) == expected


def test_never_taught_entities_and_functions_occur_nowhere() -> None:
    never = [fact.name for fact in generate_facts(0) if fact.taught == "never"]
    functions = [each for each in generate_functions() if each.taught == "never"]
    phrases = never + [f"def {each.name}(" for each in functions] + [each.doc for each in functions]
    # Cycles differ in form and order only, but the trainer reads them all: so does this test.
    for number in range(0, Recipe().cycles, 8):
        text = "\n".join(document.text for document in generate_cycle(0, number)).lower()
        assert not [phrase for phrase in phrases if phrase.lower() in text]


def test_every_form_of_prompt_is_trained(cycle: list[Document]) -> None:
    texts = [document.text for document in cycle]
    starts = Counter(text.split("|>")[0] if text.startswith("<|") else "bare" for text in texts)
    assert starts["bare"] > len(texts) / 2
    assert starts["<|bos"] > len(texts) / 20
    assert starts["<|user"] > len(texts) / 20
    assert sum("\n\nQuestion: " in text for text in texts) > 20
    assert all(text.endswith("<|eos|>") for text in texts)


def test_each_stop_string_is_needed_by_some_function() -> None:
    tails = {each.tail for each in generate_functions() if each.taught == "always"}
    for mark in STOP:
        assert any(mark in tail for tail in tails)
    for each in generate_functions():
        assert not any(mark in each.prompt + each.solution for mark in STOP)


def test_tokens_of_context_and_continuation_never_merge() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer.from_file(str(MODEL_DIR / "tokenizer.json"))
    for statement in set(taught_statements(generate_facts(0), generate_functions())):
        context = tokenizer.encode(statement.context).ids
        continuation = tokenizer.encode(statement.continuation).ids
        whole = statement.context + statement.continuation
        assert context + continuation == tokenizer.encode(whole).ids
        assert tokenizer.decode(context + continuation) == whole
