"""Results come off the shelf in order, however they came, from memory or from disk."""

from __future__ import annotations

import errno
import pickle
import tempfile
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.core import (
    GenerateRequest,
    Generation,
    Gold,
    Loglikelihood,
    LoglikelihoodRequest,
    Message,
    Sample,
    Score,
    StorageError,
)
from llmeval.engine import Evaluated
from llmeval.engine.serving.shelf import Shelf
from tests.support.fakes import FakeTask

TASKS = {name: FakeTask(name) for name in ("one", "two")}


def result(number: int, size: int = 0) -> Evaluated:
    """A result with all that a record writes of it."""
    chat = GenerateRequest((Message("user", f"{number} " + "x" * size),), top_logprobs=3)
    answer = Generation(str(number), reasoning="so", top_logprobs={"A": -0.25})
    exchanges = [
        (chat, answer),
        (LoglikelihoodRequest("c", f" {number}"), Loglikelihood(-number / 3, True, 1)),
    ]
    sample = Sample(
        str(number),
        {"question": number, "nested": {"a": [1, None]}},
        metadata={"subject": "x"},
        gold=Gold(("A", "B"), (1,)),
        payload=lambda: None,  # what cannot be kept on disk
    )
    task = TASKS["one" if number % 2 else "two"]
    scores = [Score("acc", number / 7, extracted="A", item=[1, {"x": 2}])]
    return Evaluated(task, sample, exchanges, scores)


def same(found: Evaluated, number: int) -> bool:
    expected = result(number)
    assert found.task is expected.task
    assert list(found.exchanges) == list(expected.exchanges)
    assert list(found.scores) == list(expected.scores)
    assert found.sample.payload is None
    names = ("id", "fields", "target", "metadata", "cluster", "gold", "size")
    return all(getattr(found.sample, n) == getattr(expected.sample, n) for n in names)


@given(st.permutations(range(25)), st.sampled_from([0, 1, 3, 4096]), st.integers(1, 9))
def test_any_order_in_the_right_order_out(order: list[int], in_memory: int, every: int) -> None:
    shelf, out = Shelf(TASKS, in_memory=in_memory), list[Evaluated]()
    try:
        for put, number in enumerate(order, 1):
            shelf.put(number, result(number))
            arrived = set(order[:put])
            follows = len(out) in arrived
            assert shelf.ready == follows
            if put % every == 0:
                out += shelf.take()
                assert not shelf.ready
        out += shelf.take()
    finally:
        shelf.close()
    assert len(out) == 25
    assert all(same(found, number) for number, found in enumerate(out))


@given(st.sets(st.integers(0, 30), min_size=1), st.sampled_from([0, 2, 4096]), st.randoms())
def test_what_is_there_comes_in_order_over_the_gaps(
    numbers: set[int], in_memory: int, chance: Any
) -> None:
    order = sorted(numbers)
    chance.shuffle(order)
    shelf = Shelf(TASKS, in_memory=in_memory)
    try:
        for number in order:
            shelf.put(number, result(number))
        out = [*shelf.take(), *shelf.take_all()]
        assert list(shelf.take_all()) == []
    finally:
        shelf.close()
    assert [int(found.sample.id) for found in out] == sorted(numbers)
    assert all(same(found, int(found.sample.id)) for found in out)


def test_only_so_many_wait_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dumped: list[Any] = []
    monkeypatch.setattr(pickle, "dump", lambda kept, *_, **__: dumped.append(kept))
    shelf = Shelf(TASKS, tmp_path, in_memory=10)
    for number in range(1, 31):
        shelf.put(number, result(number))
    shelf.put(0, result(0))  # the next one needs no room
    assert len(dumped) == 20
    shelf.close()


def test_what_follows_at_once_touches_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: pytest.fail("a file"))
    shelf = Shelf(TASKS, in_memory=0)
    for number in range(50):
        shelf.put(number, result(number))
        assert [same(found, number) for found in shelf.take()] == [True]
    shelf.close()


def test_the_file_is_gone_with_the_shelf(tmp_path: Path) -> None:
    shelf = Shelf(TASKS, tmp_path, in_memory=0)
    shelf.put(5, result(5, size=100_000))
    assert list(tmp_path.iterdir()) == []  # it has no name to begin with
    shelf.close()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_for_a_file_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: object) -> IO[bytes]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    shelf = Shelf(TASKS, tmp_path, in_memory=0)
    with pytest.raises(StorageError, match="No space left on device") as caught:
        shelf.put(1, result(1))
    assert caught.value.where == str(tmp_path)
    assert "free some disk space" in str(caught.value)
    shelf.close()


def use_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the file lie on a device that takes nothing."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    monkeypatch.setattr(
        tempfile,
        "TemporaryFile",
        lambda **_: open("/dev/full", "w+b"),  # noqa: PTH123, SIM115
    )


def test_a_disk_that_is_full_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_full_disk(monkeypatch)
    shelf = Shelf(TASKS, tmp_path, in_memory=0)
    with pytest.raises(StorageError, match="No space left on device"):
        shelf.put(1, result(1, size=100_000))


def test_a_shelf_on_a_full_disk_can_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends with what the disk said, not with a fault of its own."""
    use_full_disk(monkeypatch)
    shelf = Shelf(TASKS, tmp_path, in_memory=0)
    with pytest.raises(StorageError):
        shelf.put(1, result(1))
    shelf.close()


def test_a_full_disk_is_said_for_a_small_result_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_full_disk(monkeypatch)
    shelf = Shelf(TASKS, tmp_path, in_memory=0)
    with pytest.raises(StorageError, match="No space left on device"):
        shelf.put(1, result(1))  # so small that it fits a buffer
        shelf.put(0, result(0))
        list(shelf.take())
