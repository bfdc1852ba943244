"""What holds of any two runs, whatever their scores."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.reports.compare.flips import end_of_prompt, find_flips, read_answer
from llmeval.reports.compare.measures import measure_group, measure_task
from llmeval.reports.compare.pairs import Pairs
from llmeval.reports.compare.rows import decide, make_row

SCORES = st.sampled_from([0.0, 1.0]) | st.floats(0, 1, allow_subnormal=False)
ROWS = st.lists(st.tuples(SCORES, SCORES, st.integers(0, 9)), min_size=1, max_size=30)


def pairs_of(rows: list[tuple[float, float, int]], *, clustered: bool = False) -> Pairs:
    values = np.array([row[:2] for row in rows], dtype=float).T
    names = np.array([[f"q{i}" for i in range(len(rows))]] * 2, dtype=object)
    whole = {"value": None, "higher_is_better": True}
    return Pairs(
        task="t",
        metric="acc",
        aggregation="mean",
        higher_is_better=True,
        values=values,
        sums=None,
        clusters=np.array([row[2] for row in rows]) if clustered else None,
        sample_ids=names,
        excluded=(),
        asked_otherwise=0,
        whole=(whole, whole),
    )


@given(ROWS, st.booleans())
def test_exchanging_the_runs_turns_the_difference_around(
    rows: list[tuple[float, float, int]], clustered: bool
) -> None:
    pairs = pairs_of(rows, clustered=clustered)
    turned = replace(pairs, values=pairs.values[::-1])
    there, back = measure_task(pairs), measure_task(turned)
    assert there.difference.value == pytest.approx(-(back.difference.value or 0))
    assert there.p == pytest.approx(back.p) if there.p is not None else back.p is None
    if there.difference.ci95 and back.difference.ci95:
        low, high = back.difference.ci95
        assert there.difference.ci95 == pytest.approx((-high, -low), abs=1e-9)


@given(ROWS, st.booleans(), st.booleans())
def test_every_row_has_a_verdict_with_a_reason_and_no_odd_number(
    rows: list[tuple[float, float, int]], clustered: bool, higher: bool
) -> None:
    pairs = replace(pairs_of(rows, clustered=clustered), higher_is_better=higher)
    measure = measure_task(pairs)
    assert measure.values is not None
    flips, _ = find_flips([pairs], measure.values, examples=1)
    (row,) = decide([make_row("t", [pairs], measure, flips, across=False)])
    assert row.why
    assert row.test.p is None or 0 < row.test.p <= 1
    assert row.mde is None or row.mde > 0
    if row.verdict in ("better", "worse"):
        assert row.difference.value is not None
        assert (row.verdict == "better") == ((row.difference.value > 0) == higher)
        assert (flips.gained if row.verdict == "better" else flips.lost) > 0


@given(ROWS, ROWS)
def test_a_pool_of_two_tasks_is_the_task_of_both(
    first: list[tuple[float, float, int]], second: list[tuple[float, float, int]]
) -> None:
    group = measure_group([pairs_of(first), pairs_of(second)], weight_by_size=True)
    both = measure_task(pairs_of(first + second))
    assert group.difference == both.difference
    assert group.p == both.p
    assert group.baseline.value == pytest.approx(both.baseline.value)


@given(ROWS)
def test_an_unweighted_group_of_one_task_is_that_task(
    rows: list[tuple[float, float, int]],
) -> None:
    group = measure_group([pairs_of(rows)], weight_by_size=False)
    alone = measure_task(pairs_of(rows))
    assert group.difference.value == pytest.approx(alone.difference.value)
    if alone.difference.stderr is not None and len(rows) > 1:
        assert group.difference.stderr == pytest.approx(alone.difference.stderr)


def test_what_was_answered() -> None:
    def exchange(request: dict[str, object], response: dict[str, object]) -> dict[str, object]:
        return {"request": request, "response": response}

    choices = [
        exchange(
            {"kind": "loglikelihood", "rest": [text]}, {"kind": "loglikelihood", "logprob": logprob}
        )
        for text, logprob in ((" a", -3.0), (" b", -1.0), (" c", None))
    ]
    assert read_answer(json.dumps(choices), choices=True) == " b"
    assert read_answer(json.dumps(choices), choices=False) is None
    said = [
        exchange({"kind": "generate", "rest": []}, {"kind": "generation", "text": text})
        for text in ("first", "last")
    ]
    assert read_answer(json.dumps(said), choices=True) == "last"
    failed = [exchange({"kind": "generate"}, {"kind": "failure", "reason": "timeout"})]
    assert read_answer(json.dumps(failed), choices=True) is None
    assert read_answer(None, choices=True) is None


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        ("short", "short"),
        ("a long question?", "…question?"),
        ("[[0, 1], [2]]", "… 1], [2]]"),
        ('[["user", "hello"]]', "…er: hello"),
        (None, None),
    ],
)
def test_the_end_of_a_prompt(prompt: str | None, shown: str | None) -> None:
    found = end_of_prompt(prompt, 9)
    assert found == shown
