"""A request has one canonical form, which holds everything that may change its answer."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.core import (
    GenerateRequest,
    LoglikelihoodRequest,
    Message,
    Request,
    RollingRequest,
    Sampling,
)
from llmeval.engine.journal import Keyring

RING = Keyring("fp")


def key(request: Request) -> str:
    return RING.key(request).hex()


def test_the_key_is_the_digest_of_fingerprint_kind_and_canonical_json() -> None:
    """Literals made with ``hashlib.blake2b(b"fp\\0" + kind + b"\\0" + json.dumps(...))``.

    A change of these numbers makes every journal in the world worthless: raise SCHEMA_VERSION.
    """
    question = LoglikelihoodRequest("The capital of France is", " Paris")
    assert key(question) == "e9358d0e07becdc2895aac46307a5f26"
    sampling = Sampling(max_tokens=16, stop=("\n",), seed=7)
    assert key(GenerateRequest("Q: Größe?\nA:", sampling)) == "d10653bad1421b775d0f9cbf3bb1e2e7"


def test_everything_that_changes_the_answer_is_in_the_key() -> None:
    drawn = Sampling(max_tokens=8, temperature=0.7)
    questions: list[Request] = [
        LoglikelihoodRequest("a", "b"),
        LoglikelihoodRequest("ab", ""),
        LoglikelihoodRequest("", "ab"),
        RollingRequest("a"),
        RollingRequest("ab"),
        GenerateRequest("a"),
        GenerateRequest((Message("user", "a"),)),
        GenerateRequest((Message("system", "a"),)),
        GenerateRequest((Message("user", "a"), Message("assistant", "b"))),
        GenerateRequest("a", repeat=1),
        GenerateRequest("a", Sampling(max_tokens=8)),
        GenerateRequest("a", Sampling(stop=("x",))),
        GenerateRequest("a", Sampling(stop=("x", "y"))),
        GenerateRequest("a", drawn),
        GenerateRequest("a", drawn, repeat=1),
        GenerateRequest("a", replace(drawn, seed=1)),
        GenerateRequest("a", replace(drawn, top_p=0.9)),
        GenerateRequest("a", replace(drawn, top_k=9)),
        GenerateRequest("a", replace(drawn, temperature=0.8)),
    ]
    assert len({key(q) for q in questions}) == len(questions)


def test_a_greedy_draw_has_no_seed() -> None:
    first, second = Sampling(seed=1), Sampling(seed=2, top_p=0.9, top_k=3)
    assert key(GenerateRequest("a", first)) == key(GenerateRequest("a", second))


def test_equal_settings_have_equal_keys() -> None:
    whole, broken = Sampling(temperature=1, top_p=1), Sampling(temperature=1.0, top_p=1.0)
    assert whole == broken
    assert key(GenerateRequest("a", whole)) == key(GenerateRequest("a", broken))


def test_another_model_has_other_keys() -> None:
    question = LoglikelihoodRequest("a", "b")
    assert Keyring("fp").key(question) != Keyring("fp2").key(question)
    assert Keyring("fp").key(question) == Keyring("fp").key(replace(question))


@given(st.text(), st.text(), st.text(), st.text())
def test_two_questions_share_a_key_only_when_they_are_equal(a: str, b: str, c: str, d: str) -> None:
    """With any text, lone surrogates and quotation marks included."""
    first, second = LoglikelihoodRequest(a, b), LoglikelihoodRequest(c, d)
    assert (key(first) == key(second)) == (first == second)


@given(st.text(st.characters(codec="utf-8")))
def test_the_canonical_form_shows_the_prompt(prompt: str) -> None:
    for request in (
        LoglikelihoodRequest(prompt, "x"),
        RollingRequest(prompt),
        GenerateRequest(prompt),
    ):
        assert json.loads(json.dumps(request.canonical()))[0] == prompt == request.prompt


def test_draws_are_the_same_question_numbered() -> None:
    question = GenerateRequest("a", Sampling(temperature=1.0))
    draws = list(question.draws(3))
    assert [d.repeat for d in draws] == [0, 1, 2]
    assert {replace(d, repeat=0) for d in draws} == {question}


@pytest.mark.parametrize(("temperature", "greedy"), [(0.0, True), (0, True), (0.1, False)])
def test_temperature_zero_is_greedy(temperature: float, greedy: bool) -> None:
    assert Sampling(temperature=temperature).greedy is greedy
