"""``openai:MODEL``: what it finds out of a server, what it says of itself, how it asks."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import llmeval
from llmeval.core import (
    Failure,
    GenerateRequest,
    Generation,
    Loglikelihood,
    LoglikelihoodRequest,
    Message,
    Reply,
    Request,
    Sampling,
    ServedModel,
    TryAgain,
    UsageError,
)
from llmeval.models import load_model, read_settings
from llmeval.models.served.model import OpenAIModel
from llmeval.models.served.transport import Transport
from tests.support.fakes import FakeTask
from tests.support.mock_openai.launch import MockServer

ALL = ("generate", "chat", "loglikelihood", "top_logprobs")
KEY = "sk-aB3dE5fG7hI9jK1lM2n"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, no address and no table of the developer's own."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "LLMEVAL_HOME", "MY_KEY"):
        monkeypatch.delenv(name, raising=False)


def load(url: str | None, model: str = "mock-model", **values: Any) -> OpenAIModel:
    settings = read_settings(f"openai:{model}", {"base_url": url, **values})
    loaded = load_model(f"openai:{model}", settings)
    assert isinstance(loaded, OpenAIModel)
    return loaded


def explored(url: str, *kinds: str, **values: Any) -> OpenAIModel:
    model = load(url, **values)
    model.explore(kinds or ("generate", "loglikelihood"))
    return model


def call(model: OpenAIModel, requests: Sequence[Request]) -> Reply:
    async def job() -> Reply:
        try:
            return await model.call(requests)
        finally:
            await model.hang_up()

    return asyncio.run(job())


def one(model: OpenAIModel, request: Request) -> Any:
    (response,) = call(model, [request]).responses
    return response


# -- where it is -----------------------------------------------------------------------------


def test_it_is_a_served_model_and_asks_nothing_before_it_must(mock: MockServer) -> None:
    model = load(mock.url)
    assert isinstance(model, ServedModel)
    assert model.name == "openai:mock-model"
    assert mock.stats()["by_path"] == {}


def test_a_model_must_be_named(mock: MockServer) -> None:
    with pytest.raises(UsageError, match="no model is named"):
        load(mock.url, "")


def test_a_provider_without_its_key_is_said_with_the_variable() -> None:
    with pytest.raises(UsageError, match=r"OPENAI_API_KEY is not set.*key_env=NAME"):
        load(None)
    with pytest.raises(UsageError, match="GROQ_API_KEY is not set"):
        load(None, provider="groq")


def test_the_address_may_come_from_the_environment(
    mock: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{mock.url}/")
    assert load(None).describe()["base_url"] == mock.url
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere/v1")
    assert load(mock.url).describe()["base_url"] == mock.url


def test_nobody_there_is_one_line() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    with pytest.raises(UsageError, match=f"{url}: no server answers: .*check --base-url") as caught:
        explored(url)
    assert "\n" not in str(caught.value)


def test_an_unknown_model_is_said_with_the_near_names(mock: MockServer) -> None:
    mock.set(strict_model=True)
    with pytest.raises(UsageError, match=r"no model 'mock-modle'.*it has mock-model"):
        explored(mock.url, model="mock-modle")


def test_an_address_without_an_api_is_one_line(mock: MockServer) -> None:
    mock.set(no_models=True, no_chat=True, no_completions=True)
    with pytest.raises(UsageError, match=r"neither chat nor completions.*--base-url"):
        explored(mock.url)


# -- the key ---------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"no_models": True}])
def test_a_wrong_key_is_one_line_without_the_key(
    mock: MockServer, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    mock.set(api_key="another key", **options)
    monkeypatch.setenv("MY_KEY", KEY)
    for values, mend in (({}, "no key was sent"), ({"key_env": "MY_KEY"}, "check the key")):
        with pytest.raises(UsageError, match=rf"401.*{mend}") as caught:
            explored(mock.url, **values)
        assert KEY not in str(caught.value)


def test_the_right_key_opens(mock: MockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    mock.set(api_key=KEY)
    monkeypatch.setenv("MY_KEY", KEY)
    assert isinstance(one(explored(mock.url, key_env="MY_KEY"), ask("Hello")), Generation)
    monkeypatch.setenv("HEADER", f"Bearer {KEY}")
    by_header = explored(mock.url, headers={"Authorization": "$HEADER"})
    assert isinstance(one(by_header, ask("Hello")), Generation)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_key_from_a_file_with_its_line_end_opens_or_is_one_line(
    mock: MockServer, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    mock.set(api_key=KEY)
    monkeypatch.setenv("MY_KEY", KEY + end)
    try:
        explored(mock.url, key_env="MY_KEY")
    except UsageError as error:
        # where it is not taken for the key itself, the line must say what is wrong with it
        assert "line" in str(error) or "space" in str(error)


def test_what_it_says_of_itself_holds_no_secret(
    mock: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setenv("TOKEN", "a-secret-token")
    model = explored(
        mock.url,
        key_env="MY_KEY",
        headers={"X-Token": "$TOKEN", "X-Title": "llmeval"},
    )
    one(model, ask("Hello"))
    said = json.dumps([model.describe(), model.report(), model.fingerprint])
    assert KEY not in said
    assert "a-secret-token" not in said
    assert model.describe()["settings"]["headers"] == ["X-Title", "X-Token"]


# -- what the server has ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "values", "apis", "capabilities"),
    [
        ({}, {}, ("completions", "chat"), {"completions", *ALL}),
        (
            {"no_chat": True},
            {},
            ("completions", "completions"),
            {"generate", "completions", "loglikelihood"},
        ),
        ({"no_completions": True}, {}, ("chat", "chat"), {"generate", "chat", "top_logprobs"}),
        (
            {"no_completions": True, "no_top_logprobs": True},
            {},
            ("chat", "chat"),
            {"generate", "chat"},
        ),
        (
            {"echo": "shifted"},
            {},
            ("completions", "chat"),
            {"generate", "chat", "completions", "top_logprobs"},
        ),
        ({}, {"api": "chat"}, ("chat", "chat"), {"generate", "chat", "top_logprobs"}),
        (
            {},
            {"api": "completions"},
            ("completions", "completions"),
            {"generate", "completions", "loglikelihood"},
        ),
        ({}, {"api": "responses"}, ("responses", "responses"), {"generate", "chat"}),
        (
            {},
            {"api": "chat", "top_logprobs": False},
            ("chat", "chat"),
            {"generate", "chat"},
        ),
        (
            {"no_models": True},
            {"api": "chat"},
            ("chat", "chat"),
            {"generate", "chat", "top_logprobs"},
        ),
    ],
)
def test_it_finds_out_what_the_server_has(
    mock: MockServer,
    options: dict[str, Any],
    values: dict[str, Any],
    apis: tuple[str, str],
    capabilities: set[str],
) -> None:
    mock.set(**options)
    model = explored(mock.url, **values)
    assert model.describe()["api"] == {"text": apis[0], "chat": apis[1]}
    assert model.capabilities == capabilities


def test_a_reasoning_model_has_no_log_probabilities(mock: MockServer) -> None:
    mock.set(reasoning=True, no_completions=True)
    model = explored(mock.url, reasoning="true")
    assert model.capabilities == {"generate", "chat"}
    answer = one(model, ask("Hello", max_tokens=8))
    assert answer.reasoning
    assert answer.reasoning_tokens == 20


def test_why_there_are_no_log_probabilities_is_kept(mock: MockServer) -> None:
    mock.set(echo="ignored")
    model = explored(mock.url)
    assert "echo is ignored" in str(model.why_no_loglikelihood)
    assert model.describe()["loglikelihood"] == {"refused": True}
    assert model.report()["no_loglikelihood"] == model.why_no_loglikelihood


def test_a_run_that_needs_no_log_probabilities_does_not_try_them(mock: MockServer) -> None:
    model = explored(mock.url, "generate")
    asked = mock.stats()["requests"]
    assert asked == 2  # one for each interface
    assert model.capabilities == {"generate", "chat", "completions"}
    model.explore(["generate"])
    assert mock.stats()["requests"] == asked
    model.explore(["generate", "loglikelihood"])  # another task needs them after all
    assert "loglikelihood" in model.capabilities


def test_the_servers_length_bounds_prompts(mock: MockServer) -> None:
    mock.set(max_model_len=64)
    model = explored(mock.url, "loglikelihood")
    assert model.describe()["max_length"] == 64
    answer = one(model, LoglikelihoodRequest("a b " * 100, " c"))
    assert isinstance(answer, Loglikelihood)
    assert answer.truncated > 100
    assert answer.prompt_tokens in (62, 63)


@pytest.mark.parametrize(
    ("values", "how"),
    [
        ({}, "server tokens"),
        ({"tokenizer": "server"}, "server tokens"),
        ({"tokenizer": "text"}, "text"),
    ],
)
def test_how_a_text_becomes_tokens_is_chosen_and_said(
    mock: MockServer, values: dict[str, Any], how: str
) -> None:
    model = explored(mock.url, **values)
    assert model.describe()["loglikelihood"]["tokenization"] == how
    mock.set(no_tokenize=True)
    assert explored(mock.url).describe()["loglikelihood"]["tokenization"] == "text"


def test_a_tokenizer_that_cannot_be_had_is_one_line(mock: MockServer) -> None:
    mock.set(no_tokenize=True)
    with pytest.raises(UsageError, match="404"):
        explored(mock.url, tokenizer="server")


class Once:
    """Lets the first attempt at every address fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fault: Callable[[], Exception]) -> None:
        self.failed: list[str] = []
        request = Transport._request

        async def first_fails(
            transport: Transport, method: str, url: str, data: bytes | None
        ) -> Any:
            if url not in self.failed:
                self.failed.append(url)
                raise fault()
            answer: Awaitable[Any] = request(transport, method, url, data)
            return await answer

        monkeypatch.setattr(Transport, "_request", first_fails)


FAULTS: dict[str, Callable[[], Exception]] = {
    "500": lambda: TryAgain("the server answered 500", after=0.001),
    "429": lambda: TryAgain("the server answered 429", after=0.001, overloaded=True),
    "broken": lambda: TryAgain("the answer broke off", after=0.001),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_that_passes_changes_nothing_of_what_is_found(
    mock: MockServer, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    smooth = explored(mock.url)
    once = Once(monkeypatch, FAULTS[kind])
    rough = explored(mock.url)
    assert len(once.failed) >= 3
    assert rough.describe() == smooth.describe()
    assert rough.capabilities == smooth.capabilities
    assert rough.fingerprint == smooth.fingerprint


def test_a_fault_that_passes_does_not_take_an_interface_away(
    mock: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    Once(monkeypatch, FAULTS["500"])
    model = explored(mock.url)
    assert model.describe()["api"] == {"text": "completions", "chat": "chat"}
    assert model.capabilities == {"completions", *ALL}


# -- the fingerprint -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "another"},
        {"base_url": "http://other:1/v1"},
        {"identity": "my server"},
        {"api": "chat"},
        {"reasoning": True},
        {"reasoning_effort": "low"},
        {"max_gen_toks": 99},
        {"send_seed": False},
        {"extra_body": {"top_a": 0.1}},
        {"max_length": 1024},
        {"query": {"deployment": "b"}},
        {"headers": {"X-Route": "b"}},
    ],
)
def test_it_changes_with_what_may_change_an_answer(changed: dict[str, Any]) -> None:
    values = {"base_url": "http://host:1/v1", **changed}
    url, model = values.pop("base_url"), values.pop("model", "mock-model")
    plain = load("http://host:1/v1").fingerprint
    assert load(url, model, **values).fingerprint != plain
    assert load(url, model, **values).fingerprint == load(url, model, **values).fingerprint


def test_room_for_thoughts_counts_where_there_are_thoughts() -> None:
    prints = [
        load("http://host/v1", reasoning=True, reasoning_tokens=n).fingerprint for n in (10, 20)
    ]
    assert prints[0] != prints[1]
    prints = [load("http://host/v1", reasoning_tokens=n).fingerprint for n in (10, 20)]
    assert prints[0] == prints[1]


@pytest.mark.parametrize(
    "changed",
    [
        {"max_connections": 3},
        {"requests_per_minute": 10},
        {"tokens_per_minute": 10},
        {"timeout": 3},
        {"max_attempts": 2},
        {"patience": 5},
        {"price_input": 1, "price_output": 2},
        {"key_env": "MY_KEY"},
        {"headers": {"X-Token": "$MY_KEY"}},
        {"max_stop": 1},  # all stop strings hold here, too
    ],
)
def test_it_stays_with_how_fast_and_by_whom_it_is_asked(
    changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = load("http://host/v1")
    monkeypatch.setenv("MY_KEY", KEY)
    assert load("http://host/v1", **changed).fingerprint == plain.fingerprint


def test_what_a_run_is_stays_with_how_fast_it_is_asked() -> None:
    """Two commands that differ in it continue the same run."""
    fast = load("http://host/v1", max_connections=3, price_input=1, price_output=2, timeout=9)
    assert fast.describe() == load("http://host/v1").describe()


def test_an_identity_stands_for_an_address_that_moves() -> None:
    prints = {load(f"http://host:{p}/v1", identity="mine").fingerprint for p in (1, 2)}
    assert len(prints) == 1


def test_it_changes_with_the_servers_length_where_that_cuts_prompts(mock: MockServer) -> None:
    prints = set()
    for length in (64, 128):
        mock.set(max_model_len=length)
        prints.add(explored(mock.url, "loglikelihood").fingerprint)
    assert len(prints) == 2


# -- how it asks -----------------------------------------------------------------------------


def ask(prompt: Any, **sampling: Any) -> GenerateRequest:
    return GenerateRequest(prompt, Sampling(**sampling))


def test_texts_are_completed_and_chats_are_answered(mock: MockServer) -> None:
    model = explored(mock.url, "generate")
    mock.reset()
    one(model, ask("Once upon", max_tokens=4))
    assert mock.stats()["last_path"] == "/v1/completions"
    one(model, ask((Message("user", "Hello"),), max_tokens=4))
    assert mock.stats()["last_path"] == "/v1/chat/completions"


@pytest.mark.parametrize("api", ["chat", "completions", "responses"])
def test_every_interface_gives_the_same_shape(mock: MockServer, api: str) -> None:
    answer = one(explored(mock.url, "generate", api=api), ask("[[say:one, two]]", max_tokens=32))
    assert isinstance(answer, Generation)
    assert (answer.text, answer.finish_reason) == ("one, two", "stop")
    assert answer.prompt_tokens > 0
    assert answer.completion_tokens == 3  # "one", ",", " two"


def test_stop_strings_beyond_the_servers_limit_hold(mock: MockServer) -> None:
    model = explored(mock.url, "generate")
    request = ask("[[say:one two three four]]", stop=("v", "w1", "x", "y", "z", " three"))
    assert one(model, request).text == "one two"


def test_draws_of_a_question_differ_and_come_again(mock: MockServer) -> None:
    model = explored(mock.url, "generate")
    drawn = list(ask("Once upon a time", temperature=1.0, max_tokens=12).draws(8))
    mock.reset()
    first, again = call(model, drawn).responses, call(model, drawn).responses
    assert mock.stats()["requests"] == 2
    assert first == again
    assert len({a.text for a in first}) > 4  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("prompt", "finish"),
    [("[[filter]]", "content_filter"), ("[[tool]]", "tool_call"), ("[[long]]", "length")],
)
def test_an_answer_that_is_none_says_so(mock: MockServer, prompt: str, finish: str) -> None:
    answer = one(explored(mock.url, "generate", api="chat"), ask(prompt, max_tokens=5))
    assert answer.finish_reason == finish


def test_a_question_that_is_refused_costs_itself_only(mock: MockServer) -> None:
    model = explored(mock.url, "generate")
    answer = one(model, ask("[[context]]"))
    assert isinstance(answer, Failure)
    assert "maximum context length" in answer.reason
    filtered = one(model, ask("[[400:the content filter was triggered]]"))
    assert filtered == Generation("", finish_reason="content_filter")


def test_a_log_probability_that_a_filter_refuses_is_no_generation(mock: MockServer) -> None:
    model = explored(mock.url, "loglikelihood")
    answer = one(model, LoglikelihoodRequest("[[400:the content filter was triggered]] a", " b"))
    assert isinstance(answer, Failure)


def test_a_fatal_error_is_no_answer(mock: MockServer) -> None:
    model = explored(mock.url, "generate")
    with pytest.raises(UsageError, match="401"):
        one(model, ask("[[401:no]]"))
    with pytest.raises(TryAgain):
        one(model, ask("[[500]]"))


def test_who_answered_is_counted(mock: MockServer) -> None:
    model = explored(mock.url, "generate", api="chat")
    for i in range(3):
        one(model, ask(f"Hello {i}"))
    assert model.report()["answered_by"] == {"mock-model (fp_mock)": 3}


def test_questions_are_put_together_where_one_call_answers_them(mock: MockServer) -> None:
    model = explored(mock.url)
    drawn = list(ask("a", temperature=1.0).draws(20))
    greedy = list(ask("a").draws(2))
    scored = [LoglikelihoodRequest("a", f" {c}") for c in "bc"]
    groups = model.group([*drawn, *greedy, *scored, ask("b", temperature=1.0)])
    assert groups[0] == list(range(16))
    assert groups[1] == list(range(16, 20))
    assert groups[2:] == [[20], [21], [22], [23], [24]]
    assert sorted(i for g in groups for i in g) == list(range(25))
    responses = explored(mock.url, "generate", api="responses")
    assert responses.group(drawn) == [[i] for i in range(20)]


def test_a_provider_that_takes_one_draw_a_call_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    model = load(None, "llama", provider="groq")
    assert model.group(list(ask("a", temperature=1.0).draws(3))) == [[0], [1], [2]]


# -- what it costs ---------------------------------------------------------------------------


def test_answers_cost_what_their_tokens_cost() -> None:
    model = load("http://h/v1", price_input=2.0, price_cached=0.5, price_output=8.0)
    answer = Generation("x", prompt_tokens=1000, cached_tokens=400, completion_tokens=50)
    # 600 x 2/M + 400 x 0.5/M + 50 x 8/M
    assert model.price(answer) == pytest.approx(0.0018)
    assert model.price(Loglikelihood(-1.0, True, 1, 500)) == pytest.approx(0.001)
    assert load("http://h/v1").price(answer) is None


def test_a_questions_cost_is_estimated_at_most() -> None:
    model = load("http://h/v1", price_input=2.0, price_output=8.0, max_gen_toks=100)
    drawn = list(ask("x" * 400, temperature=1.0).draws(3))
    found = model.estimate(drawn)
    assert 100 <= found.prompt_tokens <= 120  # four characters a token
    assert found.completion_tokens == 300
    assert found.usd == pytest.approx((found.prompt_tokens * 2 + 300 * 8) / 1e6)
    scored = model.estimate([LoglikelihoodRequest("x" * 390, "y" * 10)])
    assert (scored.prompt_tokens, scored.completion_tokens) == (100, 0)
    thinking = load("http://h/v1", reasoning=True, reasoning_tokens=1000)
    assert thinking.estimate([ask("x", max_tokens=10)]).completion_tokens == 1010
    assert thinking.estimate([ask("x", max_tokens=10)]).usd is None


def test_how_much_it_may_be_asked_at_once_is_what_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "providers.yaml").write_text(
        "providers: {mine: {base_url: 'http://h/v1', max_connections: 9, "
        "models: [{match: 'm*', requests_per_minute: 50}]}}"
    )
    traffic = load("http://h/v1", "m1").traffic
    assert (traffic.max_connections, traffic.requests_per_minute) == (9, 50)
    traffic = load("http://h/v1", "m1", max_connections=2, timeout=5, patience=7).traffic
    assert (traffic.max_connections, traffic.deadline, traffic.patience) == (2, 5.0, 7.0)


def test_only_the_server_renders_its_chats() -> None:
    with pytest.raises(UsageError, match="only the server"):
        load("http://h/v1").apply_chat_template([], True)


def test_exploring_works_inside_a_running_loop(mock: MockServer) -> None:
    async def job() -> OpenAIModel:
        return explored(mock.url, "generate")

    assert asyncio.run(job()).capabilities == {"generate", "chat", "completions"}


def test_a_server_without_log_probabilities_is_warned_of(
    mock: MockServer, caplog: pytest.LogCaptureFixture
) -> None:
    mock.set(echo="shifted")
    with caplog.at_level(logging.WARNING, "llmeval"):
        explored(mock.url)
    assert "shifted by a token" in caplog.text


def test_a_budget_of_dollars_needs_a_price(mock: MockServer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="price"):
        llmeval.run(
            "openai:mock-model",
            [FakeTask(n=20, kind="choice")],
            model_settings={"base_url": mock.url},
            workspace=tmp_path,
            out=tmp_path / "results",
            max_usd=0.000001,
        )
