"""Which night a command belongs to."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from llmeval.core import StorageError
from llmeval.nightly.folder import NightFolder, Slot, list_nights, open_night, remove_old


def at(day: int, hour: int = 3) -> datetime.datetime:
    return datetime.datetime(2026, 3, day, hour, tzinfo=datetime.UTC)


def end(folder: Path, night: NightFolder) -> None:
    (folder / f"{night.name}.json").write_text("{}")


def test_nights_are_named_by_their_date(tmp_path: Path) -> None:
    night = open_night(tmp_path, now=at(1))
    assert night.name == "2026-03-01"
    end(tmp_path, night)
    assert open_night(tmp_path, now=at(2)).name == "2026-03-02"


def test_a_night_that_was_broken_off_goes_on_after_midnight(tmp_path: Path) -> None:
    begun = open_night(tmp_path, now=at(1, 23))
    assert open_night(tmp_path, now=at(2, 1)).path == begun.path


def test_one_that_was_broken_off_a_night_ago_is_left(tmp_path: Path) -> None:
    open_night(tmp_path, now=at(1))
    early = at(2) - datetime.timedelta(seconds=1)  # cron is not always as punctual
    assert open_night(tmp_path, now=early).name == "2026-03-02"


def test_records_of_old_nights_are_removed_but_not_the_baselines(tmp_path: Path) -> None:
    for day in range(1, 7):
        end(tmp_path, open_night(tmp_path, now=at(day)))
    remove_old(tmp_path, 2, [tmp_path / "nights" / "2026-03-02" / "model" / "run"])
    left = [night.name for night in list_nights(tmp_path)]
    assert left == ["2026-03-02", "2026-03-05", "2026-03-06"]
    assert len(list(tmp_path.glob("*.json"))) == 6


def test_another_night_never_takes_the_name_of_one_that_is_gone(tmp_path: Path) -> None:
    for _ in range(3):
        night = open_night(tmp_path, fresh=True, now=at(1))
        end(tmp_path, night)
    (tmp_path / "nights" / "2026-03-01").rename(tmp_path / "gone")
    assert open_night(tmp_path, fresh=True, now=at(1)).name == "2026-03-01.4"


def test_a_night_with_its_verdict_comes_back_unless_another_is_wanted(tmp_path: Path) -> None:
    first = open_night(tmp_path, now=at(1))
    end(tmp_path, first)
    assert open_night(tmp_path, now=at(1, 9)).name == first.name
    names = []
    for _ in range(11):
        night = open_night(tmp_path, fresh=True, now=at(1, 9))
        end(tmp_path, night)
        names.append(night.name)
    assert names[0] == "2026-03-01.2"
    assert [night.name for night in list_nights(tmp_path)] == [first.name, *names]


def test_labels_that_look_alike_have_folders_of_their_own() -> None:
    names = {Slot(label).name for label in ("openai:a/b", "openai:a-b", "openai-a-b")}
    assert len(names) == 3
    assert Slot("pocket").name == "pocket"
    assert Slot("pocket", 2).name == "pocket.sentinel-2"
    assert "/" not in Slot("../../x").name


@pytest.mark.parametrize("text", ["", "{}", '{"started": "x", "runs": {}}', '{"runs": 3}'])
def test_notes_that_cannot_be_read_are_told(tmp_path: Path, text: str) -> None:
    night = open_night(tmp_path, now=at(1))
    (night.path / "night.json").write_text(text)
    with pytest.raises(StorageError, match=r"night\.json"):
        open_night(tmp_path, now=at(1))
