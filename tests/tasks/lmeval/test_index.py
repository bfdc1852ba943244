"""The cached index: read in milliseconds, made anew when it is torn or of another version."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from llmeval.tasks.lmeval import adapter, index
from llmeval.tasks.lmeval.adapter import build_index
from llmeval.tasks.lmeval.index import IndexEntry, cache_dir, load_index
from tests.tasks.lmeval.bench import GROUPS, TASKS, write_bench

ENTRIES = [
    IndexEntry("alpha", "task", "alpha/alpha.yaml", (), "multiple_choice", "org/alpha"),
    IndexEntry("letters", "tag", None, ("alpha", "beta")),
]


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """An empty cache, and a stand-in for the seven seconds; yields the folders it was asked for."""
    asked: list[Path] = []

    def build(root: Path) -> list[IndexEntry]:
        asked.append(root)
        return ENTRIES

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(adapter, "build_index", build)
    load_index.cache_clear()
    yield asked
    load_index.cache_clear()


def load_anew() -> dict[str, IndexEntry]:
    """Load as a new process would."""
    load_index.cache_clear()
    return dict(load_index())


def test_made_once_then_read(builds: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="llmeval"):
        made = load_anew()
    assert made == {entry.name: entry for entry in ENTRIES}
    assert "indexing the tasks of lm-eval" in caplog.messages[0]
    assert load_anew() == made
    assert len(builds) == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1, 2]", b'{"stamp": {}}', b"\xff\x00", b'{"stamp": 1, "entries": [[1]]}'],
)
def test_a_torn_file_is_made_anew(content: bytes, builds: list[Path]) -> None:
    made = load_anew()
    (file,) = cache_dir().iterdir()
    whole = file.read_bytes()
    file.write_bytes(content)
    assert load_anew() == made
    assert len(builds) == 2
    assert file.read_bytes() == whole
    file.write_bytes(whole[: len(whole) // 2])
    assert load_anew() == made
    assert len(builds) == 3


def test_right_stamp_wrong_entries(builds: list[Path]) -> None:
    made = load_anew()
    (file,) = cache_dir().iterdir()
    content = orjson.loads(file.read_bytes())
    content["entries"] = [["alpha", "task"]]
    file.write_bytes(orjson.dumps(content))
    assert load_anew() == made
    assert len(builds) == 2


def test_another_version_has_an_index_of_its_own(
    builds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_anew()
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "9.9" if name == "lm_eval" else real(name)
    )
    load_anew()
    assert len(builds) == 2
    assert len(list(cache_dir().iterdir())) == 2


def test_another_installation_is_not_mistaken_for_this_one(
    builds: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_anew()
    monkeypatch.setattr(index, "tasks_root", lambda: tmp_path / "elsewhere")
    load_anew()
    assert len(builds) == 2


def test_a_cache_that_cannot_be_written_costs_only_time(
    builds: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "llmeval").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING, logger="llmeval"):
        assert "alpha" in load_anew()
    assert any("cannot be kept" in message for message in caplog.messages)


def test_built_from_the_files(tmp_path: Path) -> None:
    entries = {entry.name: entry for entry in build_index(write_bench(tmp_path))}
    assert set(entries) == {*TASKS, *GROUPS, "bench_tag"}
    assert entries["bench_tag"] == IndexEntry("bench_tag", "tag", None, ("choice", "first"))
    assert entries["nested"].kind == "group"
    choice = entries["choice"]
    assert (choice.kind, choice.path) == ("task", "choice.yaml")
    assert (choice.output_type, choice.dataset) == ("multiple_choice", "json")
