"""Canonical JSON and content digests: the one way this project names content."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import orjson

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def canonical_json(value: Any) -> bytes:
    """Return the canonical JSON of a value: sorted keys, no blanks, UTF-8.

    Bytes become ``{"base64": ...}``, sets become sorted lists, anything else that JSON lacks
    becomes its ``str``. Lone surrogates and integers beyond 64 bits, which orjson refuses, take the
    slower standard library and keep a canonical form of their own.
    """
    try:
        return orjson.dumps(value, default=_plain, option=_OPTIONS)
    except (TypeError, orjson.JSONEncodeError):
        text = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain
        )
        return text.encode("utf-8", "surrogatepass")


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        import base64

        return {"base64": base64.b64encode(bytes(value)).decode("ascii")}
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if hasattr(value, "tolist"):  # NumPy scalars and arrays that orjson does not know
        return value.tolist()
    return str(value)


def digest(data: bytes, size: int = 16) -> str:
    """Return the BLAKE2b digest of ``data`` as hexadecimal text of ``2 * size`` characters."""
    return hashlib.blake2b(data, digest_size=size).hexdigest()


def fingerprint(value: Any, size: int = 16) -> str:
    """Return the digest of a value's canonical JSON."""
    return digest(canonical_json(value), size)
