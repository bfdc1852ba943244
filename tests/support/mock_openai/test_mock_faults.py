"""The mock server fails as promised, and counts what it sent."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from .client import Answer, chat, chat_body, get, post
from .launch import MockServer
from .ledger import digest
from .options import KINDS, Options, command_line, parse

# Faults


def fault(server: MockServer, kind: str, timeout: float = 5, **options: Any) -> Answer:
    server.set(fault_rate=1, faults=[kind])
    body = chat_body("[[say:Hello there]]", **options)
    return post(server, "/v1/chat/completions", body, timeout)


@pytest.mark.parametrize("kind", ["429", "429-after", "429-date", "429-ms", "500", "503"])
def test_refusals(server: MockServer, kind: str) -> None:
    server.set(retry_after=2)
    status, headers, reply = fault(server, kind)
    assert status == int(kind[:3])
    assert reply["error"]["message"]
    if kind == "429-date":
        wait = parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time()
        assert 1 < wait <= 3
    else:
        assert headers.get("retry-after") == ("2" if kind == "429-after" else None)
    assert headers.get("retry-after-ms") == ("2000" if kind == "429-ms" else None)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("timeout", TimeoutError),
        ("hang", TimeoutError),
        ("reset", ConnectionResetError),
        ("half", http.client.IncompleteRead),
    ],
)
def test_broken_connections(server: MockServer, kind: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        fault(server, kind, timeout=0.2)
    stats = server.stats()
    assert (stats["by_fault"], stats["answered"]) == ({kind: 1}, 0)
    assert stats["in_flight"] == 0
    server.set(fault_rate=0)
    assert chat(server, "[[say:Hello there]]")["choices"]


def test_a_timeout_is_an_answer_to_who_waits(server: MockServer) -> None:
    begun = time.monotonic()
    assert fault(server, "timeout")[0] == 200
    assert time.monotonic() - begun >= 0.4
    assert server.stats()["answered"] == 1


def test_broken_bodies(server: MockServer) -> None:
    texts = [fault(server, "invalid-json")[2] for _ in range(12)]
    assert all(isinstance(text, str) for text in texts)
    assert {text[0] for text in texts} == {"<", "{"}
    assert fault(server, "empty-body")[::2] == (200, "")
    assert fault(server, "empty-choices")[2]["choices"] == []
    assert fault(server, "null-content")[2]["choices"][0]["message"]["content"] is None
    counts = {len(fault(server, "wrong-n", n=3)[2]["choices"]) for _ in range(12)}
    assert counts == {2, 4}
    assert len(fault(server, "wrong-n")[2]["choices"]) == 2
    assert server.stats()["answered"] == 0


def test_harmless_faults_are_answers(server: MockServer) -> None:
    first, second = fault(server, "duplicate-id")[2], fault(server, "duplicate-id")[2]
    assert first["id"] == second["id"]
    begun = time.monotonic()
    reply = fault(server, "drip")[2]
    assert time.monotonic() - begun > 0.15
    assert reply["choices"][0]["message"]["content"] == "Hello there"
    assert server.stats()["answered"] == 3


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/responses"])
@pytest.mark.parametrize("kind", ["wrong-n", "empty-choices", "duplicate-id", "null-content"])
def test_faults_of_content_fit_every_endpoint(server: MockServer, path: str, kind: str) -> None:
    server.set(fault_rate=1, faults=kind)
    body = {"model": "m", "prompt": "x", "input": "x"}
    assert post(server, path, body)[0] == 200
    assert server.stats()["by_fault"] == {kind: 1}


def test_faults_are_reproducible_and_a_question_gets_through(server: MockServer) -> None:
    def statuses() -> list[int]:
        server.reset()
        body = chat_body("[[say:x]]")
        return [post(server, "/v1/chat/completions", body)[0] for _ in range(20)]

    server.set(fault_rate=0.5, faults=["500"], seed=3)
    first = statuses()
    assert statuses() == first
    assert set(first) == {200, 500}
    server.set(seed=4)
    assert statuses() != first


def test_faults_meet_other_endpoints_where_asked(server: MockServer) -> None:
    server.set(fault_rate=1, faults=["503"])
    assert get(server, "/v1/models")["data"]
    server.set(fault_everywhere=True)
    with pytest.raises(urllib.error.HTTPError, match="503"):
        get(server, "/v1/models")


# Limits


def test_the_rate_limit_says_when(server: MockServer) -> None:
    server.set(requests_per_minute=60)
    path, body = "/v1/chat/completions", chat_body("x")
    status, headers, _ = post(server, path, body)
    assert (status, headers["x-ratelimit-remaining-requests"]) == (200, "0")
    assert headers["x-ratelimit-limit-requests"] == "60"
    status, headers, reply = post(server, path, body)
    assert (status, reply["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 0 < float(headers["retry-after"]) <= 1
    assert headers["x-ratelimit-reset-requests"].endswith("s")
    assert server.stats()["by_fault"] == {"rate-limit": 1}


def test_too_many_in_flight_are_refused(server: MockServer) -> None:
    server.set(max_in_flight=2, latency=0.3)
    with ThreadPoolExecutor(5) as pool:
        asked = [
            pool.submit(post, server, "/v1/chat/completions", chat_body(f"{i}")) for i in range(5)
        ]
        statuses = sorted(each.result()[0] for each in asked)
    assert statuses == [200, 200, 503, 503, 503]
    assert server.stats()["by_fault"] == {"overload": 3}


def test_latency_grows_beyond_the_capacity(server: MockServer) -> None:
    server.set(latency=0.05, latency_growth=True, capacity=1)
    begun = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda i: chat(server, f"{i}"), range(6)))
    assert time.monotonic() - begun >= 0.2
    assert server.stats()["max_in_flight"] >= 4


# Counts


def test_stats_and_ledger_count_questions(server: MockServer) -> None:
    before = len(server.ledger())
    body = chat_body("count me", seed=1)
    for _ in range(2):
        post(server, "/v1/chat/completions", body, Authorization="Bearer x")
    chat(server, "count me")
    stats = server.stats()
    assert (stats["requests"], stats["answered"], stats["distinct"]) == (3, 3, 2)
    assert stats["answered_twice"] == 1
    assert stats["last_body"] == chat_body("count me")
    assert "Content-Type" in stats["headers_seen"]
    name = digest("/v1/chat/completions", dict(reversed(body.items())))
    assert server.ledger()[before:].count(name) == 2
    server.reset()
    assert server.stats()["requests"] == 0


def test_a_client_that_leaves_got_no_answer(server: MockServer) -> None:
    server.set(latency=0.4)
    before = len(server.ledger())
    with pytest.raises(TimeoutError):
        post(server, "/v1/chat/completions", chat_body("x"), timeout=0.1)
    time.sleep(0.5)
    assert (server.stats()["answered"], len(server.ledger())) == (0, before)


# Starting and ending


def test_the_command_line_and_the_options_agree() -> None:
    values = {"fault_rate": 0.3, "faults": ("429", "half"), "reasoning": True, "echo": "shifted"}
    assert parse(command_line(values))[0] == Options(**values)
    assert Options().faults == KINDS
    for wrong in ({"faults": "nonsense"}, {"fault_rate": 2}, {"echo": "loud"}, {"color": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Options().changed(wrong)


def test_a_restart_keeps_port_options_and_ledger(server: MockServer) -> None:
    server.set(model="changed")
    before, port = len(server.ledger()), server.port
    chat(server, "x")
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        chat(server, "x")
    server.start()
    chat(server, "x")
    assert get(server, "/v1/models")["data"][0]["id"] == "changed"
    assert (server.port, len(server.ledger())) == (port, before + 2)
    server.set(model=Options().model)


def test_it_ends_when_stdin_closes_or_on_sigterm() -> None:
    command = [sys.executable, "-m", "tests.support.mock_openai"]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)
    ]
    for process in both:
        assert process.stdout.readline().startswith(b"http://127.0.0.1:")
    both[0].stdin.close()
    both[1].terminate()
    for process in both:
        assert process.wait(timeout=5) == 0
        assert process.stdout.read() == b""
        process.stdout.close()
    both[1].stdin.close()
