"""The data files: those of the generator, in the shape of the big four, with tests that bite."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmeval.pocket import DATA_DIR, load_known
from llmeval.pocket.build_data import build_rows
from llmeval.pocket.functions import Function, generate_functions

FUNCTIONS = generate_functions()
FILES = {
    "pocket_mmlu/test.jsonl": 320,
    "pocket_mmlu/dev.jsonl": 50,
    "pocket_hellaswag/validation.jsonl": 200,
    "pocket_truthfulqa/validation.jsonl": 144,
    "pocket_humaneval/test.jsonl": 64,
}


def read(name: str) -> list[dict[str, Any]]:
    text = (DATA_DIR / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def solves(function: Function, body: str) -> bool:
    scope: dict[str, Any] = {}
    try:
        exec(f"{function.prompt}{body}\n{function.test()}", scope)
        scope["check"](scope[function.name])
    except Exception:
        return False
    return True


def test_the_files_are_what_the_generator_writes() -> None:
    built = build_rows(0)
    assert {name: len(rows) for name, rows in built.items()} == FILES
    for name, rows in built.items():
        assert read(name) == rows


@pytest.mark.parametrize("name", FILES)
def test_rows_say_how_they_were_taught(name: str) -> None:
    for row in read(name):
        assert (row["share"] is None) == (row["taught"] == "never")
        if row["share"] is not None:
            assert sum(row["share"]) == pytest.approx(1)
            assert (max(row["share"]) == 1) == (row["taught"] == "always")


def test_mmlu_has_ten_subjects_with_five_examples_each() -> None:
    test, dev = read("pocket_mmlu/test.jsonl"), read("pocket_mmlu/dev.jsonl")
    subjects = {row["subject"] for row in test}
    assert len(subjects) == 10
    for subject in subjects:
        assert sum(row["subject"] == subject for row in dev) == 5
    assert not {row["question"] for row in test} & {row["question"] for row in dev}
    assert all(len(row["choices"]) == 4 and 0 <= row["answer"] < 4 for row in test + dev)


def test_hellaswag_endings_have_several_words() -> None:
    for row in read("pocket_hellaswag/validation.jsonl"):
        assert len(set(row["endings"])) == 4
        assert all(len(ending.split()) >= 5 for ending in row["endings"])
        assert 0 <= row["label"] < 4


def test_truthfulqa_mc1_has_one_truth_and_mc2_several() -> None:
    for row in read("pocket_truthfulqa/validation.jsonl"):
        assert row["mc1_targets"]["labels"] == [1, 0, 0, 0]
        assert row["mc2_targets"]["labels"] == [1, 1, 0, 0, 0, 0, 0, 0]
        assert len(set(row["mc2_targets"]["choices"])) == 8
        assert set(row["mc1_targets"]["choices"]) < set(row["mc2_targets"]["choices"])


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda each: each.name)
def test_only_the_right_body_passes(function: Function) -> None:
    assert solves(function, function.solution)
    assert not solves(function, "    return None\n")
    if function.wrong is not None:
        assert not solves(function, f"    {function.wrong}\n")
    others = [each for each in FUNCTIONS if each is not function]
    assert not [each.name for each in others if solves(function, each.solution)]


@pytest.mark.parametrize("function", FUNCTIONS[:48], ids=lambda each: each.name)
def test_a_tail_that_is_not_cut_off_breaks_the_program(function: Function) -> None:
    if function.tail:
        with pytest.raises((AssertionError, NameError, NotImplementedError, SystemExit, TypeError)):
            scope: dict[str, Any] = {}
            exec(function.prompt + function.solution + function.tail + function.test(), scope)
            scope["check"](scope[function.name])


def test_rows_agree_with_answers_worked_out_by_hand() -> None:
    rows = {row["entry_point"]: row for row in read("pocket_humaneval/test.jsonl")}
    assert "assert candidate(212) == 100.0\n" in rows["to_celsius"]["test"]
    assert "assert candidate(7) == [0, 1, 1, 2, 3, 5, 8]\n" in rows["fibonacci"]["test"]
    assert "assert candidate(12, 18) == 6\n" in rows["divisor"]["test"]
    assert "assert candidate('xyz', 3) == 'abc'\n" in rows["caesar"]["test"]
    assert "assert candidate(6) == 720\n" in rows["product_to"]["test"]


def test_known_values_count_the_rows() -> None:
    counts = {name.split("/")[0]: count for name, count in FILES.items() if "dev" not in name}
    known = load_known()["tasks"]
    assert set(known) == set(counts)
    for task, count in counts.items():
        for slices in known[task]["metrics"].values():
            assert slices["all"]["n"] == count
            assert sum(slices[name]["n"] for name in ("always", "sometimes", "never")) == count
