"""Results and samples as lm-eval 0.4.13 writes them, small."""

from __future__ import annotations

import gzip
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DATE = "2026-01-02T03-04-05.678901"


def sample(
    doc_id: int, acc: float, doc: Mapping[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """A line of a multiple-choice task's samples: four choices, the first is right."""
    doc = doc or {"id": f"d{doc_id}", "question": f"Why {doc_id}?"}
    prompt = f"Question: {doc['question']}\nAnswer:"
    choices = [" because", " therefore", " if", " so"]
    return {
        "doc_id": doc_id,
        "doc": doc,
        "target": "0",
        "arguments": {
            f"gen_args_{i}": {"arg_0": prompt, "arg_1": choice} for i, choice in enumerate(choices)
        },
        "resps": [[[str(-1.5 - i), "False"]] for i in range(4)],
        "filtered_resps": [[str(-1.5 - i), "False"] for i in range(4)],
        "filter": "none",
        "metrics": ["acc"],
        "doc_hash": "0" * 64,
        "prompt_hash": "0" * 64,
        "target_hash": "0" * 64,
        "acc": acc,
        **more,
    }


def generated(doc_id: int, filter_name: str, value: float, answer: str) -> dict[str, Any]:
    """A line of a generation task's samples: one of its filters."""
    arguments = {"gen_args_0": {"arg_0": "1+1=", "arg_1": {"until": ["\n"], "do_sample": False}}}
    return {
        **sample(doc_id, 0.0),
        "target": "2",
        "arguments": arguments,
        "resps": [[answer]],
        "filtered_resps": [answer.strip()],
        "filter": filter_name,
        "metrics": ["exact_match"],
        "exact_match": value,
    }


def numbers(name: str, **values: Any) -> dict[str, Any]:
    """A task's entry of the results."""
    return {"name": name, "alias": name, **{k.replace("__", ","): v for k, v in values.items()}}


def scored(name: str, values: Sequence[float]) -> dict[str, Any]:
    """A task's entry of the results, from its samples."""
    stderr = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else "N/A"
    return numbers(
        name, sample_len=len(values), acc__none=statistics.fmean(values), acc_stderr__none=stderr
    )


def config(name: str, output_type: str = "multiple_choice", metric: str = "acc") -> dict[str, Any]:
    return {
        "task": name,
        "dataset_path": f"org/{name}",
        "dataset_name": None,
        "test_split": "test",
        "output_type": output_type,
        "metric_list": [{"metric": metric, "aggregation": "mean", "higher_is_better": True}],
        "num_fewshot": 0,
        "repeats": 1,
    }


def write_lm_eval(
    folder: Path,
    results: Mapping[str, Mapping[str, Any]],
    samples: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    model: str = "org/model",
    configs: Mapping[str, Mapping[str, Any]] | None = None,
    subtasks: Mapping[str, Sequence[str]] | None = None,
    date: str = DATE,
    when: float = 1767323045.0,
    zipped: bool = False,
    **more: Any,
) -> Path:
    """Write a results file and the files of samples; return the results file."""
    folder.mkdir(parents=True, exist_ok=True)
    subtasks = subtasks or {}
    tasks = [name for name in results if name not in subtasks]
    suffix = f"_{date}" if date else ""
    content = {
        "results": dict(results),
        "group_subtasks": {k: list(v) for k, v in subtasks.items()},
        "configs": configs or {name: config(name) for name in tasks},
        "versions": dict.fromkeys(results, 1.0),
        "n-shot": dict.fromkeys(results, 0),
        "higher_is_better": {name: {"acc": True} for name in results},
        "n-samples": {
            name: {"original": 1000, "effective": results[name].get("sample_len", 0)}
            for name in tasks
        },
        "config": {
            "model": "hf",
            "model_args": {"pretrained": model},
            "model_num_parameters": 656000,
            "limit": None,
            "gen_kwargs": {},
            "fewshot_seed": 1234,
        },
        "date": when,
        "lm_eval_version": "0.4.13",
        "model_source": "hf",
        "model_name": model,
        "system_instruction": None,
        "fewshot_as_multiturn": None,
        "chat_template": None,
        "total_evaluation_time_seconds": "12.5",
        **more,
    }
    path = folder / f"results{suffix}.json"
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
    for task, lines in samples.items():
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
        name = folder / f"samples_{task}{suffix}.jsonl"
        if zipped:
            name.with_name(f"{name.name}.gz").write_bytes(gzip.compress(text))
        else:
            name.write_bytes(text)
    return path
