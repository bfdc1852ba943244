"""What a folder of task files holds: names and kinds, without loading pydantic or Jinja."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llmeval.core import UsageError
from llmeval.tasks.native.yaml_source import read_document

MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Header:
    """One task file in short.

    Attributes:
        name: what a run names it by.
        type: ``choice``, ``generate``, ``code``, ``steps``, ``suite``; ``malformed`` where the file
            cannot be read, which its description then says.
        description: one line.
        path: the file.
    """

    name: str
    type: str
    description: str
    path: Path


def read_header(path: Path) -> Header:
    """Return the header of one task file.

    Raises:
        UsageError: the file is not readable YAML, or names no task.
    """
    document = read_document(path)
    data = document.data
    if not isinstance(data.get("task"), str):
        raise document.error("the field 'task' is missing", mend="name the task, `task: my_task`")
    about = data.get("description")
    line = about.strip().split("\n")[0] if isinstance(about, str) else ""
    return Header(data["task"], str(data.get("type", "?")), line, path)


def scan(folder: Path) -> list[Header]:
    """Return the headers of a folder's ``*.yaml`` and ``*.yml``, by file name.

    A malformed file is listed under its file's name: it must not hide the others, and loading it
    says what is wrong.
    """
    paths = [p for p in folder.iterdir() if p.suffix in (".yaml", ".yml") and p.is_file()]
    return [_header_of(path) for path in sorted(paths)]


def _header_of(path: Path) -> Header:
    try:
        return read_header(path)
    except UsageError as error:
        return Header(path.stem, MALFORMED, str(error), path)
