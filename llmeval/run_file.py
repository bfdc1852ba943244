"""A run file: the options of ``llmeval run`` in YAML."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from llmeval.core import UsageError
from llmeval.tasks.native.validation import validate
from llmeval.tasks.native.yaml_source import read_document

if TYPE_CHECKING:
    from llmeval.tasks.native.yaml_source import Document

_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())
_Count = Annotated[int, Field(ge=1)]


class RunFileOptions(BaseModel):
    """``options`` of a run file: the fields of :class:`llmeval.tasks.options.TaskOptions`."""

    model_config = _STRICT

    num_fewshot: Annotated[int, Field(ge=0)] | None = None
    limit: _Count | None = None
    apply_chat_template: bool = False
    system_instruction: str | None = None
    fewshot_as_multiturn: bool = True
    gen_kwargs: dict[str, Any] = Field(default_factory=dict)
    repeats: _Count | None = None
    seed: int = 1234
    cut_answers: str = "auto"


class RunFile(BaseModel):
    """The content of a run file. Every field is optional; the command line overrides it.

    ``model_settings`` are those of the model's kind (``docs/models.md``). Paths are relative to the
    working folder, as on the command line.
    """

    model_config = _STRICT

    model: str | None = None
    tasks: list[str] = Field(default_factory=list)
    model_settings: dict[str, Any] = Field(default_factory=dict)
    options: RunFileOptions = Field(default_factory=RunFileOptions)
    data: str | None = None
    out: str | None = None
    window: _Count | None = None
    max_errors: Annotated[float, Field(ge=0, le=1)] | None = None
    allow_unsafe_code: bool | None = None
    max_usd: Annotated[float, Field(gt=0)] | None = None
    max_requests: _Count | None = None
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    batch: bool | None = None
    batch_wait: bool | None = None
    track: list[str] = Field(default_factory=list)
    track_tables: bool | None = None

    def set_options(self) -> dict[str, Any]:
        """Return the options that the file sets."""
        return self.options.model_dump(exclude_unset=True)


def read_run_file(path: str | Path) -> RunFile:
    """Read and check a run file.

    Raises:
        UsageError: names the file, the line, the field and the mend.
    """
    document = read_document(Path(path), guide="docs/runs.md")
    _check_places(document)
    file: RunFile = validate(document, RunFile)
    _check_model_settings(document, file)
    _check_trackers(document, file)
    return file


def _check_places(document: Document) -> None:
    """Say where an option belongs that stands at the top, as on the command line."""
    from llmeval.models.kinds import all_setting_names

    homes = dict.fromkeys(all_setting_names(), "model_settings")
    homes |= dict.fromkeys(RunFileOptions.model_fields, "options")
    for name in document.data:
        if name in homes and name not in RunFile.model_fields:
            raise document.error("it belongs elsewhere", (name,), f"put it under {homes[name]}:")


def _check_model_settings(document: Document, file: RunFile) -> None:
    """Let an error about a setting name its line."""
    from llmeval.models import read_settings

    for name, value in file.model_settings.items():
        try:
            read_settings(file.model or "", {name: value})
        except UsageError as error:
            raise document.error(error.what, ("model_settings", name), error.mend) from error


def _check_trackers(document: Document, file: RunFile) -> None:
    """Let an error about a tracker name its line; the value may hold a secret."""
    from llmeval.tracking.targets import parse_target

    for number, target in enumerate(file.track):
        try:
            parse_target(target)
        except UsageError as error:
            raise document.error(error.what, ("track", number), error.mend) from error
