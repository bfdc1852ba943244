"""Data inside a page: gzip in base64, which holds no letter that could end a script element."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

_CHUNK_BYTES = 400_000  # of JSON: decompressed and read in some milliseconds
_CHUNK_ITEMS = 500
_LEVEL = 6

_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def embed_json(value: Any) -> str:
    """Return JSON that may stand in a script element: ``</script>`` cannot occur in it."""
    return dump(value).decode("utf-8").translate(_ESCAPES)


def dump(value: Any) -> bytes:
    """Return JSON; what UTF-8 cannot hold becomes ``?``."""
    try:
        return orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError):  # a lone surrogate
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "replace"
        )


def pack(data: bytes) -> str:
    """Return data compressed, as base64."""
    return base64.b64encode(gzip.compress(data, _LEVEL, mtime=0)).decode("ascii")


def pack_in_chunks(rows: Iterable[Any]) -> Iterator[tuple[int, str]]:
    """Yield the number of rows of each chunk, and the chunk: a JSON array of them, packed."""
    held: list[bytes] = []
    size = 0
    for row in rows:
        text = dump(row)
        if held and (size + len(text) > _CHUNK_BYTES or len(held) >= _CHUNK_ITEMS):
            yield len(held), pack(b"[" + b",".join(held) + b"]")
            held, size = [], 0
        held.append(text)
        size += len(text)
    if held:
        yield len(held), pack(b"[" + b",".join(held) + b"]")
