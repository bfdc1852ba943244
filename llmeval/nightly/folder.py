"""Where a night's records are, so that the same command on the same night goes on.

``nights/NIGHT/night.json`` says when it began and which runs are done; a folder for each run beside
it holds the record. The journal of the night is removed with its end: the records hold all answers.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmeval.core import StorageError, digest
from llmeval.engine import Journal
from llmeval.runs import Run, load_run
from llmeval.runs.files import storage_errors, write_json
from llmeval.runs.find import list_run_ids

_SENTINEL = ".sentinel-"
NIGHTS, NOTES = "nights", "night.json"
_LONGEST = datetime.timedelta(hours=20)  # less than from one night's start to the next one's


@dataclass(frozen=True, slots=True)
class Slot:
    """One run of a night.

    Args:
        label: of the model.
        draw: 0 for the night's own run, then the sentinel's repeats.
    """

    label: str
    draw: int = 0

    @property
    def name(self) -> str:
        """The name of its folder."""
        slug = "".join(c if c.isalnum() or c in "-." else "-" for c in self.label).strip("-.")
        slug = slug[-40:].strip("-.")
        if slug != self.label:  # other labels may come to the same
            slug = f"{slug}-{digest(self.label.encode('utf-8', 'replace'), 2)}"
        return f"{slug}{_SENTINEL}{self.draw}" if self.draw else slug


def draw_of(folder: Path) -> int:
    """Return which of the sentinel's repeats a run's folder is of; 0 for the night's own run."""
    _, _, draw = folder.name.rpartition(_SENTINEL)
    return int(draw) if _SENTINEL in folder.name and draw.isdigit() else 0


@dataclass
class NightFolder:
    """The folder of one night."""

    path: Path
    name: str
    notes: dict[str, Any] = field(default_factory=dict)

    def folder_of(self, slot: Slot) -> Path:
        """Return where the records of a run are."""
        return self.path / slot.name

    def journal_of(self, slot: Slot) -> Path:
        """Return the journal of a run: every draw has its own, or it would repeat the first."""
        suffix = f"-{slot.draw}" if slot.draw else ""
        return self.path / f"journal{suffix}.sqlite"

    def finished(self, slot: Slot, asked: str) -> Run | None:
        """Return the run that asked just this and is done."""
        note = self.notes["runs"].get(slot.name)
        if not isinstance(note, dict) or note.get("asked") != asked:
            return None
        folder = self.folder_of(slot) / str(note.get("run"))
        if not (folder / "manifest.json").is_file():
            return None
        run = load_run(folder)
        return run if run.status == "complete" else None

    def note(self, slot: Slot, asked: str, run: Run) -> None:
        """Note that a run is done."""
        self.notes["runs"][slot.name] = {
            "asked": asked,
            "run": run.path.name,
            "label": slot.label,
            "draw": slot.draw,
        }
        self._write()

    def newest(self, slot: Slot) -> Run | None:
        """Return the record that a run left, whatever became of it."""
        ids = list_run_ids(self.folder_of(slot))
        return load_run(self.folder_of(slot) / ids[-1]) if ids else None

    def runs(self) -> Iterator[tuple[str, Run]]:
        """Yield the newest readable record of every run so far, with the name of its slot."""
        for folder in sorted(path for path in self.path.glob("*/") if path.is_dir()):
            ids = list_run_ids(folder)
            if ids and (folder / ids[-1] / "summary.json").is_file():
                yield folder.name, load_run(folder / ids[-1])

    def done(self) -> list[tuple[Slot, Run]]:
        """Return the runs that are done."""
        found = []
        for name, note in self.notes["runs"].items():
            folder = self.path / name / note["run"]
            if (folder / "manifest.json").is_file():
                found.append((Slot(note["label"], note["draw"]), load_run(folder)))
        return found

    def count_answers(self) -> int | None:
        """Return how many answers the night's journals hold; None where they are gone."""
        journals = sorted(self.path.glob("journal*.sqlite"))
        if not journals:
            return None
        total = 0
        for path in journals:
            with Journal(path) as journal:
                total += journal.count()
        return total

    def close(self) -> None:
        """Remove what only an unfinished night needs."""
        for path in self.path.glob("journal*.sqlite*"):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove a night that was only planned: journals that a forecast opened."""
        self.close()
        with contextlib.suppress(OSError):  # it was never made, or holds something
            self.path.rmdir()

    def _write(self) -> None:
        with storage_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / NOTES, self.notes)


def open_night(
    folder: Path, *, fresh: bool = False, now: datetime.datetime | None = None
) -> NightFolder:
    """Return the night to work on: one that was broken off, today's, or a new one.

    Args:
        folder: of the state.
        fresh: another night, although today's has a verdict.
        now: with its time zone; nights are named by the date in UTC.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    today = now.strftime("%Y-%m-%d")
    nights = list_nights(folder)
    if nights and not _has_verdict(folder, nights[-1]) and _is_recent(nights[-1], now):
        return nights[-1]
    todays = [night for night in nights if night.name.split(".")[0] == today]
    if todays and not fresh:
        return todays[-1]
    verdicts = [path.stem for path in folder.glob(f"{today}*.json")]  # of folders that are gone
    taken = [_order(name)[1] for name in [*verdicts, *(night.name for night in todays)]]
    name = f"{today}.{max(taken) + 1}" if taken else today
    night = NightFolder(folder / NIGHTS / name, name, {"started": now.isoformat(), "runs": {}})
    night._write()
    return night


def list_nights(folder: Path) -> list[NightFolder]:
    """Return the nights that began, oldest first.

    Raises:
        StorageError: the notes of one cannot be read.
    """
    paths = sorted(folder.glob(f"{NIGHTS}/*/{NOTES}"), key=lambda path: _order(path.parent.name))
    return [NightFolder(path.parent, path.parent.name, _read_notes(path)) for path in paths]


def remove_old(folder: Path, keep: int, pinned: Iterable[Path]) -> None:
    """Remove the records of all but the newest nights; verdicts, history and evidence stay.

    Args:
        pinned: records of baselines, whose nights stay, too.
    """
    needed = {parent for path in pinned for parent in path.resolve().parents}
    for night in list_nights(folder)[:-keep]:
        if night.path.resolve() not in needed:
            shutil.rmtree(night.path, ignore_errors=True)


def _order(name: str) -> tuple[str, int]:
    date, _, number = name.partition(".")
    return date, int(number) if number.isdigit() else 1


def _read_notes(path: Path) -> dict[str, Any]:
    mend = "move the night's folder away: its questions are then asked again"
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(notes["runs"], dict):
            raise ValueError("runs is no object")
        datetime.datetime.fromisoformat(notes["started"])
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, KeyError, TypeError) as error:
        what = f"not the notes of a night: {type(error).__name__}: {error}"
        raise StorageError(what, where=str(path), mend=mend) from error
    return dict(notes)


def _has_verdict(folder: Path, night: NightFolder) -> bool:
    return (folder / f"{night.name}.json").is_file()


def _is_recent(night: NightFolder, now: datetime.datetime) -> bool:
    started = datetime.datetime.fromisoformat(night.notes["started"])
    if started.tzinfo is None:
        started = started.replace(tzinfo=datetime.UTC)
    return now - started < _LONGEST
