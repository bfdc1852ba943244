"""Small tasks in lm-eval's own YAML, with their data, for lm-eval and for us to run."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

UTILS = """
def process_docs(dataset):
    def _process_doc(doc):
        return {"query": doc["question"].strip().capitalize(), "gold": doc["label"]}

    return dataset.map(_process_doc)


def only_even(dataset):
    return dataset.filter(lambda doc: doc["label"] % 2 == 0)


def doc_to_text(doc):
    return doc["label"]


def doc_to_choice(doc):
    before = doc["question"].split("_")[0]
    return [before + choice for choice in doc["choices"]]


def process_mc2(doc, results):
    import math

    chances = [math.exp(logprob) for logprob, _ in results]
    right = [c for c, label in zip(chances, doc["labels"]) if label == 1]
    return {"acc": sum(right) / sum(chances)}
"""

_CHOICE: dict[str, Any] = {
    "output_type": "multiple_choice",
    "training_split": "train",
    "test_split": "test",
    "doc_to_text": "Q: {{question}}\nA:",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "label",
}
_GENERATE: dict[str, Any] = {
    "output_type": "generate_until",
    "training_split": "train",
    "test_split": "test",
    "doc_to_text": "Q: {{question}}\nA:",
    "doc_to_target": "{{choices[label]}}",
    "generation_kwargs": {"until": ["\n", "Q:"], "max_gen_toks": 8},
}


def _mean(*names: str) -> list[dict[str, Any]]:
    return [{"metric": n, "aggregation": "mean", "higher_is_better": True} for n in names]


TASKS: dict[str, dict[str, Any]] = {
    "choice": _CHOICE
    | {
        "tag": ["bench_tag"],
        "process_docs": "!function utils.process_docs",
        "doc_to_text": "Q: {{query}}\nA:",
        "doc_to_target": "{{gold}}",
        "description": "Answer these about {{topic}}.\n\n",
        "metric_list": [
            *_mean("acc", "acc_norm", "acc_bytes", "acc_mutual_info"),
            {"metric": "brier_score", "aggregation": "brier_score", "higher_is_better": False},
        ],
    },
    "first": _CHOICE
    | {
        "tag": ["bench_tag"],
        "fewshot_split": "train",
        "fewshot_config": {"sampler": "first_n"},
        "target_delimiter": " => ",
        "fewshot_delimiter": "\n###\n",
        "process_docs": "!function utils.only_even",
        "metric_list": _mean("acc"),
    },
    "own_split": _CHOICE
    | {"training_split": None, "fewshot_split": "test", "metric_list": _mean("acc", "acc_norm")},
    "binary": _CHOICE
    | {
        "test_split": "binary",
        "metric_list": [
            *_mean("acc"),
            {"metric": "f1", "aggregation": "f1", "higher_is_better": True},
            {"metric": "mcc", "aggregation": "matthews_corrcoef", "higher_is_better": True},
        ],
    },
    "blanks": _CHOICE
    | {
        "doc_to_text": "!function utils.doc_to_text",
        "doc_to_choice": "!function utils.doc_to_choice",
        "doc_to_target": "{{question.split('_')[1]}}",
        "metric_list": _mean("acc"),
    },
    "truth": _CHOICE
    | {
        "doc_to_target": 0,
        "process_results": "!function utils.process_mc2",
        "metric_list": _mean("acc"),
    },
    "prefixed": _CHOICE | {"gen_prefix": "The answer is", "metric_list": _mean("acc")},
    "answers": _GENERATE
    | {
        "gen_prefix": "{{choices[0][0]}}",
        "repeats": 3,
        "filter_list": [
            {
                "name": "strict",
                "filter": [
                    {"function": "regex", "regex_pattern": r"^\s*(\w+)\."},
                    {"function": "take_first"},
                ],
            },
            {
                "name": "flexible",
                "filter": [
                    {"function": "regex", "group_select": -1, "regex_pattern": r"(\w+)"},
                    {"function": "take_first"},
                ],
            },
            {
                "name": "maj@2",
                "filter": [
                    {"function": "take_first_k", "k": 2},
                    {"function": "regex", "regex_pattern": r"(\w+)"},
                    {"function": "majority_vote"},
                    {"function": "take_first"},
                ],
            },
        ],
        "metric_list": [{**_mean("exact_match")[0], "ignore_case": True}],
    },
    "corpus": _GENERATE
    | {
        "metric_list": [
            {"metric": name, "aggregation": name, "higher_is_better": name != "ter"}
            for name in ("bleu", "chrf", "ter")
        ],
    },
    "cloze": {
        "output_type": "loglikelihood",
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{' ' + choices[label]}}",
        "metric_list": [
            {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
            *_mean("acc"),
        ],
    },
    "texts": {
        "output_type": "loglikelihood_rolling",
        "test_split": "test",
        "doc_to_text": "",
        "doc_to_target": "{{question}} {{choices | join(' ')}}",
        "metric_list": [{"metric": m} for m in ("word_perplexity", "byte_perplexity")]
        + [{"metric": "bits_per_byte"}],
    },
}

GROUPS: dict[str, dict[str, Any]] = {
    "weighted": {
        "task": ["choice", {"task": "binary", "num_fewshot": 1}, "prefixed"],
        "aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}],
    },
    "unweighted": {
        "task": ["own_split", "first", "truth"],
        "aggregate_metric_list": [{"metric": "acc", "weight_by_size": False}],
    },
    "nested": {
        "task": ["unweighted", "answers", "blanks"],
        "aggregate_metric_list": [
            {"metric": "acc", "weight_by_size": True},
            {"metric": "exact_match", "weight_by_size": False, "filter_list": ["strict", "maj@2"]},
        ],
    },
}


def rows(n: int, choices: int, seed: str) -> Iterator[dict[str, Any]]:
    """Yield questions with choices of unequal lengths."""
    rnd = random.Random(seed)
    words = [
        "river",
        "stone",
        "green",
        "copper",
        "night",
        "salt",
        "über",
        "glass",
        "window",
        "seven",
    ]
    for i in range(n):
        options = [" ".join(rnd.sample(words, rnd.randint(1, 3))) for _ in range(choices)]
        yield {
            "question": f" what follows {rnd.choice(words)} _ and {rnd.choice(words)}, number {i}?",
            "choices": options,
            "label": rnd.randrange(choices),
            "labels": [1] + [rnd.randrange(2) for _ in range(choices - 1)],
            "topic": rnd.choice(words),
        }


def write_bench(folder: Path) -> Path:
    """Write the tasks, the groups and their data; return the folder."""
    splits = {"train": rows(12, 3, "train"), "test": rows(10, 3, "test")}
    splits["binary"] = rows(16, 2, "binary")
    files: dict[str, str] = {}
    for split, content in splits.items():
        path = folder / f"{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
        files[split] = str(path)
    (folder / "utils.py").write_text(UTILS, encoding="utf-8")
    for name, config in TASKS.items():
        data = {"dataset_path": "json", "dataset_kwargs": {"data_files": files}}
        write_yaml(folder, {"task": name, **data, **config, "metadata": {"version": 1}})
    for name, config in GROUPS.items():
        write_yaml(folder, {"group": name, **config, "metadata": {"version": 2}})
    return folder


def write_yaml(folder: Path, config: Mapping[str, Any]) -> Path:
    """Write one file in lm-eval's format, with its ``!function`` tags."""
    text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
    text = re.sub(r"'(!function [\w.]+)'", r"\1", text)
    path = folder / f"{config['group'] if 'group' in config else config['task']}.yaml"
    path.write_text(text, encoding="utf-8")
    return path
