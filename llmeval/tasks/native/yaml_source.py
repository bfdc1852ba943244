"""A YAML file with the line of every field, so that an error can name file and line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from llmeval.core import UsageError

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_NODES = 20_000  # after aliases are followed: a small file can stand for billions
TASKS_GUIDE = "docs/tasks.md"

Place = tuple[str | int, ...]
"""Where a field is: ``("scorers", 0, "pattern")``."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file as data.

    Attributes:
        path: the file, as it was named.
        data: the top-level mapping.
        lines: line of every field, counted from 1; the empty place is the document.
        guide: where its fields are explained.
    """

    path: Path
    data: dict[str, Any]
    lines: dict[Place, int]
    guide: str = TASKS_GUIDE

    def line_of(self, place: Place) -> int:
        """Return the line of a field, or of the nearest one around it that is written."""
        while place not in self.lines:
            place = place[:-1]
        return self.lines[place]

    def error(self, what: str, place: Place = (), mend: str | None = None) -> UsageError:
        """Return the error about a field, ready to be raised."""
        named = f"field {name_place(place)!r}: {what}" if place else what
        return UsageError(named, where=f"{self.path}:{self.line_of(place)}", mend=mend)


def name_place(place: Place) -> str:
    """Return ``scorers[0].pattern`` for a place."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def read_document(path: Path, guide: str = TASKS_GUIDE) -> Document:
    """Read a YAML file whose top level is a mapping with text keys.

    Args:
        guide: where its fields are explained.

    Raises:
        UsageError: with file and line, for anything that is not such a file.
    """
    text = _read_text(path)
    try:
        _check_size(text, path)
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, path) from error
    except yaml.YAMLError as error:
        raise UsageError(f"not YAML: {_one_line(error)}", where=str(path)) from error
    if node is None:
        raise UsageError("the file is empty", where=str(path), mend=f"see {guide}")
    if not isinstance(node, yaml.MappingNode):
        kind = "a list" if isinstance(node, yaml.SequenceNode) else "a bare text"
        mend = f"it ought to be a mapping, `FIELD: VALUE`; see {guide}"
        raise _error(path, node, f"{kind} stands at the top", mend)
    builder = _Builder(path)
    data = builder.build(node, ())
    return Document(path, data, builder.lines, guide)


def _read_text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError("no such file", where=str(path)) from error
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if len(raw) > MAX_BYTES:
        raise UsageError(
            f"{len(raw)} bytes are too many for a YAML file of fields",
            where=str(path),
            mend="rows belong into a data file of their own",
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UsageError("not UTF-8", where=f"{path}:{line}", mend="save it as UTF-8") from error


def _check_size(text: str, path: Path) -> None:
    """Refuse deep nesting before the composer, which recurses, meets it."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _error(path, event, f"nested deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _syntax_error(error: yaml.MarkedYAMLError, text: str, path: Path) -> UsageError:
    mark = error.problem_mark or error.context_mark
    where = f"{path}:{mark.line + 1}" if mark else str(path)
    what = f"not YAML: {error.problem or error.context}"
    mend = None
    lines = text.splitlines()
    if mark and mark.line < len(lines) and "\t" in lines[mark.line]:
        mend = "indent with spaces, not tabs"
    elif "mapping values are not allowed" in what:
        mend = "quote a text that contains ': ', and check the indentation"
    return UsageError(what, where=where, mend=mend)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _error(path: Path, node: Any, what: str, mend: str | None = None) -> UsageError:
    return UsageError(what, where=f"{path}:{node.start_mark.line + 1}", mend=mend)


@dataclass(slots=True)
class _Builder:
    """Turns nodes into data; counts them, for an alias stands for all that it names."""

    path: Path
    lines: dict[Place, int] = field(default_factory=dict)
    scalars: Any = field(default_factory=yaml.constructor.SafeConstructor)

    def build(self, node: yaml.Node, place: Place) -> Any:
        self.lines.setdefault(place, node.start_mark.line + 1)
        if len(self.lines) > MAX_NODES or len(place) > MAX_DEPTH:
            raise _error(
                self.path, node, "its aliases make it endless or huge", "write the values out"
            )
        if isinstance(node, yaml.MappingNode):
            return {
                key: self.build(value, (*place, key)) for key, value in self._items(node, place)
            }
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*place, i)) for i, item in enumerate(node.value)]
        return self._scalar(node)

    def _items(self, node: yaml.MappingNode, place: Place) -> Iterator[tuple[str, yaml.Node]]:
        first: dict[str, int] = {}
        for key_node, value in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == f"{_TAG}merge":
                raise _error(self.path, key_node, "'<<' is not read here", "write the fields out")
            if not isinstance(key_node, yaml.ScalarNode):
                raise _error(self.path, key_node, "a field's name must be plain text")
            name = str(key_node.value)
            if name in first:
                raise _error(
                    self.path,
                    key_node,
                    f"field {name_place((*place, name))!r} stands here and in line {first[name]}",
                    "keep one of them",
                )
            first[name] = self.lines[(*place, name)] = line
            yield name, value

    def _scalar(self, node: yaml.Node) -> Any:
        kind = node.tag.removeprefix(_TAG)
        text = str(node.value)
        if kind in ("str", "timestamp"):  # a date is text to a benchmark
            return text
        construct = {
            "int": self.scalars.construct_yaml_int,
            "float": self.scalars.construct_yaml_float,
            "bool": self.scalars.construct_yaml_bool,
            "null": self.scalars.construct_yaml_null,
        }.get(kind)
        if construct is None:
            raise _error(
                self.path, node, f"the tag {node.tag} is not read here", "write a plain value"
            )
        try:
            return construct(node)
        except (ValueError, OverflowError) as error:
            raise _error(self.path, node, f"{text!r} is no {kind}: {error}") from error
