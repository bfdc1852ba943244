"""The wire format: every plain value survives exactly, nothing else gets through."""

from __future__ import annotations

import collections
import contextlib
import enum
import math
import os
import struct
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.sandbox.guest import codec

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(1 << 4000), max_value=1 << 4000)
    | st.floats()
    | st.complex_numbers()
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
    | st.decimals()
    | st.fractions()
    | st.builds(range, st.integers(), st.integers(), st.integers(min_value=1))
    | st.sampled_from([int, str, float, list, dict, type(None)])
)
hashable = st.recursive(
    scalars, lambda inner: st.lists(inner).map(tuple) | st.frozensets(st.integers()), max_leaves=10
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.sets(st.integers() | st.text())
        | st.frozensets(st.text())
        | st.dictionaries(st.integers() | st.text(), inner)
        | st.dictionaries(st.text(), inner).map(collections.OrderedDict)
        | st.dictionaries(st.text(), st.integers()).map(collections.Counter)
        | st.lists(inner).map(collections.deque)
    ),
    max_leaves=30,
)


def same(left: Any, right: Any) -> bool:
    """Whether two values are alike in type, order and bits, NaN included."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return struct.pack(">d", left) == struct.pack(">d", right) or (left != left != right)
    if isinstance(left, complex):
        return same(left.real, right.real) and same(left.imag, right.imag)
    if isinstance(left, Decimal):
        return str(left) == str(right)
    if isinstance(left, (list, tuple, collections.deque)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left), list(right)) and same(list(left.values()), list(right.values()))
    return bool(left == right)


@given(values | hashable)
def test_plain_values_survive_exactly(value: Any) -> None:
    assert same(codec.decode(codec.encode(value)), value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_codec_error(data: bytes) -> None:
    with contextlib.suppress(codec.CodecError):
        codec.decode(data)


@given(values, st.data())
def test_damaged_encodings_are_a_value_or_a_codec_error(value: Any, data: st.DataObject) -> None:
    encoded = bytearray(codec.encode(value))
    index = data.draw(st.integers(0, len(encoded) - 1))
    encoded[index] = data.draw(st.integers(0, 255))
    for damaged in (bytes(encoded), bytes(encoded[:index])):
        with contextlib.suppress(codec.CodecError):
            codec.decode(damaged)


def test_forged_count_allocates_nothing() -> None:
    with pytest.raises(codec.CodecError):
        codec.decode(b"l\xff\xff\xff\xff" + b"N" * 10)


def test_forged_fraction_is_not_expanded() -> None:
    text = b"1e999999999"
    with pytest.raises(codec.CodecError):
        codec.decode(b"R" + len(text).to_bytes(4, "big") + text)


class Equal(int):
    """Overrides equality."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class Colour(enum.IntEnum):
    """Keeps its base's equality."""

    RED = 3


Point = collections.namedtuple("Point", "x y")


def test_subclass_with_its_base_equality_travels_as_the_base() -> None:
    for value, plain in ((Point(1, 2), (1, 2)), (Colour.RED, 3)):
        assert same(codec.decode(codec.encode(value)), plain)
    default = collections.defaultdict(int, a=1)
    assert same(codec.decode(codec.encode(default)), {"a": 1})


def test_objects_that_are_not_plain_need_a_handle() -> None:
    for value in (Equal(4), [Equal(4)], object(), lambda: 0, math, codec.Handle):
        with pytest.raises(codec.CodecError, match="not plain data"):
            codec.encode(value)
    encoded = codec.encode([Equal(4)], lambda _: codec.Handle(7))
    assert codec.decode(encoded, lambda handle: handle.number) == [7]
    with pytest.raises(codec.CodecError):
        codec.decode(encoded)


def test_cycles_and_depth_are_refused() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(codec.CodecError, match="nests"):
        codec.encode(cycle)
    with pytest.raises(codec.CodecError, match="nests"):
        codec.decode(b"l\0\0\0\1" * 100_000 + b"N")


def test_impostor_of_a_library_class_is_no_counter() -> None:
    impostor = type("Counter", (collections.Counter,), {"__module__": "collections"})
    with pytest.raises(codec.CodecError):
        codec.encode(impostor(a=1))


def test_frames_round_trip_and_are_limited() -> None:
    reader, writer = os.pipe()
    codec.write_frame(writer, b"hello")
    assert codec.read_frame(reader, 5) == b"hello"
    codec.write_frame(writer, b"hello")
    with pytest.raises(codec.FrameTooLong):
        codec.read_frame(reader, 4)
    os.close(writer)
    with pytest.raises(EOFError):
        os.read(reader, 5)
        codec.read_frame(reader, 5)
    os.close(reader)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["ValueError", "Exception"], ValueError),
        (["MyError", "KeyError", "LookupError"], KeyError),
        (["UnicodeDecodeError", "UnicodeError", "ValueError"], UnicodeError),
        (["SystemExit", "BaseException"], RuntimeError),
        (["print", "eval"], RuntimeError),
    ],
)
def test_exception_is_the_first_builtin_one(names: list[str], expected: type) -> None:
    assert type(codec.exception_named(names, "text")) is expected


def test_fractions_survive() -> None:
    assert codec.decode(codec.encode(Fraction(-1, 3))) == Fraction(-1, 3)
