"""Measure the pocket model with a plain transformers loop and write known.json.

``python -m llmeval.pocket.measure --model DIR --data DIR --out known.json``. No code of the
harness is used here, so that the harness can be checked against it: one sequence at a time,
float32, no cache, no padding. Metrics are lm-eval's: ``acc`` takes the choice with the greatest
summed log-probability, ``acc_norm`` divides it by the choice's length in characters, ``mc2`` is
the normalised probability mass of the true choices.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmeval.pocket.design import bounds, expected, true_choice
from llmeval.pocket.functions import STOP
from llmeval.pocket.train import hash_file

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_NEW_TOKENS = 96
TEST_SECONDS = 10
SLICES = ("always", "sometimes", "never")
Row = dict[str, Any]


@dataclass(frozen=True)
class Scored:
    """Summed log-probability (nats) of a continuation, and whether greedy decoding gives it."""

    logprob: float
    is_greedy: bool
    num_tokens: int


class PlainModel:
    """A checkpoint with nothing around it. No BOS, except that an empty context is one BOS."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
        self.model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32
        )

    def encode(self, text: str) -> list[int]:
        """Tokenize without special tokens."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def score(self, context: str, continuation: str) -> Scored:
        """Return the log-probability of ``continuation`` after ``context``."""
        import torch

        prefix = self.encode(context) or [self.tokenizer.bos_token_id]
        target = self.encode(context + continuation)[len(self.encode(context)) :]
        with torch.inference_mode():
            logits = self.model(torch.tensor([prefix + target])).logits[0]
        logprobs = logits[len(prefix) - 1 : -1].float().log_softmax(-1)
        wanted = torch.tensor(target)
        total = logprobs.gather(1, wanted[:, None]).double().sum().item()
        return Scored(total, bool((logprobs.argmax(-1) == wanted).all()), len(target))

    def generate(self, prompt: str, stop: Sequence[str]) -> str:
        """Decode greedily until EOS or a stop string, which is cut off with all that follows."""
        import torch

        ids = self.encode(prompt)
        start = len(ids)
        for _ in range(MAX_NEW_TOKENS):
            with torch.inference_mode():
                token = int(self.model(torch.tensor([ids])).logits[0, -1].argmax())
            if token == self.tokenizer.eos_token_id:
                break
            ids.append(token)
            text = str(self.tokenizer.decode(ids[start:]))
            cuts = [text.index(mark) for mark in stop if mark in text]
            if cuts:
                return text[: min(cuts)]
        return str(self.tokenizer.decode(ids[start:]))


def choice_prompt(task: str, row: Row) -> tuple[str, list[str]]:
    """Return the context and the choices of a row; a continuation is a space and a choice."""
    if task == "pocket_mmlu":
        return f"Question: {row['question']}\nAnswer:", row["choices"]
    if task == "pocket_hellaswag":
        return row["ctx"], row["endings"]
    texts = row["mc1_targets"]["choices"] + row["mc2_targets"]["choices"]
    return f"Q: {row['question']}\nA:", texts


def normalise(logprobs: Sequence[float]) -> list[float]:
    """Return probabilities that sum to one over the given log-probabilities."""
    top = max(logprobs)
    weights = [math.exp(value - top) for value in logprobs]
    return [weight / sum(weights) for weight in weights]


def measure_row(model: PlainModel, task: str, row: Row) -> Row:
    """Return metrics of one row and the normalised probabilities of its (mc1) choices."""
    context, texts = choice_prompt(task, row)
    logprobs = [model.score(context, f" {text}").logprob for text in texts]
    if task == "pocket_truthfulqa":
        size = len(row["mc1_targets"]["choices"])
        mass = normalise(logprobs[size:])
        true = [p for p, label in zip(mass, row["mc2_targets"]["labels"], strict=True) if label]
        metrics = {"mc1": float(_argmax(logprobs[:size]) == 0), "mc2": sum(true)}
        return {"metrics": metrics, "probabilities": normalise(logprobs[:size])}
    answer = true_choice(task, row)
    per_character = [value / len(text) for value, text in zip(logprobs, texts, strict=True)]
    metrics = {
        "acc": float(_argmax(logprobs) == answer),
        "acc_norm": float(_argmax(per_character) == answer),
    }
    return {"metrics": metrics, "probabilities": normalise(logprobs)}


def _argmax(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def passes(row: Row, completion: str) -> bool:
    """Run a completion against the row's test in a Python process of its own.

    Only for texts of the pocket model, which writes nothing but what it was trained on: this is
    no sandbox.
    """
    program = f"{row['prompt']}{completion}\n{row['test']}\ncheck({row['entry_point']})\n"
    command = [sys.executable, "-I", "-S", "-c", program]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TEST_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def measure_choices(model: PlainModel, task: str, rows: list[Row]) -> Row:
    """Return metrics by slice and the calibration of a choice task."""
    results = [measure_row(model, task, row) for row in rows]
    names = list(results[0]["metrics"])
    return {
        "metrics": {
            name: _by_slice(task, name, rows, [result["metrics"][name] for result in results])
            for name in names
        },
        "calibration": _calibration(rows, results),
    }


def measure_functions(model: PlainModel, rows: list[Row]) -> Row:
    """Return greedy pass@1 by slice, the ids that pass, and the greedy texts."""
    texts = {row["task_id"]: model.generate(row["prompt"], STOP) for row in rows}
    passed = [row["task_id"] for row in rows if passes(row, texts[row["task_id"]])]
    values = [float(row["task_id"] in passed) for row in rows]
    slices = _by_slice("pocket_humaneval", "pass@1", rows, values)
    return {"metrics": {"pass@1": slices}, "passed": passed, "greedy": texts}


def _by_slice(task: str, metric: str, rows: list[Row], values: list[float]) -> Row:
    table = {}
    for name in (*SLICES, "all"):
        part = [
            (row, value)
            for row, value in zip(rows, values, strict=True)
            if name in (row["taught"], "all")
        ]
        members = [row for row, _ in part]
        table[name] = {
            "n": len(part),
            "design": round(expected(task, metric, members), 6),
            "bounds": bounds(task, metric, members),
            "measured": round(sum(value for _, value in part) / len(part), 6),
        }
    return table


def _calibration(rows: list[Row], results: list[Row]) -> Row:
    """Compare normalised probabilities with the shares that training stated."""
    by_share: dict[float, list[float]] = {}
    errors: list[float] = []
    for row, result in zip(rows, results, strict=True):
        if row["taught"] == "sometimes":
            for share, probability in zip(row["share"], result["probabilities"], strict=True):
                by_share.setdefault(share, []).append(probability)
                errors.append(abs(share - probability))
    return {
        "shares": {
            str(share): {"n": len(got), "mean_probability": round(sum(got) / len(got), 4)}
            for share, got in sorted(by_share.items())
        },
        "mean_absolute_error": round(sum(errors) / len(errors), 4),
        "mean_confidence": {
            name: round(
                _mean(max(result["probabilities"]) for result in _of(name, rows, results)), 4
            )
            for name in SLICES
        },
    }


def _of(name: str, rows: list[Row], results: list[Row]) -> list[Row]:
    return [result for row, result in zip(rows, results, strict=True) if row["taught"] == name]


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


def probe_pairs(data: dict[str, list[Row]], seed: int) -> list[tuple[str, str, str]]:
    """Return (task, context, continuation) of the probe: all tasks, all slices, and edges."""
    rng = random.Random(f"probe {seed}")
    pairs = []
    for task in ("pocket_mmlu", "pocket_hellaswag", "pocket_truthfulqa"):
        for taught in SLICES:
            members = [row for row in data[task] if row["taught"] == taught]
            true, other = rng.sample(members, 2)
            context, texts = choice_prompt(task, true)
            pairs.append((task, context, f" {texts[true_choice(task, true)]}"))
            context, texts = choice_prompt(task, other)
            pairs.append((task, context, f" {rng.choice(texts)}"))
    for taught in SLICES:
        row = rng.choice([row for row in data["pocket_humaneval"] if row["taught"] == taught])
        # Blanks at the end of a context belong to the continuation, as lm-eval has it.
        prompt = row["prompt"].rstrip()
        rest = row["prompt"][len(prompt) :] + row["canonical_solution"]
        pairs.append(("pocket_humaneval", prompt, rest))
    shots = [choice_prompt("pocket_mmlu", row) for row in data["pocket_mmlu"][:2]]
    first = data["pocket_mmlu"][0]
    solved = f"{shots[0][0]} {shots[0][1][true_choice('pocket_mmlu', first)]}\n\n{shots[1][0]}"
    pairs.append(("few-shot", solved, f" {shots[1][1][0]}"))
    pairs.append(("empty context", "", shots[0][0]))
    pairs.append(("unicode", "Question: Où est Ærø?\nAnswer:", " 北 🌙"))
    return pairs


def measure(folder: Path, data_folder: Path, seed: int) -> dict[str, Any]:
    """Return everything that known.json holds."""
    import torch

    torch.set_num_threads(1)  # threads only wait for each other in passes as small as these
    model = PlainModel(folder)
    data = {path.parent.name: read_rows(path) for path in data_folder.glob("*/*.jsonl")
            if path.stem != "dev"}  # fmt: skip
    tasks = {
        task: measure_choices(model, task, data[task])
        for task in ("pocket_mmlu", "pocket_hellaswag", "pocket_truthfulqa")
    }
    tasks["pocket_humaneval"] = measure_functions(model, data["pocket_humaneval"])
    return {
        "model_sha256": hash_file(folder / "model.safetensors"),
        "seed": seed,
        "tasks": tasks,
        "probe": [probe_row(model, *pair) for pair in probe_pairs(data, seed)],
    }


def probe_row(model: PlainModel, task: str, context: str, continuation: str) -> Row:
    """Return one row of the probe; log-probabilities in nats."""
    scored = model.score(context, continuation)
    return {
        "task": task,
        "context": context,
        "continuation": continuation,
        "logprob": round(scored.logprob, 5),
        "is_greedy": scored.is_greedy,
        "num_tokens": scored.num_tokens,
    }


def read_rows(path: Path) -> list[Row]:
    """Read one JSON object a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Command line of the measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--data", type=Path, required=True, help="data folder")
    parser.add_argument("--out", type=Path, required=True, help="file to write: known.json")
    parser.add_argument("--seed", type=int, default=0, help="which rows stand in the probe")
    arguments = parser.parse_args()
    known = measure(arguments.model, arguments.data, arguments.seed)
    text = json.dumps(known, indent=1, ensure_ascii=False) + "\n"
    arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
