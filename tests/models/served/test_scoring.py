"""Log-probabilities from a server are those of its model: here, of the mock server's language."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmeval.core import Failure, Loglikelihood, LoglikelihoodRequest, RollingRequest, TryAgain
from llmeval.models.served.dialect import Dialect
from llmeval.models.served.scoring import EchoScorer, NextTokenScorer
from llmeval.models.served.tokenization import ByServer, ByText, Row, Rows, Tokenization
from llmeval.models.served.transport import Received, Transport
from tests.support.mock_openai.language import pieces, walk
from tests.support.mock_openai.launch import MockServer

DIALECT = Dialect("mock-model")


def score(
    mock: MockServer,
    requests: Sequence[Any],
    by: str = "server tokens",
    *,
    new_tokens: int = 0,
    max_length: int = 8000,
) -> list[Any]:
    """Return answers, or the faults that stand in their place."""

    async def one(scorer: EchoScorer, request: Any) -> Any:
        try:
            return (await scorer.score(request))[0]
        except TryAgain as fault:
            return fault

    async def job() -> list[Any]:
        transport = Transport(mock.url, {}, {})
        tokenization: Tokenization = ByText()
        if by == "server tokens":
            tokenization = ByServer(transport, "mock-model", max_length)
        scorer = EchoScorer(transport, DIALECT, tokenization, new_tokens)
        try:
            return [await one(scorer, request) for request in requests]
        finally:
            await transport.hang_up()

    return asyncio.run(job())


def says(parts: Sequence[str], count: int) -> tuple[float, bool]:
    """Return what the language says of the last ``count`` pieces: log-probability, greedy."""
    steps, _ = walk(parts, "".join(parts))
    last = steps[len(steps) - count :]
    logprob = math.fsum(spread.logprob(piece) for piece, spread in last)
    return logprob, all(piece == spread.ranked(0) for piece, spread in last)


QUESTIONS = [
    ("The quick brown fox", " jumps"),
    ("The quick brown fox", " jumps over the lazy dog."),
    ("Question: what is it?\nAnswer:", " the"),
    ("Question: what is it?\nAnswer:", " yes, of the world"),
    ("a", " b"),
    ("It was", "."),
    ("Zahlen: 1, 2,", " 3"),
    ("été à la", " plage"),
]


def expect(context: str, continuation: str) -> tuple[float, bool, int]:
    """Where pieces break at the boundary, the continuation's pieces are its own."""
    count = len(pieces(continuation))
    assert pieces(context + continuation) == [*pieces(context), *pieces(continuation)]
    return *says(pieces(context + continuation), count), count


@pytest.mark.parametrize("new_tokens", [0, 1])
@pytest.mark.parametrize("by", ["server tokens", "text"])
def test_numbers_are_the_languages_own(mock: MockServer, by: str, new_tokens: int) -> None:
    requests = [LoglikelihoodRequest(*question) for question in QUESTIONS]
    answers = score(mock, requests, by, new_tokens=new_tokens)
    for question, answer in zip(QUESTIONS, answers, strict=True):
        logprob, greedy, count = expect(*question)
        assert answer.logprob == pytest.approx(logprob, abs=1e-9), question
        assert (answer.is_greedy, answer.num_tokens) == (greedy, count)
        assert answer.prompt_tokens == len(pieces("".join(question)))
        assert (answer.truncated, answer.boundary) == (0, None)


words = st.lists(
    st.sampled_from(["the", "word", "a", "is", "of", "it", "1", "?", "no"]), min_size=1, max_size=6
)


@settings(max_examples=25)
@given(words, words, st.sampled_from(["server tokens", "text"]))
def test_numbers_of_any_words_are_the_languages_own(
    shared: MockServer, before: list[str], behind: list[str], by: str
) -> None:
    context, continuation = " ".join(before), " " + " ".join(behind)
    logprob, greedy, count = expect(context, continuation)
    (answer,) = score(shared, [LoglikelihoodRequest(context, continuation)], by)
    assert answer.logprob == pytest.approx(logprob, abs=1e-9)
    assert (answer.is_greedy, answer.num_tokens) == (greedy, count)


@pytest.mark.parametrize("by", ["server tokens", "text"])
def test_what_greedy_decoding_says_is_greedy(mock: MockServer, by: str) -> None:
    context, said = "Once upon a time", ""
    for _ in range(4):
        reader = walk(pieces(context + said), context + said)[1]
        said += reader.spread().ranked(0)
    answer, other = score(
        mock,
        [LoglikelihoodRequest(context, said), LoglikelihoodRequest(context, said + " zebra")],
        by,
    )
    assert (answer.is_greedy, answer.num_tokens) == (True, 4)
    assert other.is_greedy is False


@pytest.mark.parametrize("by", ["server tokens", "text"])
def test_a_contexts_last_blanks_belong_to_the_continuation(mock: MockServer, by: str) -> None:
    """As lm-eval has it: ``Answer: `` with ``yes`` is ``Answer:`` with `` yes``."""
    one, other = score(
        mock,
        [LoglikelihoodRequest("Answer: ", "yes"), LoglikelihoodRequest("Answer:", " yes")],
        by,
    )
    assert one == other
    assert one.num_tokens == 1


def test_a_word_across_the_boundary_is_tokenized_on_both_sides(mock: MockServer) -> None:
    """The pieces of the whole are no more than those of the context: both by themselves, then."""
    assert pieces("The cat") == ["The", " cat"]
    (answer,) = score(mock, [LoglikelihoodRequest("The c", "at")])
    logprob, greedy = says(["The", " c", "at"], 1)
    assert answer.logprob == pytest.approx(logprob, abs=1e-9)
    assert (answer.is_greedy, answer.num_tokens, answer.boundary) == (greedy, 1, "separate")


def test_a_word_across_the_boundary_belongs_to_the_continuation_where_only_text_is_known(
    mock: MockServer,
) -> None:
    (answer,) = score(mock, [LoglikelihoodRequest("The c", "at sat")], "text")
    logprob, greedy = says(["The", " cat", " sat"], 2)
    assert answer.logprob == pytest.approx(logprob, abs=1e-9)
    assert (answer.is_greedy, answer.num_tokens) == (greedy, 2)


@pytest.mark.parametrize("by", ["server tokens", "text"])
@pytest.mark.parametrize("context", ["", "  \n"])
def test_an_empty_context_needs_a_tokenizer_and_says_so(
    mock: MockServer, by: str, context: str
) -> None:
    (answer,) = score(mock, [LoglikelihoodRequest(context, "yes")], by)
    assert isinstance(answer, Failure)
    assert "tokenizer=ID_OR_DIR" in answer.reason


@pytest.mark.parametrize("by", ["server tokens", "text"])
def test_a_whole_text_needs_a_tokenizer_and_says_so(mock: MockServer, by: str) -> None:
    (answer,) = score(mock, [RollingRequest("The cat sat.")], by)
    assert isinstance(answer, Failure)
    assert "tokenizer=ID_OR_DIR" in answer.reason


def test_an_empty_continuation_is_no_question(mock: MockServer) -> None:
    (answer,) = score(mock, [LoglikelihoodRequest("The cat", "")])
    assert isinstance(answer, Failure)


def test_a_long_context_is_cut_from_the_left(mock: MockServer) -> None:
    context, continuation = "a b c d e f g h i j k l m n", " of the"
    whole = pieces(context + continuation)
    (answer,) = score(mock, [LoglikelihoodRequest(context, continuation)], max_length=6)
    logprob, greedy = says(whole[-6:], 2)
    assert answer.logprob == pytest.approx(logprob, abs=1e-9)
    assert (answer.is_greedy, answer.truncated) == (greedy, len(whole) - 6)
    assert answer.prompt_tokens == 6


@pytest.mark.parametrize("length", [2, 3])
def test_a_continuation_that_does_not_fit_is_no_question(mock: MockServer, length: int) -> None:
    request = LoglikelihoodRequest("one two", " three four five")
    (answer,) = score(mock, [request], max_length=length)
    assert isinstance(answer, Failure)
    assert "does not fit" in answer.reason


def test_texts_are_tokenized_once(mock: MockServer) -> None:
    context = "Question: what is it?\nAnswer:"
    score(mock, [LoglikelihoodRequest(context, f" {c}") for c in ("yes", "no", "it", "yes")])
    # the context, and each whole text
    assert mock.stats()["by_path"]["/tokenize"] == 4


@pytest.mark.parametrize("by", ["server tokens", "text"])
@pytest.mark.parametrize("option", [{"no_logprobs": True}, {"echo": "missing"}])
def test_log_probabilities_that_went_missing_are_asked_again(
    mock: MockServer, by: str, option: dict[str, Any]
) -> None:
    mock.set(**option)
    (answer,) = score(mock, [LoglikelihoodRequest("The cat", " sat")], by)
    assert isinstance(answer, TryAgain)


class Answering(Transport):
    """Answers with a body that is given, and notes what it was sent."""

    def __init__(self, body: Any, wait: float = 0.0) -> None:
        super().__init__("http://nobody/v1", {}, {})
        self.sent: list[Any] = []
        self._body = body
        self._wait = wait

    async def post(self, path: str, body: Any) -> Received:
        self.sent.append(body)
        return Received(self._body, self._wait)


class Fixed:
    """A tokenization that gives the same rows for everything."""

    name = "fixed"

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def encode(self, request: Any) -> Rows:
        return self._rows


def echoed(values: list[Any], tops: Any = None) -> dict[str, Any]:
    tokens = [f"t{i}" for i in range(len(values))]
    tops = [None if v is None else {"x": v} for v in values] if tops is None else tops
    logprobs = {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops}
    return {"choices": [{"index": 0, "text": "".join(tokens), "logprobs": logprobs}]}


def score_rows(rows: Rows, body: Any, new_tokens: int = 0) -> Any:
    scorer = EchoScorer(Answering(body, 2.5), DIALECT, Fixed(rows), new_tokens)  # type: ignore[arg-type]
    return asyncio.run(scorer.score(LoglikelihoodRequest("a", "b")))


def test_the_token_that_had_to_be_generated_does_not_count() -> None:
    answer, wait = score_rows(Rows([Row([1, 2, 3], 1)]), echoed([None, -1.0, -2.0, -9.0]), 1)
    assert (answer.logprob, answer.num_tokens, wait) == (-2.0, 1, 2.5)


def test_windows_of_a_long_text_are_summed() -> None:
    rows = Rows([Row([1, 2, 3], 2), Row([4, 5, 6], 1)], truncated=1, boundary="separate")
    answer, _ = score_rows(rows, echoed([None, -1.0, -2.0]))
    assert answer == Loglikelihood(-5.0, True, 3, 6, 1, "separate")


@pytest.mark.parametrize(
    "values", [[None, -1.0], [None, -1.0, -1.0, -1.0], [None, -1.0, None], [None, -1.0, math.nan]]
)
def test_an_echo_that_does_not_fit_its_prompt_is_asked_again(values: list[Any]) -> None:
    with pytest.raises(TryAgain):
        score_rows(Rows([Row([1, 2, 3], 1)]), echoed(values))


def test_a_first_token_has_no_log_probability() -> None:
    answer, _ = score_rows(Rows([Row([1], 1)]), echoed([None]))
    assert isinstance(answer, Failure)


def test_a_token_is_greedy_where_it_ties_with_the_best() -> None:
    body = echoed([None, -1.0, -1.0], [None, {"x": -1.0}, {"x": -1.0, "y": -1.0}])
    assert score_rows(Rows([Row([1, 2, 3], 2)]), body)[0].is_greedy
    body = echoed([None, -1.0, -1.0], [None, {"x": -1.0}, {"x": -1.0, "y": -0.9}])
    assert not score_rows(Rows([Row([1, 2, 3], 2)]), body)[0].is_greedy


# -- choices of one token --------------------------------------------------------------------


class ByLetters:
    """Each character is a token; the last one of a text is what is asked about."""

    def encode_now(self, request: LoglikelihoodRequest | RollingRequest) -> Rows | Failure:
        if isinstance(request, RollingRequest):
            return Rows([Row([97, 98, 99], 3)])
        if request.continuation == "none":
            return Failure("no token")
        prompt = [ord(c) for c in request.context + request.continuation]
        truncated = 1 if request.context.startswith("cut") else 0
        return Rows([Row(prompt, len(request.continuation))], truncated)


def next_scorer(body: Any) -> tuple[NextTokenScorer, Answering]:
    transport = Answering(body, 1.5)
    return NextTokenScorer(transport, DIALECT, ByLetters()), transport  # type: ignore[arg-type]


def test_only_choices_of_one_token_behind_a_context_take_one_call() -> None:
    scorer, _ = next_scorer({})
    assert scorer.find_context(LoglikelihoodRequest("ab", "c")) == (97, 98)
    for request in (
        LoglikelihoodRequest("ab", "cd"),
        LoglikelihoodRequest("", "c"),
        LoglikelihoodRequest("ab", "none"),
        LoglikelihoodRequest("cut", "c"),
        RollingRequest("abc"),
    ):
        assert scorer.find_context(request) is None


def test_one_new_token_tells_of_all_choices() -> None:
    tops = {"token_id:65": -0.25, "token_id:66": -1.5, "token_id:67": -9.0}
    logprobs = {"tokens": ["token_id:65"], "token_logprobs": [-0.25], "top_logprobs": [tops]}
    body = {
        "choices": [{"index": 0, "text": "A", "logprobs": logprobs}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 1},
    }
    scorer, transport = next_scorer(body)
    answers, wait = asyncio.run(scorer.score([LoglikelihoodRequest("ab", c) for c in "BACB"]))
    assert wait == 1.5
    assert [a.logprob for a in answers] == [-1.5, -0.25, -9.0, -1.5]
    assert [a.is_greedy for a in answers] == [False, True, False, False]
    assert [a.num_tokens for a in answers] == [1] * 4
    assert sum(a.prompt_tokens for a in answers) == 2
    (sent,) = transport.sent
    assert sent["prompt"] == [97, 98]
    assert sent["logprob_token_ids"] == [66, 65, 67]


def test_a_wanted_token_that_is_missing_is_asked_again() -> None:
    tops = {"token_id:65": -0.25}
    logprobs = {"tokens": ["token_id:65"], "token_logprobs": [-0.25], "top_logprobs": [tops]}
    scorer, _ = next_scorer({"choices": [{"text": "A", "logprobs": logprobs}]})
    with pytest.raises(TryAgain, match="missing"):
        asyncio.run(scorer.score([LoglikelihoodRequest("ab", c) for c in "AB"]))
