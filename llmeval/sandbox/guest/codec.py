"""Plain data on the wire: a strict, self-delimiting encoding of exact built-in values.

The candidate may send any bytes it likes. Decoding them builds values of the types below and
nothing else: no class is looked up, no code runs, so a value that arrives compares by what it *is*.
An object that is not plain data arrives as a `Handle`, an opaque number.

A value is a tag byte and a body; lengths and counts are 4 bytes, big endian:

    N T F             None, True, False        l t S Z   count, items: list, tuple, set, frozenset
    i  length, two's complement                d O C     count, key and value pairs: dict,
    f  8 bytes, c 16 bytes (IEEE 754)                    OrderedDict, Counter
    s  length, UTF-8 (surrogates pass)         q         count, items: deque
    b  length, bytes                           D R       text of a Decimal or a Fraction
    r  three integers: range                   y h       name of a built-in type; handle's number
"""

from __future__ import annotations

import builtins
import os
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Any

MAX_DEPTH = 100
"""Deepest nesting that travels; deeper (or cyclic) values raise `CodecError`."""

_PLAIN_TYPES = {
    kind.__name__: kind
    for kind in (bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict, type)
} | {"NoneType": type(None), "range": range, "object": object}
_SEQUENCES: dict[type, bytes] = {list: b"l", tuple: b"t", set: b"S", frozenset: b"Z"}
_BY_TAG = {tag[0]: kind for kind, tag in _SEQUENCES.items()}


class CodecError(ValueError):
    """The value is not plain data, or the bytes are not an encoding of one."""


class Handle:
    """An object that stays with the candidate; only its number travels."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


def encode(value: object, adopt: Callable[[object], Handle | None] | None = None) -> bytes:
    """Return the bytes of `value`.

    Args:
        value: plain data; a subclass that keeps its base's ``__eq__`` travels as the base.
        adopt: gives the handle of an object that is not plain data, None to refuse it.

    Raises:
        CodecError: a part is not plain data and `adopt` gives no handle, or it nests too deep.
    """
    out = bytearray()
    _write(out, value, adopt, 0)
    return bytes(out)


def _write(
    out: bytearray, value: Any, adopt: Callable[[object], Handle | None] | None, depth: int
) -> None:
    if depth > MAX_DEPTH:
        raise CodecError(f"value nests deeper than {MAX_DEPTH}")
    kind = _wire_type(type(value))
    if value is None or value is True or value is False:
        out += b"N" if value is None else b"T" if value else b"F"
    elif kind is int:
        number = int(value)
        _write_bytes(out, b"i", number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))
    elif kind is float:
        out += b"f" + struct.pack(">d", value)
    elif kind is complex:
        out += b"c" + struct.pack(">dd", value.real, value.imag)
    elif kind is str:
        _write_bytes(out, b"s", str.encode(value, "utf-8", "surrogatepass"))
    elif kind is bytes:
        _write_bytes(out, b"b", bytes(value))
    elif kind in _SEQUENCES:
        _write_items(out, _SEQUENCES[kind], value, len(value), adopt, depth)
    elif kind is dict:
        _write_pairs(out, b"d", value, adopt, depth)
    elif kind is range:
        out += b"r"
        for number in (value.start, value.stop, value.step):
            _write(out, number, adopt, depth + 1)
    elif isinstance(value, type) and _PLAIN_TYPES.get(value.__name__) is value:
        _write_bytes(out, b"y", value.__name__.encode())
    else:
        _write_foreign(out, value, adopt, depth)


def _wire_type(kind: type) -> type:
    """Return the plain type as which a value travels: its own, or the base whose equality it has.

    A named tuple or an `IntEnum` compares as its base does, so nothing is lost. A class with its
    own ``__eq__`` must not be mistaken for data; it stays what it is and becomes a handle.
    """
    for base in (int, float, complex, str, bytes, list, tuple, set, frozenset, dict):
        if kind is base:
            return kind
        if issubclass(kind, base):
            return base if kind.__eq__ is base.__eq__ else kind
    return kind


def _write_foreign(
    out: bytearray, value: Any, adopt: Callable[[object], Handle | None] | None, depth: int
) -> None:
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    module = sys.modules.get(kind.__module__)
    # The name alone can be anybody's; the standard library's own class is what is meant.
    genuine = getattr(module, kind.__qualname__, None) is kind
    if genuine and name == "collections.Counter":
        _write_pairs(out, b"C", value, adopt, depth)
    elif genuine and name == "collections.OrderedDict":
        _write_pairs(out, b"O", value, adopt, depth)
    elif genuine and name == "collections.deque":
        _write_items(out, b"q", value, len(value), adopt, depth)
    elif genuine and name in ("decimal.Decimal", "fractions.Fraction"):
        _write_bytes(out, b"D" if kind.__name__ == "Decimal" else b"R", str(value).encode())
    else:
        handle = value if kind is Handle else adopt(value) if adopt else None
        if handle is None:
            raise CodecError(f"{kind.__name__} is not plain data")
        out += b"h" + handle.number.to_bytes(4, "big")


def _write_bytes(out: bytearray, tag: bytes, body: bytes) -> None:
    out += tag + len(body).to_bytes(4, "big") + body


def _write_items(
    out: bytearray,
    tag: bytes,
    items: Iterable[object],
    count: int,
    adopt: Callable[[object], Handle | None] | None,
    depth: int,
) -> None:
    out += tag + count.to_bytes(4, "big")
    for item in items:
        _write(out, item, adopt, depth + 1)


def _write_pairs(
    out: bytearray,
    tag: bytes,
    value: dict[object, object],
    adopt: Callable[[object], Handle | None] | None,
    depth: int,
) -> None:
    out += tag + len(value).to_bytes(4, "big")
    for key, item in value.items():
        _write(out, key, adopt, depth + 1)
        _write(out, item, adopt, depth + 1)


def decode(data: bytes, resolve: Callable[[Handle], object] | None = None) -> Any:
    """Return the value that `data` encodes.

    Args:
        data: the whole encoding of one value.
        resolve: gives what stands for a handle; without it a handle is refused.

    Raises:
        CodecError: `data` is no such encoding. Nothing else is raised, whatever the bytes.
    """
    reader = _Reader(data, resolve)
    try:
        value = reader.value(0)
    except CodecError:
        raise
    except (ArithmeticError, ValueError, TypeError, IndexError, struct.error) as error:
        raise CodecError(f"malformed: {type(error).__name__}") from None
    if reader.position != len(data):
        raise CodecError("malformed: bytes left over")
    return value


class _Reader:
    """A position in the bytes of one value."""

    def __init__(self, data: bytes, resolve: Callable[[Handle], object] | None) -> None:
        self.data = data
        self.position = 0
        self.resolve = resolve

    def take(self, count: int) -> bytes:
        start, self.position = self.position, self.position + count
        if self.position > len(self.data):
            raise CodecError("malformed: cut short")
        return self.data[start : self.position]

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def body(self) -> bytes:
        return self.take(self.number())

    def items(self, depth: int) -> list[Any]:
        count = self.number()
        # Every item is at least one byte: a forged count cannot make us allocate.
        if count > len(self.data) - self.position:
            raise CodecError("malformed: count")
        return [self.value(depth + 1) for _ in range(count)]

    def pairs(self, depth: int) -> dict[Any, Any]:
        count = self.number()
        return {self.value(depth + 1): self.value(depth + 1) for _ in range(count)}

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise CodecError(f"value nests deeper than {MAX_DEPTH}")
        tag = self.take(1)[0]
        simple = {78: None, 84: True, 70: False}
        if tag in simple:
            return simple[tag]
        if tag in _BY_TAG:
            items = self.items(depth)
            return items if tag == 108 else _BY_TAG[tag](items)
        read = _READERS.get(tag)
        if read is None:
            raise CodecError(f"malformed: tag {tag}")
        return read(self, depth)

    def handle(self) -> object:
        handle = Handle(self.number())
        if self.resolve is None:
            raise CodecError("malformed: a handle")
        return self.resolve(handle)


def _collection(kind: str, data: Any) -> Any:
    import collections

    return getattr(collections, kind)(data)


def _decimal(text: str) -> Any:
    from decimal import Decimal

    return Decimal(text)


def _fraction(text: str) -> Any:
    from fractions import Fraction

    # Only an exact ratio: "1e999999999" would be expanded into a number that fills the memory.
    if not all(character in "-/0123456789" for character in text):
        raise CodecError("malformed: fraction")
    return Fraction(text)


def _range(bounds: list[Any]) -> range:
    if any(type(bound) is not int for bound in bounds):
        raise CodecError("malformed: range")
    return range(*bounds)


_READERS: dict[int, Callable[[_Reader, int], Any]] = {
    ord("i"): lambda r, _: int.from_bytes(r.body(), "big", signed=True),
    ord("f"): lambda r, _: struct.unpack(">d", r.take(8))[0],
    ord("c"): lambda r, _: complex(*struct.unpack(">dd", r.take(16))),
    ord("s"): lambda r, _: r.body().decode("utf-8", "surrogatepass"),
    ord("b"): lambda r, _: r.body(),
    ord("d"): lambda r, depth: r.pairs(depth),
    ord("O"): lambda r, depth: _collection("OrderedDict", r.pairs(depth)),
    ord("C"): lambda r, depth: _collection("Counter", r.pairs(depth)),
    ord("q"): lambda r, depth: _collection("deque", r.items(depth)),
    ord("D"): lambda r, _: _decimal(r.body().decode("ascii")),
    ord("R"): lambda r, _: _fraction(r.body().decode("ascii")),
    ord("r"): lambda r, depth: _range([r.value(depth + 1) for _ in range(3)]),
    ord("y"): lambda r, _: _plain_type(r.body().decode("ascii")),
    ord("h"): lambda r, _: r.handle(),
}


def _plain_type(name: str) -> type:
    if name not in _PLAIN_TYPES:
        raise CodecError("malformed: type")
    return _PLAIN_TYPES[name]


def exception_named(names: list[str], message: str) -> Exception:
    """Return the built-in exception that stands for one raised elsewhere.

    Args:
        names: the class names along the foreign class's method resolution order, its own first.
        message: its text.
    """
    for name in names:
        kind = getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            try:
                return kind(message)
            except TypeError:  # UnicodeDecodeError and its like want more than a message
                continue
    return RuntimeError(message)


def write_frame(fd: int, body: bytes) -> None:
    """Write one length-prefixed message, all of it."""
    view = memoryview(len(body).to_bytes(4, "big") + body)
    while view:
        view = view[os.write(fd, view) :]


class FrameTooLong(Exception):
    """A message announced more bytes than the reader takes."""


def read_frame(fd: int, limit: int) -> bytes:
    """Read one message of at most `limit` bytes.

    Raises:
        EOFError: the other end is gone.
        FrameTooLong: it announces more than `limit` bytes; none of them is read.
    """
    length = int.from_bytes(_read_exactly(fd, 4), "big")
    if length > limit:
        raise FrameTooLong
    return _read_exactly(fd, length)


def _read_exactly(fd: int, count: int) -> bytes:
    parts: list[bytes] = []
    while count:
        part = os.read(fd, min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
