"""Worse than guessing, in a task or in a part of it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from llmeval.health.counting import few, many
from tests.health.rows import at_random, choice, completion, examine, guesses, mostly_right


@given(st.integers(1, 300), st.data())
def test_tails_are_those_of_the_binomial_distribution(n: int, data: st.DataObject) -> None:
    k, p = data.draw(st.integers(0, n)), data.draw(st.floats(0.01, 0.99))
    assert few(k, n, p) == pytest.approx(stats.binom.cdf(k, n, p), abs=1e-12)
    assert many(k, n, p) == pytest.approx(stats.binom.sf(k - 1, n, p), abs=1e-12)


def test_labels_shifted_by_one() -> None:
    """A model that is right in most cases, held to the next choice."""
    rows = guesses(0, 200, lambda draw, right: (mostly_right(draw, right) + 1) % 4)
    finding = examine(rows)["below chance"]
    assert finding["severity"] == "error"
    assert "below the 0.250 of guessing" in finding["what"]
    assert finding["n"] == 200


def test_labels_shifted_in_one_subject() -> None:
    def shift(row: tuple[Any, ...]) -> tuple[Any, ...]:
        sample = row[0]
        if sample.metadata["subject"] != "s3":
            return row
        right = (sample.gold.right[0] + 1) % 4
        pick = max(range(4), key=lambda i: row[1][i][1].logprob)
        return choice(int(sample.id), pick, right, metadata=sample.metadata)

    def always_right(draw: random.Random, right: int) -> int:
        return right if draw.random() < 0.9 else draw.randrange(4)

    found = examine([shift(row) for row in guesses(0, 400, always_right)])
    finding = found["a part below chance"]
    assert "worse than guessing in subject=s3: " in finding["what"]
    assert set(finding["examples"]) <= {str(i) for i in range(3, 400, 8)}
    assert "below chance" not in found


def test_wrong_answers_to_one_passage() -> None:
    rows = [
        choice(i, (i + (passage == 7)) % 4, i % 4, cluster=f"passage {passage}")
        for i in range(400)
        for passage in [i // 40]
    ]
    assert "cluster=passage 7" in examine(rows)["a part below chance"]["what"]


def test_one_bad_part_accuses_no_other() -> None:
    """57 subjects of 250 rows of one who guesses; chance puts some of them below 0.18."""
    rnd = random.Random(1)
    rows = []
    for i in range(57 * 250):
        right = rnd.randrange(4)
        pick = rnd.randrange(4) if i % 57 else (right + 1) % 4
        rows.append(choice(i, pick, right, metadata={"subject": f"s{i % 57}"}))
    what = examine(rows)["a part below chance"]["what"]
    assert what == "worse than guessing in subject=s0: 0 of 250 right, guessing gives 0.250"


def test_parts_are_read_off_the_row_where_a_task_names_none() -> None:
    rows = [
        choice(i, (i + (i % 5 == 0)) % 4, i % 4, fields={"n": i, "category": f"c{i % 5}"})
        for i in range(300)
    ]
    assert "category=c0" in examine(rows)["a part below chance"]["what"]


def test_always_saying_no_where_yes_is_frequent_is_a_habit_and_no_wrong_key() -> None:
    rows = [choice(i, 0, int(i % 10 < 7), choices=["no", "yes"]) for i in range(200)]
    found = examine(rows)
    assert "below chance" not in found
    assert found["one answer favoured"]["severity"] == "error"


def test_a_little_below_chance_is_chance() -> None:
    """23.5% of 20,000 is significant, and says nothing of labels."""
    rows = [choice(i, i % 4 if i % 1000 < 235 else (i + 1) % 4, i % 4) for i in range(20_000)]
    assert "below chance" not in examine(rows)


def test_a_level_that_the_task_declares_counts() -> None:
    rows = [completion(i, "x", f"{i}") for i in range(40)]
    found = examine(rows, chance={"exact_match": 0.5})
    assert "below the 0.500 of guessing" in found["below chance"]["what"]


def test_values_that_are_no_shares_are_not_tested() -> None:
    rows = [completion(i, f"a{i}", value=0.01 * (i % 7)) for i in range(100)]
    assert "below chance" not in examine(rows, chance={"exact_match": 0.5})


def test_a_field_that_names_rows_makes_no_parts() -> None:
    rows = [choice(i, (i + 1) % 4, i % 4, metadata={"id": f"row {i}"}) for i in range(600)]
    assert "a part below chance" not in examine(rows)


def test_guessing_is_at_chance() -> None:
    assert not examine(guesses(1, 1000, at_random))
