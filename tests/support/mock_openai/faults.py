"""The faults: which attempt meets which, and what each does to an answer."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import time
from collections.abc import Callable
from email.utils import formatdate
from hashlib import blake2b
from typing import Any

import orjson
from aiohttp import web

from .options import Options
from .wire import Json, error_body

REFUSALS = ("429", "429-after", "429-date", "429-ms", "500", "503")
# these change the JSON of a model's answer; the rest happens to the bytes of any answer
OF_CONTENT = ("wrong-n", "empty-choices", "duplicate-id", "null-content")
# sound in the end, if the client waits
SOUND = ("duplicate-id", "drip", "timeout")
# counts an answer that is whole and sound
Count = Callable[[], None]
_JSON = {"Content-Type": "application/json"}
_MESSAGES = {
    429: "Rate limit reached for requests",
    500: "The server had an error while processing your request. Sorry about that!",
    503: "The engine is currently overloaded, please try again later",
}


def choose(options: Options, question: str, attempt: int) -> tuple[str, int]:
    """Return the fault of an attempt, "" for none, and a coin for the fault's own choices."""
    if not options.fault_rate:
        return "", 0
    text = f"{options.seed}|{question}|{attempt}".encode()
    value = int.from_bytes(blake2b(text, digest_size=16).digest(), "big")
    if (value & 0xFFFFFFFF) >= options.fault_rate * 2**32:
        return "", 0
    return options.faults[(value >> 32 & 0xFFFFFFFF) % len(options.faults)], value >> 64


def refusal(kind: str, options: Options) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of one of the REFUSALS."""
    status = int(kind[:3])
    headers = dict(_JSON)
    if kind == "429-after":
        headers["Retry-After"] = f"{options.retry_after:g}"
    elif kind == "429-date":
        # a date has whole seconds: round up, or it asks for no wait at all
        headers["Retry-After"] = formatdate(
            math.ceil(time.time() + options.retry_after), usegmt=True
        )
    elif kind == "429-ms":
        headers["retry-after-ms"] = f"{options.retry_after * 1000:g}"
    code = "rate_limit_exceeded" if status == 429 else None
    return status, headers, orjson.dumps(error_body(status, _MESSAGES[status], code=code))


def spoil(kind: str, reply: Json, coin: int) -> Json:
    """Return a model's answer with one of the faults OF_CONTENT."""
    # the Responses API knows no choices: its output stands for them
    name = "choices" if "choices" in reply else "output"
    if kind == "duplicate-id":
        return {**reply, "id": "duplicate"}
    if kind == "empty-choices":
        return {**reply, name: []}
    if kind == "wrong-n":
        items = reply[name]
        fewer = len(items) > 1 and coin & 1
        return {**reply, name: items[:-1] if fewer else [*items, items[-1]]}
    return {**reply, name: [_emptied(item) for item in reply[name]]}


def _emptied(item: Json) -> Json:
    if "message" in item:
        message = {**item["message"], "content": None}
        return {**item, "message": message, "finish_reason": "stop"}
    if "text" in item:
        return {**item, "text": None, "finish_reason": "stop"}
    return {**item, "content": None}


def gone() -> web.StreamResponse:
    """Return what stands for an answer that nobody gets; nginx counts such as 499."""
    return web.Response(status=499)


async def send(
    request: web.BaseRequest,
    payload: bytes,
    status: int = 200,
    headers: Any = None,
    count: Count | None = None,
) -> web.StreamResponse:
    """Send an answer to its last byte; an OSError where the client has gone."""
    response = web.Response(body=payload, status=status, headers=headers or _JSON)
    await response.prepare(request)
    _count(request, count)
    await response.write_eof()
    return response


def _count(request: web.BaseRequest, count: Count | None) -> None:
    # before the last byte: who has the answer finds it in the counts, whatever is killed then
    if count is not None and request.transport is not None and not request.transport.is_closing():
        count()


async def transmit(
    kind: str,
    request: web.BaseRequest,
    payload: bytes,
    coin: int,
    options: Options,
    headers: Any,
    count: Count | None = None,
) -> web.StreamResponse:
    """Send an answer as a fault of transport has it; ``count`` is called if it is whole."""
    match kind:
        case "timeout":
            await asyncio.sleep(options.hang_seconds)
            return await send(request, payload, headers=headers, count=count)
        case "hang":
            return await _hang(request, payload, options.hang_seconds)
        case "reset":
            return _reset(request)
        case "half":
            return await _cut_short(request, payload)
        case "drip":
            return await _drip(request, payload, options.drip_seconds, count)
        case "empty-body":
            return await send(request, b"")
        case "invalid-json":
            html = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
            return await send(request, html if coin & 1 else payload[: len(payload) // 2])
    return await send(request, payload, headers=headers, count=count)


async def _begin(request: web.BaseRequest, length: int) -> web.StreamResponse:
    response = web.StreamResponse(headers=_JSON)
    response.content_length = length
    await response.prepare(request)
    return response


async def _hang(request: web.BaseRequest, payload: bytes, seconds: float) -> web.StreamResponse:
    response = await _begin(request, len(payload))
    await asyncio.sleep(seconds)
    _close(request)
    return response


async def _cut_short(request: web.BaseRequest, payload: bytes) -> web.StreamResponse:
    response = await _begin(request, len(payload))
    await response.write(payload[: len(payload) // 2])
    _close(request)
    return response


async def _drip(
    request: web.BaseRequest, payload: bytes, seconds: float, count: Count | None
) -> web.StreamResponse:
    response = await _begin(request, len(payload))
    chunks = 20
    size = -(-len(payload) // chunks)
    for start in range(0, len(payload), size):
        await asyncio.sleep(seconds / chunks)
        if start + size >= len(payload):
            _count(request, count)
        await response.write(payload[start : start + size])
    await response.write_eof()
    return response


def _close(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.close()


def _reset(request: web.BaseRequest) -> web.StreamResponse:
    transport = request.transport
    if transport is not None:
        # without lingering the kernel sends RST, not FIN
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return gone()
