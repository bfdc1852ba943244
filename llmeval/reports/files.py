"""Writing a report's file: whole or not at all, and a refusal of the disk ends in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from llmeval.core import StorageError, UsageError


def write_report(path: str | Path, pieces: str | Iterable[str]) -> Path:
    """Write text atomically and return its path; what UTF-8 cannot hold becomes ``?``.

    Raises:
        UsageError: the path is ``-``: a file of that name is what nobody means.
        StorageError: the disk refuses.
    """
    path = Path(path)
    if str(path) == "-":
        mend = "name a file; text, --json and --markdown go to standard output"
        raise UsageError("a report is written to a file", where="-", mend=mend)
    partial = path.with_name(path.name + ".partial")
    try:
        _write(path, partial, [pieces] if isinstance(pieces, str) else pieces)
    except OSError as error:
        raise StorageError(
            f"the report cannot be written: {error.strerror or error}",
            where=str(path),
            mend="name another file, or make room",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return path


def _write(path: Path, partial: Path, pieces: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        for piece in pieces:
            file.write(piece)
    partial.replace(path)
