"""Canonical JSON names content: equal values have one form, different values have two."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.core import canonical_json, digest, fingerprint

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"))
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@given(json_values)
def test_it_is_json_that_means_the_value(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), scalars))
def test_the_order_of_keys_does_not_matter(value: dict[str, Any]) -> None:
    backwards = dict(reversed(list(value.items())))
    assert canonical_json(backwards) == canonical_json(value)


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=10))
def test_different_values_have_different_forms(value: Any) -> None:
    """Also beyond what orjson takes: big integers and lone surrogates."""
    for other in ([value], str(value) + "x", {"x": value}):
        assert canonical_json(other) != canonical_json(value)


@given(st.text())
def test_any_text_has_a_form_of_its_own(text: str) -> None:
    """Lone surrogates too: ``surrogatepass`` keeps them apart from each other and from ``?``."""
    form = canonical_json([text])
    assert json.loads(form.decode("utf-8", "surrogatepass")) == [text]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": 1, "a": [True, None]}, b'{"a":[true,null],"b":1}'),
        ("Größe", '"Größe"'.encode()),
        ("\ud800", b'"\xed\xa0\x80"'),
        (2**64, b"18446744073709551616"),
        (-(2**200), str(-(2**200)).encode()),
        (b"\x00\xff", b'{"base64":"AP8="}'),
        ({2, 1}, b"[1,2]"),
        (np.float64(0.5), b"0.5"),
        (np.array([[1, 2], [3, 4]]), b"[[1,2],[3,4]]"),
        (np.int64(7), b"7"),
        (float("nan"), b"null"),
        (float("inf"), b"null"),
        ((1, 2), b"[1,2]"),
        ({1: "x"}, b'{"1":"x"}'),
        (complex(1, 2), b'"(1+2j)"'),
    ],
)
def test_it_has_a_form_for(value: Any, expected: bytes) -> None:
    assert canonical_json(value) == expected


def test_sets_do_not_depend_on_the_hash_seed() -> None:
    words = {f"word {i}" for i in range(50)}
    assert canonical_json(words) == canonical_json(sorted(words))


def test_very_deep_values_are_taken() -> None:
    """orjson stops at 254 levels."""
    value: Any = 0
    for _ in range(400):
        value = [value]
    assert canonical_json(value) == b"[" * 400 + b"0" + b"]" * 400


def test_digest_is_blake2b() -> None:
    assert digest(b"abc") == hashlib.blake2b(b"abc", digest_size=16).hexdigest()
    assert digest(b"abc", 8) == hashlib.blake2b(b"abc", digest_size=8).hexdigest()
    form = json.dumps({"a": 1}, separators=(",", ":")).encode()
    assert fingerprint({"a": 1}) == hashlib.blake2b(form, digest_size=16).hexdigest()
