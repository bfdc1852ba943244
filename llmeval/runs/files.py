"""Writing a record's files whole or not at all, and telling a full disk from a fault."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmeval.core import StorageError

WORKSPACE_FOLDER = ".llmeval"


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into one line with its mend."""
    try:
        yield
    except OSError as error:
        # Journal and locks lie in the workspace, which no option moves.
        kept, place, option = "the record", "folder", "--out"
        if WORKSPACE_FOLDER in path.parts:
            kept, place = "the workspace", "workspace"
            option = "LLMEVAL_HOME=DIR"
        elsewhere = f"choose another with {option}"
        mends = {
            errno.ENOSPC: "free some disk space and give the same command again; answers are kept",
            errno.EDQUOT: "free some of your quota and give the same command again",
            errno.EROFS: f"choose a writable {place} with {option}",
            errno.EACCES: f"make the folder writable or {elsewhere}",
            errno.EPERM: f"make the folder writable or {elsewhere}",
            errno.ENOTDIR: f"a file stands where a folder is needed; {elsewhere}",
            errno.EEXIST: f"a file stands where a folder is needed; {elsewhere}",
        }
        what = f"{kept} cannot be written: {error.strerror or error}"
        raise StorageError(what, where=str(path), mend=mends.get(error.errno or 0)) from error


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write strict JSON atomically: a reader sees the old file or the new one."""
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False, default=str)
    partial = path.with_name(path.name + ".partial")
    with storage_errors(path):
        try:
            with partial.open("w", encoding="utf-8", errors="replace") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null rather than invalid JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
