"""A data set's fingerprint: one digest a row, and one over the rows in their order.

A row's digest is of its canonical form, so the file format, compression, chunking, column order and
library versions do not matter; a changed character, number or type does. The rules:

- A row is a JSON object with sorted keys. Fields that are null are left out, at any depth: Arrow
  fills them in where other rows have them, JSON lines do not. A null in a list stays.
- Integers and floats differ (1 is not 1.0: they print differently in a prompt); NaN and the
  infinities are ``{"float": "nan"}`` and so on.
- Bytes are ``{"bytes": DIGEST}``. An image or audio field, ``{"bytes": ..., "path": ...}``, counts
  by its bytes alone; by its path only where it has no bytes.
- Dates and times are ISO 8601 to the microsecond; class labels are their integers; text is taken as
  it is, without Unicode normalisation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time
from typing import TYPE_CHECKING, Any, TypeAlias

from llmeval.core.hashes import canonical_json, digest

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

Rows: TypeAlias = "datasets.Dataset | pa.Table | Iterable[Mapping[str, Any]]"

BATCH = 1000  # rows decoded at once
SCHEME = b"llmeval rows 1\n"  # changes when a rule above does

_IMAGE = frozenset({"bytes", "path"})


@dataclass(frozen=True, slots=True)
class DataFingerprint:
    """Which rows a run used: id, config and split as asked for, and the digest of all rows."""

    id: str
    config: str | None
    split: str
    rows: int
    digest: str


def fingerprint(
    rows: Rows, *, id: str = "", config: str | None = None, split: str = ""
) -> DataFingerprint:
    """Return the fingerprint of rows in their order.

    Args:
        rows: a ``datasets.Dataset``, a ``pyarrow.Table``, or mappings from column to value.
        id, config, split: what the rows are; they name the fingerprint and are not in the digest.
    """
    digests = row_digests(rows)
    return DataFingerprint(id, config, split, len(digests), digest_of(digests))


def row_digests(rows: Rows) -> list[str]:
    """Return one digest a row (hexadecimal, 128 bits), in order."""
    return [digest(canonical_json(canonical_value(row))) for row in decoded_rows(rows)]


def digest_of(digests: Iterable[str]) -> str:
    """Return the digest of a sequence of row digests; order and repetition count."""
    return digest(SCHEME + "\n".join(digests).encode("ascii"))


def decoded_rows(rows: Rows) -> Iterator[Mapping[str, Any]]:
    """Yield rows as plain Python values; images and audio stay encoded."""
    if hasattr(rows, "with_format"):  # a datasets.Dataset; "arrow" decodes no media
        for table in rows.with_format("arrow").iter(batch_size=BATCH):
            yield from _table_rows(table)
    elif hasattr(rows, "to_batches"):
        yield from _table_rows(rows)
    else:
        yield from rows


def canonical_value(value: Any) -> Any:
    """Return a value in the canonical form described above, ready for canonical JSON."""
    if isinstance(value, str) or value is None or value is True or value is False:
        return value
    if isinstance(value, Mapping):
        if value.keys() == _IMAGE and value["bytes"] is not None:
            return canonical_value(value["bytes"])
        return {str(k): canonical_value(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [canonical_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"bytes": digest(bytes(value))}
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    return value


def _table_rows(table: pa.Table) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa

    for i, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit != "us":
            # Nanoseconds decode to a pandas type, or fail where pandas is missing.
            column = table.column(i).cast(pa.timestamp("us", field.type.tz), safe=False)
            table = table.set_column(i, field.name, column)
    for batch in table.to_batches(max_chunksize=BATCH):
        yield from batch.to_pylist()
