"""The table of items: every sample once, two runs matched by what their items are."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmeval.core import GenerateRequest, Generation, Metric, Score, UsageError
from llmeval.reports.view.items import Items
from llmeval.runs import Run
from tests.reports.view.samples import choice, completion, failure, hostile_items
from tests.support.records import Item, mean, write_record


def test_every_sample_stands_once_in_the_order_of_the_record(tmp_path: Path) -> None:
    run = write_record(
        tmp_path / "run",
        {"b": [Item("2", {"acc": 1.0}), Item("1", {"acc": 0.0})], "a": [Item("1", {"f1": 0.5})]},
    )
    items = Items([run])
    columns = items.columns()
    assert list(zip(columns["task"], columns["sample_id"], strict=True)) == [
        ("b", "2"),
        ("b", "1"),
        ("a", "1"),
    ]
    assert [(t["name"], t["n"], t["metric"]) for t in items.tasks] == [("b", 2, 0), ("a", 1, 1)]


def test_a_metric_is_binary_in_a_task_where_every_value_is_right_or_wrong(tmp_path: Path) -> None:
    rows = [Item("1", {"acc": 1.0, "f1": 0.5, "loss": 0.0}), Item("2", {"acc": 0.0, "f1": 1.0})]
    run = write_record(
        tmp_path / "run",
        {"t": rows, "u": [Item("1", {"acc": 0.4})], "v": [failure("f", "no answer")]},
        metrics={"loss": Metric("loss", mean, higher_is_better=False)},
    )
    items = Items([run])
    names = [m.name for m in items.metrics]
    assert [[names[m] for m in task["binary"]] for task in items.tasks] == [["acc", "loss"], [], []]
    assert [m.name for m in items.metrics if not m.higher_is_better] == ["loss"]


def test_a_sample_has_the_worst_of_its_statuses(tmp_path: Path) -> None:
    mixed = Item("m", {"a": 1.0, "b": Score("b", status="unscored", reason="empty")})
    run = write_record(tmp_path / "run", {"t": [mixed, failure("f", "no answer")]})
    columns = Items([run]).columns()
    assert columns["status_0"] == [1, 2]
    assert columns["answer_0"][1] == "no answer"
    assert columns["value_0_0"] == [1.0, None]


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        ("a\nquestion", "a question"),
        ("an example\n\nanother one\n\nthe\tquestion  itself\n", "… the question itself"),
        ("an example\n\nthe question\n\nAnswer:", "… the question Answer:"),
        ("long " * 1000, ("long " * 36)),
        ("", ""),
    ],
)
def test_a_row_shows_the_last_paragraph_of_a_prompt(
    tmp_path: Path, prompt: str, shown: str
) -> None:
    asked = [(GenerateRequest(prompt), Generation("an answer"))]
    run = write_record(tmp_path / "run", {"t": [Item("1", {"acc": 1.0}, exchanges=asked)]})
    assert Items([run]).columns()["snippet"] == [shown]


def test_a_row_shows_the_last_turn_of_a_chat(tmp_path: Path) -> None:
    run = write_record(tmp_path / "run", {"t": [completion("x", "an answer", 1.0)]})
    assert Items([run]).columns()["snippet"] == ["What is x?"]


def test_a_row_of_choices_without_an_extracted_answer_shows_the_likeliest(tmp_path: Path) -> None:
    item = choice("a", [-3.0, -1.0, -2.0, -4.0], 0)
    bare = Item("b", {"acc": Score("acc", 0.0)}, exchanges=item.exchanges)
    run = write_record(tmp_path / "run", {"t": [bare]})
    assert Items([run]).columns()["answer_0"] == [" green"]


def test_facets_are_metadata_with_few_values_and_never_clusters(tmp_path: Path) -> None:
    rows = [
        Item(
            str(i), {"acc": 1.0}, cluster=f"c{i % 2}", metadata={"half": i % 2, "own": i, "all": 1}
        )
        for i in range(10)
    ]
    items = Items([write_record(tmp_path / "run", {"t": rows})])
    assert [(facet.key, facet.values) for facet in items.facets] == [("half", ("0", "1"))]
    assert items.columns()["facet_0"] == [0, 1] * 5


# -- two runs -----------------------------------------------------------------------------------


def pair(tmp_path: Path, before: list[Item], after: list[Item]) -> Items:
    return Items(
        [
            write_record(tmp_path / "before", {"t": before}),
            write_record(tmp_path / "after", {"t": after}),
        ]
    )


def test_items_of_two_runs_are_matched_by_content(tmp_path: Path) -> None:
    before = [Item("1", {"acc": 1.0}, question="x"), Item("2", {"acc": 0.0}, question="y")]
    after = [Item("other", {"acc": 1.0}, question="y"), Item("1", {"acc": 0.0}, question="x")]
    columns = pair(tmp_path, before, after).columns()
    assert columns["sample_id"] == ["1", "2"]
    assert (columns["value_0_0"], columns["value_1_0"]) == ([1.0, 0.0], [0.0, 1.0])


def test_a_row_that_occurs_twice_is_matched_in_order(tmp_path: Path) -> None:
    before = [Item("1", {"acc": 1.0}, question="x"), Item("2", {"acc": 0.0}, question="x")]
    after = [Item("1", {"acc": 0.0}, question="x"), Item("2", {"acc": 1.0}, question="x")]
    columns = pair(tmp_path, before, after).columns()
    assert (columns["value_0_0"], columns["value_1_0"]) == ([1.0, 0.0], [0.0, 1.0])


def test_what_only_one_run_has_is_absent_in_the_other(tmp_path: Path) -> None:
    items = pair(tmp_path, [Item("1", {"acc": 1.0})], [Item("2", {"acc": 1.0})])
    columns = items.columns()
    assert columns["sample_id"] == ["1", "2"]
    assert (columns["status_0"], columns["status_1"]) == ([0, None], [None, 0])
    assert [[side is None for side in item] for item in items.read()] == [
        [False, True],
        [True, False],
    ]


def test_items_that_were_asked_differently_are_marked(tmp_path: Path) -> None:
    before = [Item("1", {"acc": 1.0}, prompt="one way"), Item("2", {"acc": 1.0}, prompt="same")]
    after = [Item("1", {"acc": 1.0}, prompt="another"), Item("2", {"acc": 1.0}, prompt="same")]
    assert pair(tmp_path, before, after).columns()["alike"] == [False, True]


# -- faults ---------------------------------------------------------------------------------------


def test_a_killed_run_is_told_in_one_line(tmp_path: Path) -> None:
    run = write_record(tmp_path / "run", {"t": [Item("1", {"acc": 1.0})]})
    (run.path / "samples.parquet").unlink()
    with pytest.raises(UsageError, match=r"no samples\.parquet .*give its command again"):
        Items([run])


@pytest.mark.parametrize("name", ["samples.parquet", "scores.parquet"])
def test_a_broken_table_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    run = write_record(tmp_path / "run", {"t": [Item("1", {"acc": 1.0})]})
    (run.path / name).write_bytes(b"PAR1 no table PAR1")
    with pytest.raises(UsageError, match="cannot be read") as told:
        Items([Run(run.path)])
    assert "\n" not in str(told.value)


def test_hostile_records_are_read_whole(tmp_path: Path) -> None:
    rows = hostile_items()
    run = write_record(tmp_path / "run", {"t\u202e</script>": rows})
    items = Items([run])
    assert len(items) == len(rows)
    assert [len(item) for item in items.read()] == [1] * len(rows)
