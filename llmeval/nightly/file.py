"""A nightly file: what ``llmeval regress`` asks of whom every night, and how strict it is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from llmeval.core import UsageError
from llmeval.reports.regress.baseline import Pin
from llmeval.reports.regress.settings import GateSettings, Inconclusive, Unscored
from llmeval.run_file import RunFileOptions
from llmeval.tasks.native.validation import Misfit, validate
from llmeval.tasks.native.yaml_source import Document, read_document

_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())
_Count = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Tolerance = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Range = Annotated[list[_Number], Field(min_length=2, max_length=2)]


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}", name):
        mend = "use letters, digits, '.', '_' and '-', a letter or digit first, 60 at most"
        raise Misfit(f"not a name that a folder can have: {name[:80]!r}", mend)
    return name


def _check_digest(digest: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}", digest):
        mend = "--set-baseline writes it"
        raise Misfit(f"no digest of 32 hexadecimal characters: {digest[:80]!r}", mend)
    return digest


_Name = Annotated[str, AfterValidator(_check_name)]
_Digest = Annotated[str, AfterValidator(_check_digest)]


class PinnedBaseline(BaseModel):
    """``baseline`` with the digest that ``--set-baseline`` writes."""

    model_config = _STRICT

    path: str
    digest: _Digest | None = None
    repeats: list[str] = Field(default_factory=list)


class NightlyModel(BaseModel):
    """One of several models."""

    model_config = _STRICT

    model: str
    name: str | None = None
    model_settings: dict[str, Any] = Field(default_factory=dict)
    baseline: str | PinnedBaseline | None = None

    @property
    def label(self) -> str:
        return self.name or self.model

    @property
    def pin(self) -> Pin | None:
        if isinstance(self.baseline, PinnedBaseline):
            return Pin(self.baseline.path, self.baseline.digest, tuple(self.baseline.repeats))
        return None if self.baseline is None else Pin(self.baseline)


class Sentinel(BaseModel):
    """Items that are asked again on the same night.

    Attributes:
        items: of each task, always the same ones.
        repeats: how often they are asked again.
    """

    model_config = _STRICT

    items: _Count = 50
    repeats: Annotated[int, Field(ge=1, le=20)] = 3


class NightlyFile(BaseModel):
    """The content of a nightly file. Paths are relative to the working folder.

    Either ``model`` with its ``model_settings`` and ``baseline``, or several under ``models``.
    """

    model_config = _STRICT

    name: _Name | None = None
    model: str | None = None
    model_settings: dict[str, Any] = Field(default_factory=dict)
    baseline: str | PinnedBaseline | None = None
    models: list[NightlyModel] = Field(default_factory=list)
    tasks: Annotated[list[str], Field(min_length=1)]
    options: RunFileOptions = Field(default_factory=RunFileOptions)
    data: str | None = None
    window: _Count | None = None
    allow_unsafe_code: bool = False
    max_usd: Annotated[float, Field(gt=0)] | None = None
    max_requests: _Count | None = None
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    tolerance: _Tolerance = 0.02
    tolerances: dict[str, _Tolerance | dict[str, _Tolerance]] = Field(default_factory=dict)
    ranges: dict[str, _Range] = Field(default_factory=dict)
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    power: Annotated[float, Field(ge=0.5, lt=1)] = 0.8
    inconclusive: Inconclusive = "fail"
    unscored: Unscored = "invalid"
    max_errors: _Share = 0.05
    max_coverage_drop: _Share = 0.01
    sentinel: Sentinel | None = None
    keep_nights: _Count | None = None

    @model_validator(mode="after")
    def _names_models(self) -> Self:
        if self.model is None and not self.models:
            raise Misfit("no model is named", "model: NAME, or several under models:")
        if self.models and (self.model or self.model_settings or self.baseline):
            mend = "put model, model_settings and baseline into an entry of models:"
            raise Misfit("models: stands beside a single model", mend)
        labels = [entry.label for entry in self.all_models]
        twice = next((label for label in labels if labels.count(label) > 1), None)
        if twice is not None:
            raise Misfit(f"two models are called {twice!r}", "give each a name:")
        return self

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> Self:
        for metric, (low, high) in self.ranges.items():
            if not low < high:
                raise Misfit(
                    f"the range of {metric} is empty", "ranges: {METRIC: [LEAST, GREATEST]}"
                )
        return self

    @property
    def all_models(self) -> Sequence[NightlyModel]:
        """The models, a single one too."""
        if self.model is None:
            return self.models
        return [
            NightlyModel(
                model=self.model, model_settings=self.model_settings, baseline=self.baseline
            )
        ]

    def gate(self) -> GateSettings:
        """Return how strict the gate is."""
        return GateSettings(
            tolerance=self.tolerance,
            tolerances=self.tolerances,
            ranges={name: (low, high) for name, (low, high) in self.ranges.items()},
            alpha=self.alpha,
            power=self.power,
            inconclusive=self.inconclusive,
            unscored=self.unscored,
            max_errors=self.max_errors,
            max_coverage_drop=self.max_coverage_drop,
        )


@dataclass(frozen=True, slots=True)
class Nightly:
    """A nightly file that was read.

    Attributes:
        name: what its state is kept under: the file's own name unless it says another.
        document: where each field stands.
    """

    path: Path
    name: str
    file: NightlyFile
    document: Document


def read_nightly(path: str | Path) -> Nightly:
    """Read and check a nightly file.

    Raises:
        UsageError: names the file, the line, the field and the mend.
    """
    document = read_document(Path(path), guide="docs/nightly.md")
    file: NightlyFile = validate(document, NightlyFile)
    _check_settings(document, file)
    name = file.name or "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(path).stem)
    return Nightly(Path(path), name.lstrip("-.") or "nightly", file, document)


def _check_settings(document: Document, file: NightlyFile) -> None:
    """Let an error about a model's settings name its line."""
    from llmeval.models import read_settings

    for number, entry in enumerate(file.all_models):
        place: tuple[str | int, ...] = ("models", number) if file.models else ()
        for name, value in entry.model_settings.items():
            try:
                read_settings(entry.model, {name: value})
            except UsageError as error:
                field = (*place, "model_settings", name)
                raise document.error(error.what, field, error.mend) from error


def check_models(nightly: Nightly) -> None:
    """Look for model names that stand for nothing, before any other model is asked.

    Raises:
        UsageError: names the line, and the nearest models.
    """
    from llmeval.models import require_model

    for number, entry in enumerate(nightly.file.all_models):
        place: tuple[str | int, ...] = ("models", number) if nightly.file.models else ()
        try:
            require_model(entry.model)
        except UsageError as error:
            raise nightly.document.error(error.what, (*place, "model"), error.mend) from error


def check_tasks(nightly: Nightly, workspace: Path) -> None:
    """Look for task names that stand for nothing, before any model is loaded.

    Raises:
        UsageError: names the line, and the nearest tasks.
    """
    from llmeval.tasks.registry import list_tasks

    known = [row.name for row in list_tasks(workspace)]
    for number, name in enumerate(nightly.file.tasks):
        if name not in known and not name.endswith((".yaml", ".yml")):
            near = difflib.get_close_matches(name, known, n=3)
            mend = f"did you mean {' or '.join(near)}?" if near else "see `llmeval tasks ls`"
            raise nightly.document.error(f"unknown task {name!r}", ("tasks", number), mend)


def write_pin(nightly: Nightly, label: str, pin: Mapping[str, Any]) -> str:
    """Return the text of a nightly file in which a model's baseline is another.

    Everything else stays as it is, comments too.

    Args:
        label: whose baseline.
        pin: the new value, as JSON data.
    """
    import json

    import yaml

    text = nightly.path.read_text(encoding="utf-8-sig")
    entry = _find_entry(yaml.compose(text, Loader=yaml.SafeLoader), nightly.file, label)
    fields = {key.value: node for key, node in entry.value}
    value = json.dumps(pin, ensure_ascii=False)
    old = fields.get("baseline")
    if old is not None:
        start = old.start_mark.index
        if isinstance(old, yaml.CollectionNode) and not old.flow_style:
            start = len(text[:start].rstrip())  # a block begins on the next line
        gap = "" if text[start - 1] == " " else " "
        return f"{text[:start]}{gap}{value}{text[_end_of(old) :]}"
    model = fields["model"]
    if entry.flow_style:
        at = model.end_mark.index
        return f"{text[:at]}, baseline: {value}{text[at:]}"
    line_end = text.find("\n", model.end_mark.index)
    at = len(text) if line_end < 0 else line_end
    indent = " " * entry.value[0][0].start_mark.column
    return f"{text[:at]}\n{indent}baseline: {value}{text[at:]}"


def _end_of(node: Any) -> int:
    """Return where a node ends: a block's own mark stands behind the comments that follow it."""
    children = node.value
    if isinstance(children, list) and children and not node.flow_style:
        last = children[-1]
        return _end_of(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _find_entry(root: Any, file: NightlyFile, label: str) -> Any:
    """Return the node of the mapping that holds a model's baseline."""
    if file.model is not None:
        return root
    number = [entry.label for entry in file.models].index(label)
    return next(node for key, node in root.value if key.value == "models").value[number]
