"""From rows to a table of pyarrow's, without pandas.

``pyarrow.Table.from_pylist`` looks whether a list may be one of pandas', and imports it for that:
half a second of every run, and its memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_BYTES = 2**31 - 1  # of a column of texts: pyarrow counts them with 32 bits


def to_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return a table of texts and numbers (float64), None where a row has no value.

    Args:
        rows: at least one; a name of the schema that a row lacks is None.
    """
    import pyarrow as pa

    columns = []
    for column in schema:
        values = [row.get(column.name) for row in rows]
        made = _doubles(values) if column.type == pa.float64() else _texts(values)
        if made is None:
            return pa.Table.from_pylist(rows, schema)  # in several pieces
        columns.append(made)
    return pa.table(columns, schema=schema)


def _doubles(values: Sequence[float | None]) -> pa.Array:
    import pyarrow as pa

    data = np.array([0.0 if value is None else value for value in values], dtype=np.float64)
    buffers = [_validity(values), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.float64(), len(values), buffers)


def _texts(values: Sequence[str | None]) -> pa.Array | None:
    """Return a column of texts; None where they are too many bytes for one piece."""
    import pyarrow as pa

    encoded = [b"" if value is None else value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    if ends[-1] > _MOST_BYTES:
        return None
    offsets = pa.py_buffer(ends.astype(np.int32))
    buffers = [_validity(values), offsets, pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def _validity(values: Sequence[Any]) -> pa.Buffer:
    """Return the bitmap of values that are there."""
    import pyarrow as pa

    there = np.array([value is not None for value in values], dtype=bool)
    return pa.py_buffer(np.packbits(there, bitorder="little"))
