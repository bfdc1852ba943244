"""The committed checkpoint: small, loadable offline, and what known.json says it is."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from llmeval.pocket import DATA_DIR, MODEL_DIR, load_known

pytest.importorskip("torch")
pytest.importorskip("transformers")

from llmeval.pocket.corpus import CHAT_TEMPLATE
from llmeval.pocket.functions import STOP
from llmeval.pocket.measure import PlainModel, measure_choices, passes, read_rows
from llmeval.pocket.train import hash_file

KNOWN = load_known()
METRICS = [
    (task, metric, name)
    for task, entry in KNOWN["tasks"].items()
    for metric, slices in entry["metrics"].items()
    for name in slices
]


@cache
def plain() -> PlainModel:
    return PlainModel(MODEL_DIR)


def test_model_and_room_are_small() -> None:
    def size(folder: Path) -> int:
        files = [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
        return sum(path.stat().st_size for path in files if path.is_file())

    assert size(MODEL_DIR) <= 8e6
    assert size(MODEL_DIR.parent) <= 9e6


def test_known_values_and_training_figures_are_of_this_checkpoint() -> None:
    digest = hash_file(MODEL_DIR / "model.safetensors")
    figures = json.loads((MODEL_DIR / "training.json").read_text(encoding="utf-8"))
    assert KNOWN["model_sha256"] == figures["sha256"] == digest


@pytest.mark.parametrize("row", KNOWN["probe"], ids=lambda row: row["task"])
def test_probe_is_reproduced(row: dict[str, Any]) -> None:
    scored = plain().score(row["context"], row["continuation"])
    assert scored.logprob == pytest.approx(row["logprob"], abs=1e-3)
    assert scored.is_greedy is row["is_greedy"]
    assert scored.num_tokens == row["num_tokens"]


def test_probe_holds_every_task_and_both_greedy_values() -> None:
    assert {row["task"] for row in KNOWN["probe"]} >= set(KNOWN["tasks"])
    assert {row["is_greedy"] for row in KNOWN["probe"]} == {True, False}


@pytest.mark.parametrize(("task", "metric", "name"), METRICS)
def test_measured_values_keep_to_the_design(task: str, metric: str, name: str) -> None:
    entry = KNOWN["tasks"][task]["metrics"][metric][name]
    low, high = entry["bounds"]
    assert low <= entry["design"] <= high
    assert low <= entry["measured"] <= high


@pytest.mark.parametrize("task", ["pocket_mmlu", "pocket_hellaswag", "pocket_truthfulqa"])
def test_stated_shares_are_the_model_s_probabilities(task: str) -> None:
    calibration = KNOWN["tasks"][task]["calibration"]
    for share, got in calibration["shares"].items():
        assert got["mean_probability"] == pytest.approx(float(share), abs=0.06)


@pytest.mark.parametrize("task", ["pocket_mmlu", "pocket_hellaswag", "pocket_truthfulqa"])
def test_a_fresh_measurement_keeps_to_the_design(task: str) -> None:
    path = next(path for path in (DATA_DIR / task).iterdir() if path.stem != "dev")
    rows = read_rows(path)[::3]
    for slices in measure_choices(plain(), task, rows)["metrics"].values():
        assert slices["always"]["measured"] >= 0.95
        low, high = slices["never"]["bounds"]
        assert low <= slices["never"]["measured"] <= high
        wanted = slices["sometimes"]["design"]
        assert slices["sometimes"]["measured"] == pytest.approx(wanted, abs=0.05)


@pytest.mark.parametrize("number", [0, 8, 9, 33, 34, 48])
def test_greedy_functions_pass_as_recorded(number: int) -> None:
    row = read_rows(DATA_DIR / "pocket_humaneval" / "test.jsonl")[number]
    text = plain().generate(row["prompt"], STOP)
    entry = KNOWN["tasks"]["pocket_humaneval"]
    assert text == entry["greedy"][row["task_id"]]
    assert passes(row, text) is (row["task_id"] in entry["passed"])


def test_tokenizer_adds_nothing_and_brings_a_chat_template() -> None:
    tokenizer = plain().tokenizer
    assert tokenizer.bos_token_id is not None
    assert tokenizer.eos_token_id not in (None, tokenizer.bos_token_id)
    text = "def f(x):\n    return x\n\n\tnaïve 北"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    messages = [{"role": "user", "content": "Question: Who?\nAnswer:"}]
    rendered = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert rendered == "<|user|>Question: Who?\nAnswer:<|assistant|>"
    assert tokenizer.chat_template == CHAT_TEMPLATE


def test_room_imports_without_torch() -> None:
    import subprocess
    import sys

    code = "import sys, llmeval.pocket as p; p.load_known(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
