"""What a run is asked for, checked where it comes in."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from llmeval.core import InformedModel, Model, ServedModel, Task, UsageError
from llmeval.engine import DEFAULT_WINDOW, Limits
from llmeval.home import find_workspace
from llmeval.models import AnySettings, ModelSettings, read_settings
from llmeval.models.kinds import plain_settings
from llmeval.tasks.generation import check_count
from llmeval.tasks.options import TaskOptions

BATCH_WINDOW = 50_000
"""Samples evaluated together where their questions go into batches: as many as a batch takes."""

AnyModel = str | Model | ServedModel | InformedModel


@dataclass(frozen=True, slots=True)
class RunSpec:
    """Everything that a run is asked for. See :func:`llmeval.run` for the fields.

    ``command`` is how the command line was called, for ``llmeval run --resume``. ``subset`` is how
    many samples of each task are asked, always the same ones; None for all. ``journal`` is the file
    that answers are journaled in and come from; None for that of the workspace. ``rerun_of`` is the
    id of the run that this one re-creates.
    """

    model: AnyModel
    tasks: tuple[str | Task, ...]
    workspace: Path
    model_settings: AnySettings = field(default_factory=ModelSettings)
    options: TaskOptions = field(default_factory=TaskOptions)
    mirror: Path | None = None
    out: Path = Path("results")
    window: int = DEFAULT_WINDOW
    max_errors: float = 0.05
    allow_unsafe_code: bool = False
    limits: Limits = field(default_factory=Limits)
    batch: bool = False
    batch_wait: bool = False
    command: tuple[str, ...] | None = None
    subset: int | None = None
    journal: Path | None = None
    rerun_of: str | None = None


def make_spec(
    model: AnyModel,
    tasks: Sequence[str | Task],
    *,
    model_settings: AnySettings | Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    data: str | Path | None = None,
    out: str | Path = "results",
    workspace: str | Path | None = None,
    window: int | None = None,
    max_errors: float = 0.05,
    allow_unsafe_code: bool = False,
    max_usd: float | None = None,
    max_requests: int | None = None,
    max_minutes: float | None = None,
    batch: bool = False,
    batch_wait: bool = False,
    command: Sequence[str] | None = None,
    subset: int | None = None,
    journal: Path | None = None,
    rerun_of: str | None = None,
) -> RunSpec:
    """Check loose arguments and make a specification of them."""
    options = dict(options or {})
    _check_names("option", options, TaskOptions)
    settings = {} if model_settings is None else model_settings
    if isinstance(settings, Mapping):
        settings = read_settings(model if isinstance(model, str) else "", settings)
    check_count("--window", window, least=1)
    _check_share("--max-errors", max_errors)
    mirror = data or os.environ.get("LLMEVAL_DATA")
    if batch_wait and not batch:
        raise UsageError("there is nothing to wait for", where="--wait", mend="it needs --batch")
    if not tasks:
        raise UsageError("no task was named", where="-t", mend="see `llmeval tasks ls`")
    if mirror and not Path(mirror).is_dir():
        raise UsageError(f"no such folder: {mirror}", where="--data")
    return RunSpec(
        model=model,
        tasks=tuple(tasks),
        workspace=Path(workspace).resolve() if workspace else find_workspace(),
        model_settings=settings,
        options=TaskOptions(**options),
        mirror=Path(mirror) if mirror else None,
        out=Path(out),
        window=window or (BATCH_WINDOW if batch else DEFAULT_WINDOW),
        max_errors=max_errors,
        allow_unsafe_code=allow_unsafe_code,
        limits=Limits(usd=max_usd, requests=max_requests, minutes=max_minutes),
        batch=batch,
        batch_wait=batch_wait,
        command=None if command is None else tuple(command),
        subset=subset,
        journal=journal,
        rerun_of=rerun_of,
    )


def describe_request(spec: RunSpec) -> dict[str, Any]:
    """Return what to ask again, beside options and limits; without secrets.

    ``model`` and ``tasks`` are null where objects were handed in. Relative names are relative to
    ``folder``. ``withheld`` names the model settings that may hold a secret.
    """
    names = [task for task in spec.tasks if isinstance(task, str)]
    settings, withheld = plain_settings(spec.model_settings)
    return {
        "model": spec.model if isinstance(spec.model, str) else None,
        "model_settings": settings,
        "withheld": withheld,
        "tasks": names if len(names) == len(spec.tasks) else None,
        "subset": spec.subset,
        "data": None if spec.mirror is None else str(spec.mirror.resolve()),
        "allow_unsafe_code": spec.allow_unsafe_code,
        "batch": spec.batch,
        "folder": str(Path.cwd()),
    }


def _check_names(what: str, given: Mapping[str, Any], cls: type) -> None:
    known = [f.name for f in fields(cls)]
    for name in given:
        if name not in known:
            raise UsageError(f"unknown {what} {name!r}", mend=f"known are {', '.join(known)}")


def _check_share(where: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UsageError(f"must be a number between 0 and 1, not {value!r}", where=where)
