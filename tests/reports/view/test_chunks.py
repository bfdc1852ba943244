"""Data inside a page come back as they were, and end no script element."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.reports.view.chunks import dump, embed_json, pack, pack_in_chunks
from tests.support import hostile

text = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text,
    lambda inner: st.lists(inner) | st.dictionaries(text, inner),
    max_leaves=10,
)


def unpack(packed: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(packed)))


@given(values)
def test_embedded_json_holds_no_letter_of_markup(value: Any) -> None:
    embedded = embed_json(value)
    assert not re.search("[<>&\u2028\u2029]", embedded)
    assert json.loads(embedded) == value


@pytest.mark.parametrize("given", hostile.TEXTS)
def test_a_hostile_text_can_be_embedded(given: str) -> None:
    embedded = embed_json({given: given})
    assert "<" not in embedded
    assert list(json.loads(embedded)) == [given.encode("utf-8", "replace").decode()]


@given(st.lists(values, max_size=30))
def test_chunks_hold_every_row_once_in_order(rows: list[Any]) -> None:
    chunks = list(pack_in_chunks(rows))
    assert [row for _, packed in chunks for row in unpack(packed)] == rows
    assert [count for count, _ in chunks] == [len(unpack(packed)) for _, packed in chunks]


def test_chunks_are_bounded_and_one_large_row_has_its_own() -> None:
    sizes = [count for count, _ in pack_in_chunks(["x"] * 1200 + ["y" * 10**6, "z" * 10**6])]
    assert sizes == [500, 500, 200, 1, 1]


def test_no_rows_make_no_chunk() -> None:
    assert list(pack_in_chunks([])) == []


def test_the_same_data_make_the_same_page() -> None:
    assert pack(b"data") == pack(b"data")
    assert dump({"a": 1}) == b'{"a":1}'
