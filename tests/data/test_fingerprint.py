"""Fingerprints: the same rows have one, whatever holds them; any other row has another."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import math
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmeval.data import DataFingerprint, load_dataset
from llmeval.data.files import read_table
from llmeval.data.fingerprint import fingerprint, row_digests
from tests.data.conftest import Write
from tests.support.shared import shared_dir

ROWS: list[dict[str, Any]] = [
    {"q": "2 + 2 = ?", "choices": ["3", "4"], "answer": 1, "meta": {"src": "a", "year": None}},
    {"q": "Größe? \U0001f600", "choices": [], "answer": None, "meta": {"src": "b", "year": 1999}},
    {"q": "", "choices": ["x", None], "answer": 0, "meta": None},
]


def digest(rows: Any) -> str:
    return fingerprint(rows).digest


def test_the_digest_by_hand() -> None:
    row = b'{"a":1,"b":"\xc3\xa9"}'
    row_digest = hashlib.blake2b(row, digest_size=16).hexdigest()
    assert row_digests([{"b": "é", "a": 1, "none": None}]) == [row_digest]
    whole = hashlib.blake2b(b"llmeval rows 1\n" + row_digest.encode(), digest_size=16)
    assert digest([{"b": "é", "a": 1}]) == whole.hexdigest()


def test_file_format_and_chunking_do_not_matter(write: Write, tmp_path: Path) -> None:
    expected = digest(ROWS)
    for name in ("t.parquet", "t.jsonl", "t.json"):
        assert digest(read_table([write(name, ROWS)])) == expected
    chunked = write("chunked.parquet", ROWS, row_group_size=1, compression="gzip")
    assert digest(read_table([chunked])) == expected
    shards = [write(f"s{i}.jsonl", [row]) for i, row in enumerate(ROWS)]
    assert digest(read_table(shards)) == expected
    assert digest(datasets.Dataset.from_list(ROWS)) == expected


def test_large_strings_and_dictionary_columns_are_plain_text() -> None:
    plain = pa.table({"s": ["a", "b", "a"]})
    for kind in (pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        assert digest(plain.cast(pa.schema([("s", kind)]))) == digest(plain)


def test_a_selection_is_fingerprinted_as_the_rows_it_shows() -> None:
    whole = datasets.Dataset.from_list(ROWS)
    assert digest(whole.select([2, 0])) == digest([ROWS[2], ROWS[0]])
    assert digest(whole.with_format("numpy")) == digest(ROWS)


def test_class_labels_are_their_integers() -> None:
    features = datasets.Features({"label": datasets.ClassLabel(names=["no", "yes"])})
    assert digest(datasets.Dataset.from_dict({"label": [1, 0]}, features)) == digest(
        [{"label": 1}, {"label": 0}]
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
rows = st.dictionaries(st.text(min_size=1, max_size=4), values, min_size=1, max_size=4)


@settings(max_examples=50, deadline=None)
@given(rows)
def test_column_order_does_not_matter(row: dict[str, Any]) -> None:
    assert row_digests([dict(reversed(row.items()))]) == row_digests([row])


@settings(max_examples=40, deadline=None)
@given(st.lists(rows, min_size=2, max_size=4), st.data())
def test_every_difference_shows(table: list[dict[str, Any]], data: st.DataObject) -> None:
    i = data.draw(st.integers(0, len(table) - 1))
    key = data.draw(st.sampled_from(sorted(table[i])))
    changed = [dict(row) for row in table]
    changed[i][key] = "a value of its own"
    assert digest(changed) != digest(table)
    assert digest(table[1:]) != digest(table)
    assert digest([*table, table[0]]) != digest(table)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, "1"),
        (1, True),
        (0.0, -0.0),
        (math.nan, None),
        (math.nan, math.inf),
        ("é", "e\u0301"),
        (["a", None], ["a"]),
        ([], None),
        (b"a", "a"),
        ("a", "a "),
    ],
)
def test_values_that_look_alike_differ(one: Any, other: Any) -> None:
    assert digest([{"v": one}]) != digest([{"v": other}])


def test_the_order_of_rows_counts() -> None:
    assert digest(ROWS) != digest(ROWS[::-1])
    assert sorted(row_digests(ROWS)) == sorted(row_digests(ROWS[::-1]))


def test_times_are_iso_text_in_any_unit() -> None:
    moment = dt.datetime(2024, 2, 29, 12, 30, 15, 250000)
    text = digest([{"t": "2024-02-29T12:30:15.250000"}])
    for unit in ("ms", "us", "ns"):
        assert digest(pa.table({"t": pa.array([moment], pa.timestamp(unit))})) == text
    assert digest([{"t": moment}]) == text
    assert digest(pa.table({"t": [dt.date(2024, 2, 29)]})) == digest([{"t": "2024-02-29"}])


# The smallest PNG there is: one pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_images_count_by_their_bytes_and_need_no_decoder() -> None:
    def with_path(path: str | None) -> datasets.Dataset:
        table = pa.table({"image": [{"bytes": PIXEL, "path": path}]})
        return datasets.Dataset(table).cast_column("image", datasets.Image())

    assert digest(with_path("a.png")) == digest(with_path(None)) == digest([{"image": PIXEL}])
    assert digest([{"image": {"bytes": None, "path": "a"}}]) != digest(
        [{"image": {"bytes": None, "path": "b"}}]
    )


def test_no_rows_have_a_fingerprint() -> None:
    assert fingerprint([]).rows == 0
    assert digest([]) == digest(pa.table({"a": pa.array([], pa.string())}))


def test_a_fingerprint_names_what_was_read() -> None:
    made = fingerprint(ROWS, id="org/set", config="main", split="test")
    assert made == DataFingerprint("org/set", "main", "test", 3, digest(ROWS))


def test_a_real_benchmark_has_one_fingerprint_in_three_forms(tmp_path: Path) -> None:
    mirror = shared_dir("data", "hub")
    split = load_dataset("google/IFEval", mirror=mirror)["train"]  # nested, many nulls
    expected = digest(split)
    split.to_json(tmp_path / "t.jsonl")
    assert digest(read_table([tmp_path / "t.jsonl"])) == expected
    pq.write_table(split.data.table, tmp_path / "t.parquet", row_group_size=100)
    assert digest(read_table([tmp_path / "t.parquet"])) == expected
