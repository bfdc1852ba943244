"""The pinned baseline: a record, known by the digest of its scores."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmeval.core import StorageError, UsageError
from llmeval.reports.regress.faults import Fault
from llmeval.runs import Run, load_run
from llmeval.runs.find import LATEST, find_run
from llmeval.runs.record import SCORES

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Pin:
    """Which record is the baseline.

    Args:
        path: a record's folder, or a run in the folder of records.
        digest: of its scores; None: whatever stands there.
        repeats: records in which a sentinel asked some of its items again.
    """

    path: str
    digest: str | None = None
    repeats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Baseline:
    """A baseline that was found.

    Attributes:
        repeats: records of its sentinel, those that are still there.
    """

    run: Run
    digest: str
    repeats: tuple[Run, ...] = ()


def open_baseline(pin: Pin | None, out: str | Path | None = None) -> Baseline | Fault:
    """Return the record that a pin names, or why it cannot be the baseline."""
    set_it = "--set-baseline RUN pins one, --set-baseline latest the newest night's"
    if pin is None:
        return Fault("baseline missing", "none is pinned", set_it)
    if pin.path == LATEST:
        what = "`latest` pins nothing: it is another run every night"
        return Fault("baseline missing", what, set_it)
    try:
        run = find_run(pin.path, out)
        status = run.status
        found = digest_scores(run)
        run.summary  # noqa: B018  read now, so that it is known to be readable
    except (UsageError, KeyError) as error:
        what = str(error) if isinstance(error, UsageError) else f"{pin.path}: no run record"
        return Fault("baseline missing", what, set_it)
    if pin.digest is not None and pin.digest != found:
        what = f"the scores of {run.path} have the digest {found}, not {pin.digest}"
        return Fault("baseline changed", what, f"restore the record; {set_it}")
    if status != "complete":
        return Fault("baseline missing", f"{run.path} is {status}", set_it)
    return Baseline(run, found, tuple(_find_repeats(pin.repeats)))


def _find_repeats(paths: Sequence[str]) -> list[Run]:
    found = []
    for path in paths:
        if (Path(path) / "manifest.json").is_file() and (Path(path) / SCORES).is_file():
            found.append(load_run(path))
    return found


def digest_scores(run: Run) -> str:
    """Return the digest of a record's scores, 32 hexadecimal characters.

    Raises:
        UsageError: there are none.
        StorageError: they cannot be read.
    """
    path = run.path / SCORES
    total = hashlib.blake2b(digest_size=16)
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                total.update(chunk)
    except FileNotFoundError:
        what = f"the record has no {SCORES}"
        raise UsageError(what, where=str(run.path), mend="name a complete run") from None
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    return total.hexdigest()
