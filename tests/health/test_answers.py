"""Answers of which nothing can be graded, and one answer to all questions."""

from __future__ import annotations

import pytest

from llmeval.core import Score
from tests.health.rows import completion, examine


def test_empty_answers() -> None:
    rows = [completion(i, "\n " if i % 10 == 0 else f"a{i}") for i in range(50)]
    finding = examine(rows)["empty answers"]
    assert (finding["what"], finding["severity"]) == ("5 of 50 answers are empty", "warning")
    assert finding["examples"] == ["0", "10", "20", "30", "40"]
    assert "stop string" in finding["mend"]


def test_mostly_empty_answers_are_grave() -> None:
    rows = [completion(i, "" if i % 4 else f"a{i}") for i in range(40)]
    assert examine(rows)["empty answers"]["severity"] == "error"


def test_an_empty_answer_that_is_wanted_is_none() -> None:
    rows = [completion(i, "" if i % 2 else f"a{i}", None if i % 2 else f"a{i}") for i in range(40)]
    rows = [
        (type(s)(**{**{n: getattr(s, n) for n in s.__slots__}, "target": s.target or ""}), a, b)
        for s, a, b in rows
    ]
    assert "empty answers" not in examine(rows)


def test_cut_answers_and_the_limit_that_cut_them() -> None:
    rows = [completion(i, f"a{i}", finish="length" if i % 4 == 0 else "stop") for i in range(40)]
    finding = examine(rows)["cut answers"]
    assert finding["what"] == "10 of 40 answers ended at the token limit of 64"
    assert "max_gen_toks" in finding["mend"]


def test_a_limit_of_some_tokens_is_meant_to_cut() -> None:
    rows = [completion(i, f"a{i}", finish="length", max_tokens=8) for i in range(40)]
    assert "cut answers" not in examine(rows)


@pytest.mark.parametrize("finish", ["content_filter", "tool_call"])
def test_withheld_answers(finish: str) -> None:
    rows = [completion(i, "" if i < 2 else f"a{i}", finish=finish if i < 2 else "stop")
            for i in range(40)]  # fmt: skip
    found = examine(rows)
    assert found["withheld answers"]["count"] == 2
    assert "empty answers" not in found


@pytest.mark.parametrize("how", ["unscored", "[invalid]"])
def test_answers_that_cannot_be_read(how: str) -> None:
    rows = [
        completion(i, f"well {i}", unread=lost and how == "unscored", value=float(i % 2),
                   extracted="[invalid]" if lost else "7")
        for i in range(60)
        for lost in [i % 6 == 0]
    ]  # fmt: skip
    finding = examine(rows)["unreadable answers"]
    assert finding["what"] == "exact_match: no answer could be read out of 10 of 60 completions"
    assert finding["examples"] == ["0", "6", "12", "18", "24"]


def test_a_filter_that_reads_less_than_another() -> None:
    rows = []
    for i in range(40):
        sample, asked, _ = completion(i, f"it is {i}", f"{i}")
        strict = Score("exact_match,strict", 0.0, extracted="[invalid]" if i % 2 else f"{i}")
        rows.append((sample, asked, [strict, Score("exact_match,flexible", 1.0, extracted=f"{i}")]))
    finding = examine(rows)["unreadable answers"]
    assert finding["what"].startswith("exact_match,strict: ")
    assert finding["mend"].startswith("exact_match,flexible finds something")


def test_empty_and_cut_answers_are_not_called_unreadable() -> None:
    rows = [
        completion(i, "" if i % 2 else "and so", finish="stop" if i % 2 else "length", unread=True)
        for i in range(40)
    ]
    assert "unreadable answers" not in examine(rows)


def test_one_answer_to_all_questions() -> None:
    rows = [completion(i, "As an AI, I" if i % 3 else f"a{i}", f"t{i}") for i in range(60)]
    finding = examine(rows)["identical answers"]
    assert finding["what"].startswith("the answer 'As an AI, I' was given 40 of 60 times")
    assert finding["severity"] == "error"


def test_a_long_answer_is_shown_by_its_beginning() -> None:
    rows = [completion(i, "no end " * 100, f"t{i}") for i in range(30)]
    what = examine(rows)["identical answers"]["what"]
    assert "no end no end" in what
    assert len(what) < 150


def test_the_most_frequent_target_may_be_answered_as_often() -> None:
    """Open answers of which seven in ten are 0."""
    rows = [completion(i, "0", "0" if i % 10 < 7 else f"t{i}") for i in range(100)]
    assert "identical answers" not in examine(rows)
