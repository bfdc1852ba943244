"""The line about what a baseline learned."""

from __future__ import annotations

from typing import Any

from llmeval.cli.training import describe_training

ONE: dict[str, Any] = {
    "rows": 50_000,
    "seconds": 1.26,
    "bytes": 4_241_492,
    "terms": 85_825,
    "evaluated": 872,
    "evaluated_in_training": 0,
}


def test_one_task() -> None:
    line = "from 50,000 rows in 1.3 s; 4.2 MB, 85,825 terms"
    assert describe_training({"sst2": ONE}) == line
    known = {**ONE, "evaluated_in_training": 5, "bytes": 9_960}
    assert describe_training({"sst2": known}) == (
        "from 50,000 rows in 1.3 s; 10.0 kB, 85,825 terms; 5 of 872 evaluated rows were among them"
    )


def test_several_tasks_are_summed_and_what_was_not_learned_is_no_part() -> None:
    tasks = {"a": ONE, "b": ONE, "c": {"not_learned": "no rows"}}
    assert describe_training(tasks).startswith("from 100,000 rows of 2 tasks in 2.5 s; 8.5 MB")


def test_nothing_learned_is_nothing_said() -> None:
    assert describe_training({}) == ""
    assert describe_training({"c": {"not_learned": "no rows"}}) == ""
