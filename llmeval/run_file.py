"""A run file: the options of ``llmeval run`` in YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from llmeval.tasks.native.validation import validate
from llmeval.tasks.native.yaml_source import read_document


class RunFile(BaseModel):
    """The content of a run file. Every field is optional; the command line overrides it.

    ``model_settings`` are the fields of ModelSettings, ``options`` those of TaskOptions.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())

    model: str | None = None
    tasks: list[str] = Field(default_factory=list)
    model_settings: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    data: str | None = None
    out: str | None = None
    window: int | None = None
    max_errors: float | None = None
    allow_unsafe_code: bool | None = None


def read_run_file(path: Path) -> RunFile:
    """Read and check a run file.

    Raises:
        UsageError: names the file, the line, the field and the mend.
    """
    file: RunFile = validate(read_document(path), RunFile)
    return file
