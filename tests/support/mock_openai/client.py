"""A plain client for the tests of the mock server: no retries, no pool."""

from __future__ import annotations

import http.client
import json
import urllib.request
from typing import Any

from .launch import MockServer

Answer = tuple[int, dict[str, str], Any]


def post(server: MockServer, path: str, body: Any, timeout: float = 5, **headers: str) -> Answer:
    """Post to a path and return status, headers (lower case) and the JSON, or text, answered."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    try:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", path, data, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        raw = response.read()
    finally:
        connection.close()
    names = {name.lower(): value for name, value in response.getheaders()}
    try:
        return response.status, names, json.loads(raw)
    except ValueError:
        return response.status, names, raw.decode()


def get(server: MockServer, path: str) -> Any:
    with urllib.request.urlopen(server.root + path, timeout=5) as response:
        return json.loads(response.read())


def chat_body(text: str, **options: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **options}


def chat(server: MockServer, text: str, **options: Any) -> Any:
    status, _, reply = post(server, "/v1/chat/completions", chat_body(text, **options))
    assert status == 200, reply
    return reply


def complete(server: MockServer, prompt: Any, **options: Any) -> Any:
    body = {"model": "m", "prompt": prompt, "temperature": 0, **options}
    status, _, reply = post(server, "/v1/completions", body)
    assert status == 200, reply
    return reply
