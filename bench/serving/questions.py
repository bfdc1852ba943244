"""The questions, the files that tell each harness of them, and what the mock answers."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.serving.bare import LETTERS, read_prompts
from tests.support.mock_openai import chat, completions
from tests.support.mock_openai.language import PIECE, encode
from tests.support.mock_openai.options import Options

MODEL = "mock-model"

_NOUNS = (
    "river stone window letter garden number island market winter bridge copper signal forest"
    " pencil engine valley ribbon anchor barrel candle"
)
_WORDS = _NOUNS.split()
_OPTIONS = (f"{letter}. {{{{choices[{i}]}}}}" for i, letter in enumerate(LETTERS))
_PROMPT = "\n".join(["{{question}}", *_OPTIONS, "Answer with one letter."])


def write_questions(path: Path, count: int) -> None:
    """Write so many questions of four choices, always the same."""
    draw = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for i in range(count):
            words = " ".join(draw.choices(_WORDS, k=12))
            row = {
                "id": f"q{i}",
                "question": f"Case {i}: a {words}. Which word belongs to it?",
                "choices": draw.sample(_WORDS, 4),
                "answer": draw.choice(LETTERS),
            }
            file.write(json.dumps(row) + "\n")


def expect_accuracy(path: Path, count: int, kind: str) -> float:
    """Return the accuracy of what the mock's language says, found without a server.

    Args:
        kind: ``chat`` and ``completions`` have a letter written, ``choice`` has the likeliest of
            four continuations.
    """
    rows = list(read_prompts(path, count))
    return sum(_said(row["prompt"], kind) == row["answer"] for row in rows) / len(rows)


def _said(prompt: str, kind: str) -> str:
    body: dict[str, Any] = {"model": MODEL, "temperature": 0, "max_tokens": 8}
    if kind == "chat":
        body["messages"] = [{"role": "user", "content": prompt}]
        reply = chat.answer(body, Options(), "")
        return str(reply["choices"][0]["message"]["content"]).strip()
    if kind == "completions":
        reply = completions.answer({**body, "prompt": prompt}, Options(), "")
        return str(reply["choices"][0]["text"]).strip()
    echo = {**body, "max_tokens": 0, "logprobs": 1, "echo": True}
    scores = [
        completions.answer({**echo, "prompt": f"{prompt} {letter}"}, Options(), "")["choices"][0]
        for letter in LETTERS
    ]
    found = [each["logprobs"]["token_logprobs"][-1] for each in scores]
    return LETTERS[found.index(max(found))]


def write_llmeval_task(folder: Path, questions: Path, kind: str) -> None:
    """Write ``tasks/four.yaml`` into a workspace."""
    task: dict[str, Any] = {
        "task": "four",
        "version": "1",
        "data": {"path": str(questions)},
        "prompt": _PROMPT,
        "id": "id",
    }
    if kind == "choice":
        answer = "{{ 'ABCD'.index(answer) }}"
        task |= {"type": "choice", "choices": list(LETTERS), "answer": answer, "metrics": ["acc"]}
    else:
        task |= {"type": "generate", "answer": "{{answer}}", "max_tokens": 8, "scorers": ["letter"]}
    _write_yaml(folder / "tasks" / "four.yaml", task)


def write_lm_eval_task(folder: Path, questions: Path, kind: str) -> None:
    """Write a task of lm-eval for ``--include_path``."""
    task: dict[str, Any] = {
        "task": "four",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(questions)}},
        "test_split": "test",
        "doc_to_text": _PROMPT,
        "metadata": {"version": 1},
    }
    if kind == "choice":
        task |= {
            "output_type": "multiple_choice",
            "doc_to_choice": list(LETTERS),
            "doc_to_target": "{{ 'ABCD'.index(answer) }}",
            "metric_list": [_mean("acc")],
        }
    else:
        letter = [{"function": "regex", "regex_pattern": "([A-D])"}, {"function": "take_first"}]
        task |= {
            "output_type": "generate_until",
            "doc_to_target": "{{answer}}",
            "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8, "do_sample": False},
            "filter_list": [{"name": "letter", "filter": letter}],
            "metric_list": [_mean("exact_match")],
        }
    _write_yaml(folder / "four.yaml", task)


def _mean(metric: str) -> dict[str, Any]:
    return {"metric": metric, "aggregation": "mean", "higher_is_better": True}


def _write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # JSON is YAML, and yaml costs the bench's own process memory, which a child's peak starts with
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def write_tokenizer(folder: Path, questions: Path) -> None:
    """Write a tokenizer for ``transformers`` that splits as the mock does, with its ids.

    lm-eval needs one for log-probabilities: it sends tokens.
    """
    rows = read_prompts(questions, None)
    texts = [text for row in rows for text in (row["prompt"], *(f" {x}" for x in LETTERS))]
    pieces = {piece for text in texts for piece in PIECE.findall(text)}
    end, unknown = "<end>", "<unknown>"
    vocabulary = {**{piece: encode(piece) for piece in sorted(pieces)}, end: 0, unknown: 1}
    split = {
        "type": "Split",
        "pattern": {"Regex": PIECE.pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": split,
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": unknown},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end, "unk_token": unknown}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def write_inspect_task(folder: Path, questions: Path) -> None:
    """Write a task of Inspect; the prompt is the other sides'."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "four.py").write_text(_INSPECT.format(questions=str(questions)), encoding="utf-8")


_INSPECT = """\
from inspect_ai import Task, task
from inspect_ai.dataset import Sample, json_dataset
from inspect_ai.scorer import match
from inspect_ai.solver import generate


def to_sample(row):
    options = [f"{{letter}}. {{text}}" for letter, text in zip("ABCD", row["choices"])]
    prompt = "\\n".join([row["question"], *options, "Answer with one letter."])
    return Sample(id=row["id"], input=prompt, target=row["answer"])


@task
def four():
    data = json_dataset("{questions}", to_sample)
    return Task(dataset=data, solver=generate(), scorer=match(location="exact"))
"""


def read_results(folder: Path, metrics: Sequence[str]) -> tuple[int, float]:
    """Return how many questions a ``results*.json`` of lm-eval's shape has, and their accuracy."""
    file = next(iter(sorted(folder.rglob("results*.json"))))
    found = json.loads(file.read_text(encoding="utf-8"))
    accuracy = next(found["results"]["four"][name] for name in metrics)
    return int(found["n-samples"]["four"]["effective"]), float(accuracy)
