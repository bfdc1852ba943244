"""Windows are cut by samples and by characters; tasks on the same rows stand together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llmeval.core import Sample
from llmeval.engine import Evaluated, Journal, evaluate, order_by_data
from llmeval.engine.windows import WindowCutter
from tests.support.fakes import FakeModel, FakeTask


class Sized(FakeTask):
    """Samples of given sizes, in characters."""

    def __init__(self, name: str, sizes: Sequence[int]) -> None:
        super().__init__(name, len(sizes))
        self._sizes = sizes

    def samples(self) -> Iterator[Sample]:
        for sample, size in zip(super().samples(), self._sizes, strict=True):
            yield replace(sample, size=size)


def brute_force(sizes: Sequence[int], samples: int, characters: int) -> list[list[int]]:
    """Close a window after the sample with which it has so many samples or characters."""
    windows: list[list[int]] = [[]]
    for i in range(len(sizes)):
        windows[-1].append(i)
        members = windows[-1]
        if len(members) == samples or sum(sizes[k] for k in members) >= characters:
            windows.append([])
    return [window for window in windows if window]


@given(
    sizes=st.lists(st.integers(0, 50), max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=3),
    samples=st.integers(1, 12),
    characters=st.integers(1, 150),
    chunk=st.integers(1, 13),
)
def test_a_window_closes_with_the_sample_that_reaches_a_bound(
    sizes: list[int], cuts: list[int], samples: int, characters: int, chunk: int
) -> None:
    """However the samples are spread over tasks, and in whatever portions they are taken."""
    edges = [0, *sorted(min(cut, len(sizes)) for cut in cuts), len(sizes)]
    parts = [sizes[a:b] for a, b in itertools.pairwise(edges)]
    tasks = [Sized(f"task {i}", part) for i, part in enumerate(parts)]
    order = [(task.name, str(k)) for task in tasks for k in range(len(task))]
    expected = [[order[i] for i in w] for w in brute_force(sizes, samples, characters)]
    by_portions = WindowCutter(tasks, samples, characters)
    windows = []
    while window := list(iter(lambda: by_portions.take(chunk), [])):
        windows.append([(task.name, sample.id) for items in window for task, sample in items])
        by_portions.open()
    assert windows == expected
    whole = WindowCutter(tasks, samples, characters).windows()
    assert [[(task.name, sample.id) for task, sample in items] for items in whole] == expected


def test_long_prompts_bound_the_window(tmp_path: Path) -> None:
    sizes: list[int] = []

    def sink(results: Sequence[Evaluated]) -> None:
        sizes.append(len(results))

    with Journal(tmp_path / "journal.sqlite") as journal:
        run = journal.begin("spec", "run")
        task = Sized("long", [400] * 10)
        evaluate([task], FakeModel(), journal=journal, run=run, sink=sink, characters=1000)
    assert sizes == [3, 3, 3, 1]


# -- who stands next to whom -----------------------------------------------------------------------


def rows(name: str, split: str = "test", digest: str = "00", **more: Any) -> list[dict[str, Any]]:
    return [{"id": name, "config": None, "split": split, "rows": 5, "digest": digest, **more}]


def order(data: dict[str, list[dict[str, Any]]]) -> list[str]:
    return [task.name for task in order_by_data([FakeTask(name) for name in data], data)]


def test_tasks_on_the_same_rows_stand_together_in_the_order_of_the_first() -> None:
    data = {
        "mc1": rows("truthful"),
        "piqa": rows("piqa"),
        "mc2": rows("truthful"),
        "arc": rows("arc"),
        "piqa 2": rows("piqa") + rows("piqa", "train"),  # its examples come from elsewhere
    }
    assert order(data) == ["mc1", "mc2", "piqa", "piqa 2", "arc"]


def test_other_rows_of_one_data_set_do_not_count_as_the_same() -> None:
    data = {
        "a": rows("set"),
        "b": rows("set", split="validation"),
        "c": rows("set", digest="11"),
        "d": rows("set", config="other"),
        "a 2": rows("set"),
    }
    assert order(data) == ["a", "a 2", "b", "c", "d"]


def test_tasks_that_name_no_data_stay_where_they_are() -> None:
    assert order({"a": [], "b": rows("set"), "c": [], "d": rows("set")}) == ["a", "b", "d", "c"]
