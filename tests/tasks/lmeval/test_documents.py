"""``process_docs`` on part of the rows gives those rows exactly, or all rows are processed."""

from __future__ import annotations

from typing import Any

import datasets
import pytest

from llmeval.core import UsageError
from llmeval.tasks.lmeval.documents import is_row_wise, process_once


def make_dataset(n: int) -> Any:
    # Integers first and a fraction late: types are inferred from the rows that are written first.
    rows = [{"i": i, "x": 0.5 if i == n - 1 else float(i)} for i in range(n)]
    return datasets.Dataset.from_list(rows, split=datasets.NamedSplit("test"))


calls: list[int] = []


def doubles(dataset: Any) -> Any:
    """Double."""

    def _double(doc: dict[str, Any]) -> dict[str, Any]:
        calls.append(doc["i"])
        return {"double": 2 * doc["i"], "mixed": doc["i"] if doc["i"] < 999 else doc["x"]}

    return dataset.map(_double)


def shuffles(dataset: Any) -> Any:
    return dataset.shuffle(seed=3)


def maps_batches(dataset: Any) -> Any:
    def _batch(docs: dict[str, Any]) -> dict[str, Any]:
        return {"n": [len(docs["i"])] * len(docs["i"])}

    return dataset.map(_batch, batched=True)


def knows_the_length(dataset: Any) -> Any:
    def _share(doc: dict[str, Any]) -> dict[str, Any]:
        return {"share": doc["i"] / len(dataset)}

    return dataset.map(_share)


def maps_and_filters(dataset: Any) -> Any:
    def _same(doc: dict[str, Any]) -> dict[str, Any]:
        return doc

    return dataset.map(_same).filter(lambda doc: doc["i"] > 1100)


@pytest.mark.parametrize("limit", [5, 1001])
def test_a_limited_run_maps_few_rows_to_the_same_values(limit: int) -> None:
    dataset = make_dataset(2500)
    whole = process_once(doubles, "test", None)(dataset)
    calls.clear()
    part = process_once(doubles, "test", limit)(dataset)
    assert len(calls) == len(part) == max(limit, 1000)
    assert part[:limit] == whole[:limit]
    assert part.features == whole.features
    assert [type(v) for v in part[:limit]["mixed"]] == [type(v) for v in whole[:limit]["mixed"]]


@pytest.mark.parametrize("process", [shuffles, maps_batches, knows_the_length, maps_and_filters])
def test_what_is_not_row_wise_sees_every_row(process: Any) -> None:
    dataset = make_dataset(1200)
    assert not is_row_wise(process)
    limited = process_once(process, "test", 3)(dataset)
    assert limited[:3] == process_once(process, "test", None)(dataset)[:3]


def test_row_wise_is_told_by_the_text() -> None:
    from lm_eval.tasks.hellaswag.utils import process_docs as hellaswag

    assert is_row_wise(doubles)
    assert is_row_wise(hellaswag)
    assert not is_row_wise(lambda dataset: dataset.map(dict))
    assert not is_row_wise(len)


def test_other_splits_are_processed_whole() -> None:
    calls.clear()
    process_once(doubles, "validation", 3)(make_dataset(1100))
    process_once(doubles, None, 3)(make_dataset(1100))
    assert len(calls) == 2200


def test_a_split_is_processed_once() -> None:
    calls.clear()
    process = process_once(doubles, None, None)
    dataset = make_dataset(10)
    assert process(dataset) is process(dataset)
    assert len(calls) == 10


def test_no_rows_left_is_an_error() -> None:
    with pytest.raises(UsageError, match="no row"):
        process_once(lambda dataset: dataset.select([]), None, None)(make_dataset(3))
