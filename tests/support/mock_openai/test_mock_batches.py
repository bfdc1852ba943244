"""The mock server's Batch API."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

from .client import chat, chat_body, get, post
from .launch import MockServer


def upload(server: MockServer, lines: list[dict[str, Any]]) -> str:
    content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    parts = (
        b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    )
    data = parts + content + b"\r\n--x--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    status, _, file = post(server, "/v1/files", data, **kind)
    assert (status, file["purpose"]) == (200, "batch")
    return file["id"]


def line(custom: str, text: str) -> dict[str, Any]:
    url = "/v1/chat/completions"
    return {"custom_id": custom, "method": "POST", "url": url, "body": chat_body(text)}


def begin(server: MockServer, lines: list[dict[str, Any]]) -> dict[str, Any]:
    body = {
        "input_file_id": upload(server, lines),
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    status, _, batch = post(server, "/v1/batches", body)
    assert (status, batch["status"]) == (200, "validating")
    return batch


def await_end(server: MockServer, ident: str) -> tuple[dict[str, Any], list[str]]:
    seen: list[str] = []
    while True:
        batch = get(server, f"/v1/batches/{ident}")
        if not seen or seen[-1] != batch["status"]:
            seen.append(batch["status"])
        if batch["status"] not in ("validating", "in_progress"):
            return batch, seen
        time.sleep(0.01)


def rows(server: MockServer, ident: str | None) -> list[dict[str, Any]]:
    if ident is None:
        return []
    with urllib.request.urlopen(f"{server.url}/files/{ident}/content", timeout=5) as response:
        return [json.loads(raw) for raw in response.read().splitlines()]


def test_a_batch_answers_as_the_endpoint_does(server: MockServer) -> None:
    lines = [line(f"q{i}", f"question {i}") for i in range(20)] + [line("bad", "[[400:No]]")]
    batch, seen = await_end(server, begin(server, lines)["id"])
    assert seen == ["validating", "in_progress", "completed"]
    assert batch["request_counts"] == {"total": 21, "completed": 20, "failed": 1}
    out = rows(server, batch["output_file_id"])
    customs = [row["custom_id"] for row in out]
    assert sorted(customs) == sorted(f"q{i}" for i in range(20)) != customs
    direct = chat(server, "question 3")
    body = next(row["response"]["body"] for row in out if row["custom_id"] == "q3")
    assert body["choices"] == direct["choices"]
    (bad,) = rows(server, batch["error_file_id"])
    assert bad["response"]["status_code"] == 400
    assert server.stats()["answered_twice"] == 1
    assert get(server, "/v1/batches")["data"][0]["id"] == batch["id"]


def test_lines_of_a_batch_fail_and_get_through_later(server: MockServer) -> None:
    server.set(batch_seconds=0.05, batch_error_share=0.5)
    left = {f"q{i}" for i in range(30)}
    kinds = set()
    for _ in range(20):
        ident = begin(server, [line(name, name) for name in sorted(left)])["id"]
        batch, _ = await_end(server, ident)
        for name in ("output_file_id", "error_file_id"):
            for row in rows(server, batch[name]):
                status = row["response"] and row["response"]["status_code"]
                kinds.add((name, status))
                if status == 200:
                    left.remove(row["custom_id"])
        if not left:
            break
    assert not left
    assert kinds == {
        ("output_file_id", 200),
        ("output_file_id", 500),
        ("error_file_id", 500),
        ("error_file_id", None),
    }
    assert server.stats()["answered_twice"] == 0


def test_a_batch_can_be_cancelled_expire_or_be_refused(server: MockServer) -> None:
    ident = begin(server, [line("a", "x")])["id"]
    assert post(server, f"/v1/batches/{ident}/cancel", b"")[2]["status"] == "cancelling"
    assert await_end(server, ident)[0]["status"] == "cancelled"
    assert post(server, f"/v1/batches/{ident}/cancel", b"")[0] == 409
    server.set(batch_seconds=0.05, batch_outcome="expired")
    batch, _ = await_end(server, begin(server, [line(f"{i}", "x") for i in range(4)])["id"])
    assert batch["request_counts"] == {"total": 4, "completed": 2, "failed": 2}
    assert rows(server, batch["error_file_id"])[0]["error"]["code"] == "batch_expired"
    batch, _ = await_end(server, begin(server, [line("a", "x"), line("a", "y")])["id"])
    assert batch["status"] == "failed"
    assert batch["errors"]["data"][0]["code"] == "duplicate_custom_id"
