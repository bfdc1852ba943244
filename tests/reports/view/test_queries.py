"""The server finds what a reader asks for; what it is asked for wrongly, it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmeval.core import Metric, Score, UsageError
from llmeval.reports.view.items import Items
from llmeval.reports.view.queries import Finder, parse_query
from tests.reports.view.samples import choice, completion, failure, hostile_items
from tests.support import hostile
from tests.support.records import Item, mean, write_record


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Finder:
    folder = tmp_path_factory.mktemp("one")
    unread = Score("exact_match", status="unscored", reason="no number")
    run = write_record(
        folder / "run",
        {
            "colours": [
                choice("sky", [-3.0, -2.0, -1.0, -4.0], 2, metadata={"kind": "far"}),
                choice("grass", [-1.0, -2.0, -3.0, -4.0], 1, metadata={"kind": "near"}),
            ],
            "sums": [
                completion("b", 'She said "Forty-Two".\nDone', 1.0, metadata={"kind": "far"}),
                completion("a", "forty", unread, metadata={"kind": "near"}),
                failure("c", "the server left"),
            ],
            "loss": [Item("l1", {"loss": 0.25}), Item("l2", {"loss": 0.75})],
        },
        metrics={"loss": Metric("loss", mean, higher_is_better=False)},
    )
    return Finder(Items([run]))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Finder:
    folder = tmp_path_factory.mktemp("two")
    before = {"both": 1.0, "none": 0.0, "lost": 1.0, "gained": 0.0, "only before": 1.0}
    after = {"both": 1.0, "none": 0.0, "lost": 0.0, "gained": 1.0, "only after": 1.0}
    runs = [
        write_record(
            folder / name, {"t": [Item(id, {"acc": value}) for id, value in values.items()]}
        )
        for name, values in (("before", before), ("after", after))
    ]
    return Finder(Items(runs))


def ask(finder: Finder, **query: Any) -> list[str]:
    given = {name: str(value) for name, value in query.items()}
    found = finder.find(parse_query(given, finder.items))
    return [row["id"] for row in finder.rows(found.tolist())]


ALL = ["sky", "grass", "b", "a", "c", "l1", "l2"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ALL),
        ({"task": 1}, ["b", "a", "c"]),
        ({"status": 1}, ["a"]),
        ({"status": 2}, ["c"]),
        ({"score": "right"}, ["sky", "b"]),
        ({"score": "wrong"}, ["grass"]),
        ({"score": "between", "low": 0.2, "high": 0.5}, ["l1"]),
        ({"score": "between", "low": 1}, ["sky", "b"]),
        ({"metric": 0, "score": "right"}, ["sky"]),
        ({"facet": 0, "value": 0}, ["sky", "b"]),
        ({"sort": "id"}, sorted(ALL)),
        ({"sort": "best"}, ["sky", "b", "grass", "l1", "l2", "a", "c"]),
        ({"sort": "worst", "task": 2}, ["l2", "l1"]),
        ({"sort": "gain"}, ALL),  # there is nothing to gain in one run
        ({"search": "SKY"}, ["sky"]),
        ({"search": '"forty-two".\ndone'}, ["b"]),
        ({"search": "forty"}, ["b", "a"]),
        ({"search": "be careful"}, ["b", "a"]),
        ({"search": "server left"}, ["c"]),
        ({"search": "no number"}, ["a"]),
        ({"search": " black"}, ["sky", "grass"]),
        ({"search": "forty", "status": 0}, ["b"]),
    ],
)
def test_one_run(one: Finder, query: dict[str, Any], expected: list[str]) -> None:
    assert ask(one, **query) == expected


@pytest.mark.parametrize("word", ["logprob", "finish_reason", "is_greedy", "%", "_", "'"])
def test_names_of_fields_and_wildcards_are_not_found(one: Finder, word: str) -> None:
    assert ask(one, search=word) == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"score": "changed"}, ["lost", "gained"]),
        ({"score": "lost"}, ["lost"]),
        ({"score": "gained"}, ["gained"]),
        ({"score": "right"}, ["both"]),
        ({"score": "wrong"}, ["none"]),
        ({"sort": "loss"}, ["lost", "both", "none", "gained", "only before", "only after"]),
        ({"sort": "gain"}, ["gained", "both", "none", "lost", "only before", "only after"]),
        ({"search": "only after"}, ["only after"]),
    ],
)
def test_two_runs(two: Finder, query: dict[str, Any], expected: list[str]) -> None:
    assert ask(two, **query) == expected


def test_rows_say_what_the_list_shows(one: Finder) -> None:
    (row,) = one.rows([1])
    assert row == {
        "position": 1,
        "task": 0,
        "id": "grass",
        "snippet": "Question: which is grass? Answer:",
        "target": "green",
        "alike": True,
        "facets": [1],
        "sides": [{"status": 0, "answer": "red", "values": [0.0, None, None]}],
    }


def test_a_sample_is_located_by_task_and_id(one: Finder) -> None:
    assert one.locate("sums", "a") == 3
    assert one.locate("colours", "a") is None


@pytest.mark.parametrize(
    "query",
    [
        {"task": "9"},
        {"task": "-1"},
        {"task": "1; DROP TABLE items"},
        {"status": "x"},
        {"low": "much"},
        {"score": "wrong OR true"},
        {"sort": "position; SELECT 1"},
        {"facet": "²"},
    ],
)
def test_what_no_page_sends_is_refused(one: Finder, query: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        parse_query(query, one.items)


def test_a_run_without_metrics_is_found_and_ordered(tmp_path: Path) -> None:
    finder = Finder(Items([write_record(tmp_path / "run", {"t": [Item("a", {}), Item("b", {})]})]))
    for query in ({"sort": "best"}, {"sort": "loss"}, {"score": "between"}, {"score": "right"}):
        assert ask(finder, **query) == ([] if "score" in query else ["a", "b"]), query


def test_hostile_texts_are_found_as_texts(tmp_path: Path) -> None:
    run = write_record(tmp_path / "run", {"it's": hostile_items()})
    finder = Finder(Items([run]))
    for text in (hostile.SCRIPT, hostile.HANDLER, hostile.TEMPLATE, hostile.BIDI):
        assert len(ask(finder, search=text)) >= 1
    assert len(ask(finder, task=0, sort="best", score="between", low=0)) == 7
