"""Tasks from YAML: multiple choice, generation, code, several steps, and suites of tasks.

Importing this loads neither pydantic nor Jinja: ``llmeval tasks ls`` needs only headers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmeval.tasks.native.headers import Header, read_header, scan

if TYPE_CHECKING:
    from llmeval.core import Task
    from llmeval.tasks.options import TaskOptions, Workbench

__all__ = ["Header", "Member", "Suite", "load_native", "read_header", "scan"]


@dataclass(frozen=True, slots=True)
class Member:
    """A task of a suite by name, and the options that the suite sets for it."""

    task: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Suite:
    """A list of tasks under one name."""

    name: str
    description: str
    members: tuple[Member, ...]


def load_native(path: Path, options: TaskOptions, workbench: Workbench) -> Task | Suite:
    """Build the task or suite of a YAML file.

    Raises:
        UsageError: the file is malformed, its data are missing, its templates do not fit the first
            row, or it executes code and no sandbox works here.
    """
    from llmeval.tasks.native.spec import SuiteSpec, parse_spec
    from llmeval.tasks.native.yaml_source import read_document

    spec = parse_spec(read_document(path))
    if isinstance(spec, SuiteSpec):
        return Suite(spec.task, spec.description, tuple(map(_member, spec.tasks)))
    from llmeval.tasks.native.build import build_task

    return build_task(spec, path, options, workbench)


def _member(spec: Any) -> Member:
    options = spec.model_dump(exclude_unset=True, exclude_none=True, exclude={"task"})
    return Member(spec.task, options)
