"""Telling a tracker of a run. What goes wrong there is one line, and never the run's own fault."""

from __future__ import annotations

import contextlib
import io
import socket
import textwrap
import warnings

from llmeval.core import LlmevalError
from llmeval.runs import Run
from llmeval.tracking.entries import collect_entries
from llmeval.tracking.targets import Target, hide_secrets, parse_target, require_target

_LONGEST = 300  # characters of a library's error


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
            raise _not_tracked(error, target) from error
    return hide_secrets(seen)


def _not_tracked(error: Exception, target: Target) -> NotTracked:
    """Return a library's error in one line; that nobody answers is said in our own words."""
    if (network := _find_network_error(error)) is not None:
        what = f"not logged: the tracker does not answer: {network.strerror or network}"
        mend = "start it or correct its address; `llmeval runs track` logs the run later"
        return NotTracked(hide_secrets(what), where=str(target), mend=mend)
    first = next(iter(f"{error}".splitlines()), "")
    said = hide_secrets(f"{type(error).__name__}: {first}")
    short = textwrap.shorten(said, _LONGEST, placeholder=" ...")
    return NotTracked(f"not logged: {short}", where=str(target))


def _find_network_error(error: BaseException | None) -> OSError | None:
    """Return the system's own error at the bottom of what libraries made of it."""
    found, seen = None, set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ConnectionError | TimeoutError | socket.gaierror):
            found = error
        error = error.__cause__ or error.__context__
    return found
