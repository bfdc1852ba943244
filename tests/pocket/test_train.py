"""The trainer, with a recipe small enough for a test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from llmeval.pocket.measure import PlainModel
from llmeval.pocket.train import Recipe, Row, learning_rate, plan_batches, train

TINY = Recipe(
    cycles=1,
    batch_tokens=512,
    hidden=16,
    layers=1,
    heads=2,
    key_value_heads=1,
    intermediate=32,
    threads=1,
    max_steps=3,
)


def test_equal_seeds_give_equal_weights(tmp_path: Path) -> None:
    first = train(tmp_path / "a", 5, TINY)
    again = train(tmp_path / "b", 5, TINY)
    other = train(tmp_path / "c", 6, TINY)
    assert first["sha256"] == again["sha256"] != other["sha256"]
    for name in ("tokenizer.json", "config.json", "generation_config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_trained_folder_loads_and_scores(tmp_path: Path) -> None:
    figures = train(tmp_path, 0, TINY)
    assert json.loads((tmp_path / "training.json").read_text(encoding="utf-8")) == figures
    assert PlainModel(tmp_path).score("Question:", " What").logprob < 0


def test_batches_hold_every_row_once_within_the_budget() -> None:
    import random

    rows = [Row((number,) * (number % 37 + 1), ()) for number in range(300)]
    batches = plan_batches(rows, 64, random.Random(0))
    assert sorted(row.ids for batch in batches for row in batch) == sorted(row.ids for row in rows)
    assert all(len(batch) * max(len(row.ids) for row in batch) <= 64 for batch in batches)


def test_learning_rate_warms_up_and_ends_at_zero() -> None:
    recipe = Recipe(learning_rate=1.0, warmup=0.1)
    assert learning_rate(recipe, 0.0) < 0.02
    assert learning_rate(recipe, 0.1) == pytest.approx(1.0)
    assert learning_rate(recipe, 0.55) == pytest.approx(0.5)
    assert learning_rate(recipe, 1.0) == pytest.approx(0.0)
