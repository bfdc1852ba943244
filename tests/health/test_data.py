"""Rows that come twice, scores without spread, questions without an answer."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from llmeval.core import Score
from llmeval.health.counting import FrequentKeys
from tests.health.rows import choice, completion, examine


def test_copies_of_rows() -> None:
    rows = [choice(i, i % 3, i % 4, fields={"question": f"q{i % 90}"}) for i in range(100)]
    rows = [(replace(s, target=f"t{int(s.id) % 90}"), asked, scores) for s, asked, scores in rows]
    finding = examine(rows)["duplicate items"]
    assert (finding["count"], finding["n"]) == (10, 100)
    assert finding["examples"] == ["90", "91", "92", "93", "94"]


def test_equal_questions_with_other_answers_are_no_copies() -> None:
    rows = [choice(i, i % 3, i % 4, fields={"question": f"q{i // 4}"}) for i in range(100)]
    assert "duplicate items" not in examine(rows)


def test_all_wrong() -> None:
    rows = [completion(i, f"a{i}", f"t{i}") for i in range(30)]
    finding = examine(rows)["no spread"]
    assert finding["what"] == "every answer is wrong (exact_match 0; n 30)"


def test_all_right() -> None:
    rows = [completion(i, f"a{i}", f"a{i}") for i in range(30)]
    assert examine(rows)["no spread"]["what"].startswith("every answer is right")


def test_a_metric_with_spread_is_enough() -> None:
    rows = []
    for i in range(30):
        sample, asked, scores = completion(i, f"a{i}", f"t{i}")
        rows.append((sample, asked, [*scores, Score("f1", i / 30)]))
    assert "no spread" not in examine(rows)


def test_of_a_few_samples_all_may_be_right() -> None:
    assert not examine([completion(i, f"a{i}", f"a{i}") for i in range(19)])


def test_errored_samples_and_their_reason() -> None:
    rows = []
    for i in range(50):
        sample, asked, scores = completion(i, f"a{i}", f"a{i // 2 * 2}")
        if i % 10 == 0:
            reason = "the server said 500" if i else "no route to it"
            asked, scores = [], [Score("exact_match", None, "errored", reason)]
        rows.append((sample, asked, scores))
    finding = examine(rows)["questions without an answer"]
    assert finding["what"] == "5 of 50 samples errored, mostly: the server said 500"
    assert finding["severity"] == "error"


@given(st.lists(st.integers(0, 40)), st.integers(1, 8))
def test_frequent_keys_are_found_in_little_memory(keys: list[int], size: int) -> None:
    """Misra and Gries: what is counted is too little by n / (size + 1) at most."""
    counted: FrequentKeys[int] = FrequentKeys(size)
    for key in keys:
        counted.add(key)
    bound = len(keys) / (size + 1)
    for key in set(keys):
        if keys.count(key) > bound:
            assert key in counted
    top = counted.top()
    if top is not None:
        assert keys.count(top[0]) - bound <= top[1] <= keys.count(top[0])


def test_samples_without_a_score_are_found_for_baselines_too() -> None:
    lost = [Score("acc", None, "unscored", "not learned: no rows"), Score("f1", None, "unscored")]
    for count, severity in ((6, "warning"), (51, "error"), (100, "error")):
        rows = [choice(i, i % 4, i % 3) for i in range(100)]
        rows[:count] = [(sample, asked, lost) for sample, asked, _ in rows[:count]]
        for informed in (False, True):
            finding = examine(rows, informed=informed)["samples not scored"]
            assert (finding["severity"], finding["count"], finding["n"]) == (severity, count, 100)
            assert "mostly: not learned: no rows" in finding["what"]


def test_a_sample_that_one_metric_scored_is_scored() -> None:
    half = [Score("acc", 1.0), Score("f1", None, "unscored", "no such label")]
    rows = [(*choice(i, i % 4, i % 3)[:2], half) for i in range(100)]
    assert "samples not scored" not in examine(rows)


def test_answers_that_cannot_be_read_are_said_once() -> None:
    rows = [completion(i, f"a{i}", unread=True) for i in range(30)]
    found = examine(rows)
    assert "unreadable answers" in found
    assert "samples not scored" not in found
