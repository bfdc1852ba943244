"""Files that a verb writes for a user to edit: nothing that is there is overwritten."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llmeval.core.errors import StorageError, UsageError


def write_new_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write texts by path below a folder, and print the paths.

    Raises:
        UsageError: one of them is there already.
        StorageError: the disk refuses.
    """
    taken = [name for name in files if (folder / name).exists()]
    if taken:
        mend = "move it away, or choose another folder"
        raise UsageError(f"there is a {taken[0]} already", where=str(folder), mend=mend)
    try:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write: {error.strerror}", where=str(folder)) from error
    for name in files:
        print(folder / name)
