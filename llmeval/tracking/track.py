"""Telling a tracker of a run. What goes wrong there is one line, and never the run's own fault."""

from __future__ import annotations

import contextlib
import io
import warnings

from llmeval.core import LlmevalError
from llmeval.runs import Run
from llmeval.tracking.entries import collect_entries
from llmeval.tracking.targets import Target, hide_secrets, parse_target, require_target


class NotTracked(LlmevalError):
    """A tracker could not be told of a run; the record is as it was. Exit code 2."""


def track_run(run: Run, target: Target | str, *, tables: bool = False) -> str:
    """Log a run's record; return where it can be seen.

    A run that is there already is brought up to date: nothing is logged twice.

    Args:
        target: ``mlflow:URI`` or ``wandb:[ENTITY/]PROJECT``.
        tables: upload the Parquet files, too, with all prompts and answers.

    Raises:
        UsageError: it cannot be logged there: a missing package, a malformed target, no results.
        NotTracked: the tracker failed.
    """
    target = parse_target(target) if isinstance(target, str) else target
    require_target(target)
    entries = collect_entries(run, tables=tables)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # a library's news of its own future
        try:
            seen = target.module.log(target.where, entries)
        except Exception as error:
            lines = f"{error}".splitlines() or [""]
            said = hide_secrets(f"{type(error).__name__}: {lines[0]}"[:300])
            raise NotTracked(f"not logged: {said}", where=str(target)) from error
    return hide_secrets(seen)
