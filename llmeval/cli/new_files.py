"""Files that a verb writes for its user.

Those that are to be edited overwrite nothing that is there; reports replace their last version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from llmeval.cli.streams import one_line, say
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


def write_and_tell(path: str | Path, pieces: str | Iterable[str]) -> Path:
    """Write a report's file, say so on stderr with its size, and return its path.

    Raises:
        UsageError: the path is ``-``.
        StorageError: the disk refuses.
    """
    from llmeval.reports.files import write_report
    from llmeval.reports.formats import format_bytes

    written = write_report(path, pieces)
    say(one_line(f"llmeval: wrote {written} ({format_bytes(written.stat().st_size)})"))
    return written
