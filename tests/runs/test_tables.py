"""Tables are those that pyarrow itself makes of the same rows, and cost no import of pandas."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.runs import tables
from llmeval.runs.tables import to_table

SCHEMA = pa.schema([("name", pa.string()), ("value", pa.float64()), ("more", pa.string())])
TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs"]))
ROW = st.fixed_dictionaries(
    {"name": TEXT, "value": st.none() | st.integers(0, 9) | st.floats(allow_nan=False)},
    optional={"more": TEXT},
)


@given(st.lists(ROW, min_size=1, max_size=40))
def test_rows_become_the_table_that_pyarrow_makes(rows: list[dict[str, Any]]) -> None:
    table = to_table(rows, SCHEMA)
    table.validate(full=True)
    assert table.equals(pa.Table.from_pylist(rows, SCHEMA))


def test_texts_of_more_than_two_gigabytes_stand_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_MOST_BYTES", 5)
    rows = [{"name": "abc", "value": 1.0}, {"name": "def", "value": None}]
    assert to_table(rows, SCHEMA).to_pylist() == [{**row, "more": None} for row in rows]


def test_a_run_does_not_import_pandas() -> None:
    script = (
        "import sys, tempfile; from pathlib import Path; from llmeval.session import execute\n"
        "from tests.support.fake_run import make_spec\n"
        "with tempfile.TemporaryDirectory() as name: execute(make_spec(Path(name), n=10))\n"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
