"""One split's files as one Arrow table: parquet, JSON lines, JSON and CSV.

JSON and CSV are read here rather than by pyarrow, which turns strings that look like dates into
timestamps: a benchmark's text must come out as it was written.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmeval.core.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".parquet", ".jsonl", ".ndjson", ".json", ".csv")

_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")  # what int() gives back unchanged, within 64 bits
_FLOAT = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_LEADING_ZERO = re.compile(r"-?0\d")


def read_table(paths: Sequence[Path]) -> pa.Table:
    """Return the rows of all files, one after the other.

    Raises:
        UsageError: a file is missing, unreadable or malformed; it is named, with the line if known.
    """
    import pyarrow as pa

    tables = [_read_one(path) for path in paths]
    if len(tables) == 1:
        return tables[0]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise UsageError(
            f"its shards have columns that do not fit together: {first_line(error)}",
            where=str(paths[0].parent),
        ) from error


def count_rows(path: Path) -> int | None:
    """Return a parquet file's row count from its footer; None where only reading would tell."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix != ".parquet":
        return None
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        return None


def first_line(error: BaseException) -> str:
    """Return what another library's error says, cut to one line for ours."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _read_one(path: Path) -> pa.Table:
    if path.suffix not in SUFFIXES:
        raise UsageError(
            f"cannot read a {path.suffix or 'file without a suffix'} as data",
            where=str(path),
            mend=f"use {', '.join(SUFFIXES)}",
        )
    try:
        if path.suffix == ".parquet":
            return _read_parquet(path)
        if path.suffix == ".csv":
            return _table(_csv_columns(path), path)
        return _table(_columns(_json_rows(path)), path)
    except FileNotFoundError as error:
        raise UsageError("the file does not exist", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"not UTF-8 at byte {error.start}", where=str(path), mend="save it as UTF-8"
        ) from error
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise UsageError(f"cannot be read: {reason}", where=str(path)) from error


def _read_parquet(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        # partitioning=None: a folder called "name=x" must not become a column.
        return pq.read_table(path, memory_map=True, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise UsageError(
            f"the parquet file is corrupt: {first_line(error)}",
            where=str(path),
            mend="replace it, or fetch it again with `llmeval data add`",
        ) from error


def _json_rows(path: Path) -> list[dict[str, Any]]:
    import orjson

    text = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    if path.suffix == ".json" and text.lstrip()[:1] == b"[":
        try:
            rows = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise UsageError(f"not JSON: {error}", where=str(path)) from error
        return _objects(enumerate(rows, 1), path, "entry ")
    return _objects(_json_lines(text, path), path, "")


def _json_lines(text: bytes, path: Path) -> Iterable[tuple[int, Any]]:
    import orjson

    for number, line in enumerate(text.split(b"\n"), 1):
        if line.strip():
            try:
                yield number, orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise UsageError(
                    f"not JSON: {error}",
                    where=f"{path}:{number}",
                    mend="write one JSON object a line",
                ) from error


def _objects(rows: Iterable[tuple[int, Any]], path: Path, unit: str) -> list[dict[str, Any]]:
    found = []
    for number, row in rows:
        if not isinstance(row, dict):
            kind = type(row).__name__
            raise UsageError(f"a row must be an object, not {kind}", where=f"{path}:{unit}{number}")
        found.append(row)
    return found


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _csv_columns(path: Path) -> dict[str, list[Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
            rows = []
            for row in reader:
                if row and len(row) != len(header):
                    raise UsageError(
                        f"{len(row)} cells under a header of {len(header)}",
                        where=f"{path}:{reader.line_num}",
                    )
                if row:
                    rows.append(row)
        except csv.Error as error:
            raise UsageError(f"not CSV: {error}", where=f"{path}:{reader.line_num}") from error
    if len(set(header)) < len(header):
        raise UsageError("two columns have the same name", where=f"{path}:1")
    return {name: _typed([row[i] for row in rows]) for i, name in enumerate(header)}


def _typed(cells: list[str]) -> list[Any]:
    """Return integers or floats where every cell is one, else the strings as they are.

    A cell such as 007 keeps its column a column of strings. Empty cells are null in a column of
    numbers and empty strings in a column of strings.
    """
    given = [cell for cell in cells if cell]
    if not given:
        return list(cells)
    if all(_INTEGER.fullmatch(cell) for cell in given):
        return [int(cell) if cell else None for cell in cells]
    if all(_FLOAT.fullmatch(cell) and not _LEADING_ZERO.match(cell) for cell in given):
        return [float(cell) if cell else None for cell in cells]
    return list(cells)


def _table(columns: dict[str, list[Any]], path: Path) -> pa.Table:
    import pyarrow as pa

    arrays = {}
    for name, values in columns.items():
        try:
            arrays[name] = pa.array(values)
        except (pa.ArrowException, OverflowError) as error:
            raise UsageError(
                f"column {name!r} mixes types: {first_line(error)}",
                where=str(path),
                mend="give every row the same type there",
            ) from error
    return pa.table(arrays)
