"""What a server's statuses, headers and faults mean; the key stands in no message."""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from llmeval.core import LlmevalError, TryAgain, UsageError
from llmeval.models.served.transport import QuestionRefused, Received, Transport
from tests.support.mock_openai.launch import MockServer, serve

KEY = "sk-proj-aB3dE5fG7hI9jK1lM2nO4pQ6"
BODY = {"model": "mock-model", "messages": [{"role": "user", "content": "Hello"}]}


@dataclass
class Scripted:
    """A server that answers everything with what it is given, in a thread of its own."""

    status: int = 200
    content: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    seen: list[tuple[str, str, Mapping[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def answers(self, status: int, content: Any, **headers: str) -> Scripted:
        self.status = status
        self.content = content if isinstance(content, bytes) else orjson.dumps(content)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        data = await request.read()
        self.seen.append((request.method, request.raw_path, dict(request.headers), data))
        return web.Response(status=self.status, body=self.content, headers=self.headers)


@contextmanager
def scripted() -> Iterator[Scripted]:
    server, started, loop = Scripted(), threading.Event(), asyncio.new_event_loop()

    async def listen() -> None:
        runner = web.ServerRunner(web.Server(server.handle))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(job)
        except asyncio.CancelledError:
            loop.close()

    job = loop.create_task(listen())
    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(job.cancel)
        thread.join(10)


@pytest.fixture(scope="module")
def server() -> Iterator[Scripted]:
    with scripted() as running:
        yield running


@pytest.fixture(scope="module")
def mock() -> Iterator[MockServer]:
    with serve(hang_seconds=5, drip_seconds=0.1) as running:
        yield running


def make(url: str, **query: str) -> Transport:
    return Transport(url, {"Authorization": f"Bearer {KEY}"}, query, frozenset({KEY}))


def post(url: str, body: Mapping[str, Any] = BODY, path: str = "/chat/completions") -> Received:
    async def job() -> Received:
        transport = make(url)
        try:
            async with asyncio.timeout(10):
                return await transport.post(path, body)
        finally:
            await transport.hang_up()

    return asyncio.run(job())


def fault(url: str) -> TryAgain:
    with pytest.raises(TryAgain) as caught:
        post(url)
    return caught.value


def error(message: str, code: Any = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


# -- what goes over the wire -----------------------------------------------------------------


def test_a_body_goes_out_as_json_with_the_key_and_the_query(server: Scripted) -> None:
    server.answers(200, {"choices": []})
    server.seen.clear()

    async def job() -> Received:
        transport = make(server.url, **{"api-version": "2025-01-01"})
        received = await transport.post("/chat/completions", {"a": "ü\u2028", "b": [1, None]})
        await transport.hang_up()
        return received

    assert asyncio.run(job()) == Received({"choices": []}, 0.0)
    ((method, path, headers, data),) = server.seen
    assert (method, path) == ("POST", "/v1/chat/completions?api-version=2025-01-01")
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Content-Type"] == "application/json"
    assert orjson.loads(data) == {"a": "ü\u2028", "b": [1, None]}


def test_vllms_own_endpoints_lie_beside_the_api(server: Scripted) -> None:
    server.answers(200, {"tokens": [1]})
    server.seen.clear()

    async def job() -> Received:
        transport = make(server.url)
        received = await transport.post_beside("/tokenize", {"prompt": "x"})
        await transport.get("/models")
        await transport.hang_up()
        return received

    assert asyncio.run(job()).body == {"tokens": [1]}
    assert [path for _, path, *_ in server.seen] == ["/tokenize", "/v1/models"]


def test_one_transport_serves_several_event_loops(server: Scripted) -> None:
    server.answers(200, {"n": 1})
    transport = make(server.url)

    async def job() -> Received:
        received = await transport.post("/x", {})
        await transport.hang_up()
        return received

    assert asyncio.run(job()) == asyncio.run(job()) == Received({"n": 1})


# -- statuses --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 520, 524, 529])
def test_a_fault_of_the_moment_is_tried_again(server: Scripted, status: int) -> None:
    server.answers(status, error("Busy"))
    found = fault(server.url)
    assert found.reason == f"the server answered {status}"
    assert found.overloaded == (status in (429, 503, 529))
    assert found.after is None
    assert found.unreachable == (status in (502, 503, 504, 524))


@pytest.mark.parametrize(
    ("status", "code", "part", "mend"),
    [
        (401, "invalid_api_key", "answered 401: As asked", "key_env"),
        (402, None, "answered 402", "no credit"),
        (403, None, "answered 403", "may not do this"),
        (404, "model_not_found", "answered 404", "--base-url"),
        (405, None, "answered 405", ""),
        (429, "insufficient_quota", "answered 429", "no credit"),
        (429, "billing_hard_limit_reached", "answered 429", "no credit"),
        (400, "unsupported_parameter", "answered 400", ""),
        (501, None, "answered 501", ""),
    ],
)
def test_what_every_question_would_meet_ends_the_run(
    server: Scripted, status: int, code: str | None, part: str, mend: str
) -> None:
    server.answers(status, error("As asked", code))
    with pytest.raises(UsageError, match=part) as caught:
        post(server.url)
    assert mend in str(caught.value)
    assert caught.value.where == f"{server.url}/chat/completions"
    assert "\n" not in str(caught.value)


LENGTHS = [
    (400, error("This model's maximum context length is 4096 tokens. However, you requested 5000")),
    (400, error("Please reduce the length of the messages.", "context_length_exceeded")),
    (400, error("prompt is too long: 210000 tokens > 200000 maximum")),
    (400, error("Prompt contains 40000 tokens, too large for model with 32768 maximum context")),
    (400, {"object": "error", "message": "The input is longer than the model's context length"}),
    (413, error("Requested tokens (2285) exceed context window of 2048")),
]
OTHER_LENGTHS = [
    # llama.cpp, github.com/ggml-org/llama.cpp/pull/15780 and issue 19774
    (
        400,
        error(
            "request (4390 tokens) exceeds the available context size (4096 tokens), try "
            "increasing it",
            400,
            "exceed_context_size_error",
        ),
    ),
    # xAI, github.com/cline/cline/issues/3120
    (
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "This model's maximum prompt length is 131072 but the request contains "
            "136973 tokens.",
        },
    ),
    # text-generation-inference, github.com/huggingface/chat-ui/issues/340
    (
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 1512. "
            "Given: 1000 `inputs` tokens and 1024 `max_new_tokens`",
            "error_type": "validation",
        },
    ),
]
FILTERS = [
    (
        400,
        error(
            "The response was filtered due to the prompt triggering Azure OpenAI's content "
            "management policy.",
            "content_filter",
        ),
    ),
    (400, error("Your request was rejected by our safety system.", "moderation_blocked")),
]
OTHER_FILTERS = [
    # OpenAI's reasoning models, github.com/alan-turing-institute/t0-1/issues/69
    (
        400,
        error(
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy. "
            "Please try again with a different prompt: "
            "https://platform.openai.com/docs/guides/reasoning#advice-on-prompting",
            "invalid_prompt",
        ),
    ),
]


@pytest.mark.parametrize(
    ("status", "content", "filtered"),
    [
        *((*each, False) for each in LENGTHS),
        *((*each, True) for each in FILTERS),
        *((*each, False) for each in OTHER_LENGTHS),
        *((*each, True) for each in OTHER_FILTERS),
    ],
)
def test_what_is_about_one_question_is_no_end_of_the_run(
    server: Scripted, status: int, content: Any, filtered: bool
) -> None:
    server.answers(status, content)
    with pytest.raises(QuestionRefused) as caught:
        post(server.url)
    assert caught.value.filtered == filtered
    assert caught.value.reason


@pytest.mark.parametrize(
    ("code", "again"), [(502, True), (429, True), ("server_error", True), (401, False)]
)
def test_a_fault_with_status_200_is_a_fault(server: Scripted, code: Any, again: bool) -> None:
    """As OpenRouter sends them."""
    server.answers(200, {"error": {"message": "Provider returned error", "code": code}})
    with pytest.raises(TryAgain if again else UsageError):
        post(server.url)


def test_an_error_that_is_none_is_none(server: Scripted) -> None:
    server.answers(200, {"error": None, "output": []})
    assert post(server.url).body["output"] == []


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"[1]", b'"text"', b"null", b'{"a"', b"\xff\xfe", b"NaN"]
)
def test_an_answer_that_is_no_json_object_is_asked_again(server: Scripted, content: bytes) -> None:
    server.answers(200, content)
    assert not fault(server.url).unreachable


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>gone</html>",
        b"[1, 2]",
        b"null",
        b'{"error": "text"}',
        b'{"error": [1]}',
        b"\xff",
        b'{"detail": [{"loc": ["body"], "msg": "x"}]}',
        b'{"error": {"message": null}}',
    ],
)
def test_an_error_may_have_any_body(server: Scripted, content: bytes) -> None:
    server.answers(404, content)
    with pytest.raises(UsageError, match=r"the server answered 404: .+"):
        post(server.url)
    server.answers(500, content)
    fault(server.url)


# -- how long to wait ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.25"}, 0.25),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "-3"}, 0.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250", "Retry-After": "9"}, 0.25),
        ({"Retry-After": "1m30s"}, 90.0),
        ({"Retry-After": "soon"}, None),
        ({}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}, 1.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "42"}, 42.0),
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "42"}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "?"}, None),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "2s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "5s",
            },
            5.0,
        ),
    ],
)
def test_a_server_says_how_long_to_wait(
    server: Scripted, headers: dict[str, str], seconds: float | None
) -> None:
    server.answers(429, error("Rate limit reached"), **headers)
    assert fault(server.url).after == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("seconds", [30, -30])
def test_a_date_says_it_as_well(server: Scripted, seconds: int) -> None:
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    for date in (email.utils.format_datetime(at, usegmt=True), at.strftime("%d %b %Y %H:%M:%S")):
        server.answers(429, error("Rate limit reached"), Retry_After=date)
        found = fault(server.url).after
        assert found == pytest.approx(max(0, seconds), abs=2.0)


def test_an_answer_says_when_the_limit_is_used_up(server: Scripted) -> None:
    limits = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1.5s"}
    server.answers(200, {"choices": []}, **limits)
    assert post(server.url).wait == 1.5
    server.answers(200, {"choices": []}, **{**limits, "x-ratelimit-remaining-requests": "1"})
    assert post(server.url).wait == 0.0


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12))
def test_any_header_is_seconds_or_nothing(text: str) -> None:
    from llmeval.models.served.transport import _read_retry_after

    for name in ("Retry-After", "retry-after-ms"):
        found = _read_retry_after({name: text})
        assert found is None or found >= 0.0


@pytest.mark.parametrize("text", ["inf", "nan", "1e400"])
def test_what_is_no_number_of_seconds_says_nothing(server: Scripted, text: str) -> None:
    server.answers(429, error("Rate limit reached"), Retry_After=text)
    assert fault(server.url).after is None


# -- connections -----------------------------------------------------------------------------


def test_nobody_there_is_unreachable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    found = fault(f"http://127.0.0.1:{port}/v1")
    assert found.unreachable
    assert found.reason.startswith("no connection:")
    assert not found.overloaded


def test_an_unknown_host_is_unreachable() -> None:
    assert fault("http://nobody.invalid/v1").unreachable


@pytest.mark.parametrize(
    ("kind", "reason", "unreachable"),
    [
        ("reset", "the connection was lost", True),
        ("half", "the answer broke off", False),
        ("invalid-json", "the answer is not JSON", False),
        ("empty-body", "the answer is empty", False),
        ("500", "the server answered 500", False),
        ("503", "the server answered 503", True),
        ("429", "the server answered 429", False),
    ],
)
def test_a_fault_of_the_mock_server_is_what_it_is(
    mock: MockServer, kind: str, reason: str, unreachable: bool
) -> None:
    mock.set(fault_rate=1.0, faults=(kind,))
    found = fault(mock.url)
    assert (found.reason, found.unreachable) == (reason, unreachable)


@pytest.mark.parametrize("kind", ["429-after", "429-ms"])
def test_the_mock_servers_waits_are_read(mock: MockServer, kind: str) -> None:
    mock.set(fault_rate=1.0, faults=(kind,), retry_after=0.25)
    assert fault(mock.url).after == 0.25


@pytest.mark.parametrize("kind", ["drip", "duplicate-id"])
def test_an_answer_that_comes_slowly_is_an_answer(mock: MockServer, kind: str) -> None:
    mock.set(fault_rate=1.0, faults=(kind,))
    assert post(mock.url).body["choices"]


def test_what_is_no_http_is_a_fault() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def chatter() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")

        thread = threading.Thread(target=chatter)
        thread.start()
        found = fault(f"http://127.0.0.1:{listening.getsockname()[1]}/v1")
        thread.join()
    assert "\n" not in found.reason


def test_a_key_with_a_line_break_is_refused_without_being_told(
    server: Scripted,
) -> None:
    """As from a file that ends with one."""
    server.answers(200, {})

    async def job() -> None:
        transport = Transport(
            server.url, {"Authorization": f"Bearer {KEY}\n"}, {}, frozenset({f"{KEY}\n"})
        )
        try:
            await transport.post("/x", {})
        finally:
            await transport.hang_up()

    with pytest.raises((LlmevalError, ValueError)) as caught:
        asyncio.run(job())
    assert KEY not in str(caught.value)


# -- the key ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 500])
@pytest.mark.parametrize(
    "message",
    [
        f"Incorrect API key provided: {KEY}",
        f"bad header Authorization: Bearer {KEY}, sent by you",
        f"{KEY}{KEY}",
        f"context length {KEY} content filter",
        "x" * 480 + KEY,  # where a message is cut
        f"{KEY[:20]}\n{KEY[20:]} and sk-other-123456789",
    ],
)
def test_the_key_stands_in_no_message(server: Scripted, status: int, message: str) -> None:
    for content in (error(message), error(message, message), {"detail": message}, message.encode()):
        server.answers(status, content)
        with pytest.raises((LlmevalError, TryAgain, QuestionRefused)) as caught:
            post(server.url)
        said = f"{caught.value} {caught.value!r} {getattr(caught.value, 'reason', '')}"
        assert KEY not in said
        assert "sk-other" not in said


@given(st.text(max_size=20), st.text(min_size=8, max_size=40).filter(str.strip), st.text())
def test_no_secret_survives(before: str, secret: str, behind: str) -> None:
    transport = Transport("http://x/v1", {}, {}, frozenset({secret}))
    said = transport.redact(f"{before}{secret}{behind}")
    if secret not in before + "***" + behind:
        assert secret not in said
    assert "\n" not in said
    assert len(said) <= 503


def test_of_two_secrets_the_longer_one_goes_first() -> None:
    transport = Transport("http://x/v1", {}, {}, frozenset({"abcdefgh", "abcdefghij"}))
    assert transport.redact("it is abcdefghij!") == "it is ***!"


@pytest.mark.parametrize(
    "key",
    [
        "sk-abcdef123456",
        "gsk_abcdef123456",
        "xai-abcdef123456",
        "Bearer abc.def-ghi",
        "pk-12345678",
    ],
)
def test_what_looks_like_a_key_is_hidden_too(key: str) -> None:
    said = Transport("http://x/v1", {}, {}).redact(f"Incorrect key {key} here")
    assert said == "Incorrect key *** here"
