"""Reading data files: every format gives the rows that were written, or one clear line."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from llmeval.core.errors import UsageError
from llmeval.data.files import count_rows, read_table
from tests.data.conftest import Write

ROWS = [
    {"id": "a", "n": 1, "x": 0.5, "date": "2020-01-01", "choices": ["p", "q"], "meta": {"k": None}},
    {"id": "b", "n": 2, "x": 1.0, "date": "2021-12-31", "choices": [], "meta": {"k": "v"}},
]


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl", "t.ndjson", "t.json"])
def test_formats_give_back_the_rows(write: Write, name: str) -> None:
    assert read_table([write(name, ROWS)]).to_pylist() == ROWS


def test_columns_that_the_first_row_lacks_are_kept(write: Write) -> None:
    path = write("t.jsonl", [{"a": 1}, {"a": 2, "b": "x"}])
    assert read_table([path]).to_pylist() == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]


def test_csv_columns_are_numbers_only_where_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        'n,x,zip,date,text,gap\n1,0.5,007,2020-01-01,"a, ""b""\nc",3\n-2,2e3,12,2020-01-02,NA,\n',
        encoding="utf-8-sig",
    )
    assert read_table([path]).to_pylist() == [
        {"n": 1, "x": 0.5, "zip": "007", "date": "2020-01-01", "text": 'a, "b"\nc', "gap": 3},
        {"n": -2, "x": 2000.0, "zip": "12", "date": "2020-01-02", "text": "NA", "gap": None},
    ]


def test_shards_follow_each_other(write: Write) -> None:
    first = write("a.parquet", [{"n": 1}])
    second = write("b.parquet", [{"n": 2, "extra": "x"}])
    assert read_table([first, second]).column("n").to_pylist() == [1, 2]


def test_shards_that_do_not_fit_are_refused(write: Write) -> None:
    paths = [write("a.parquet", [{"n": 1}]), write("b.parquet", [{"n": ["x"]}])]
    with pytest.raises(UsageError, match="do not fit together"):
        read_table(paths)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.jsonl", b'{"a": 1}\n\n{"a": \n', r"t\.jsonl:3: not JSON"),
        ("t.jsonl", b'{"a": 1}\n[1]\n', r"t\.jsonl:2: a row must be an object, not list"),
        ("t.jsonl", b'{"a": 1}\n{"a": "x"}\n', "column 'a' mixes types"),
        ("t.jsonl", b'{"a": "\xff"}\n', r"t\.jsonl:1: not JSON"),
        ("t.json", b"[1, 2]", "entry 1: a row must be an object"),
        ("t.json", b"[{", "not JSON"),
        ("t.csv", b"a,b\n1,2\n3\n", r"t\.csv:3: 1 cells under a header of 2"),
        ("t.csv", b"a,a\n1,2\n", "two columns have the same name"),
        ("t.csv", b"a\n\xff\n", "not UTF-8"),
        ("t.parquet", b"PAR1 this is no parquet PAR1", "corrupt"),
        ("t.parquet", b"", "corrupt"),
        ("t.txt", b"hello", "cannot read a .txt as data"),
    ],
)
def test_a_bad_file_is_one_clear_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        read_table([path])
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_truncated_parquet_file_is_named(write: Write) -> None:
    path = write("t.parquet", [{"text": f"row {i}"} for i in range(2000)])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UsageError, match="corrupt"):
        read_table([path])
    assert count_rows(path) is None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("t.parquet", "t.jsonl"):
        with pytest.raises(UsageError, match="does not exist"):
            read_table([tmp_path / name])


def test_rows_are_counted_without_reading(write: Write) -> None:
    assert count_rows(write("t.parquet", ROWS)) == 2
    assert count_rows(write("t.jsonl", ROWS)) is None


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    for name in ("t.jsonl", "t.csv"):
        path = tmp_path / name
        path.write_bytes(b"")
        assert isinstance(read_table([path]), pa.Table)
        assert read_table([path]).num_rows == 0
