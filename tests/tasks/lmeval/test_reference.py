"""Prompts, answers and per-sample metrics equal those that lm-eval 0.4.13 wrote (../shared)."""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmeval.core import Generation, Loglikelihood, LoglikelihoodRequest, Model
from llmeval.engine import Evaluated, Journal, evaluate
from llmeval.models import ModelSettings, load_model
from llmeval.runs import Tally, summarize_groups, summarize_tasks
from llmeval.tasks.lmeval.adapter import build_tasks
from llmeval.tasks.lmeval.index import load_index, tasks_root
from llmeval.tasks.options import TaskOptions, Workbench
from tests.support.shared import shared_dir

TOLERANCE = 1e-3


@dataclass(frozen=True)
class Reference:
    model: str
    run: str
    task: str
    num_fewshot: int | None
    limit: int
    part: bool = False  # only the first rows that lm-eval answered: no aggregates to compare

    def __str__(self) -> str:
        return f"{self.model}-{self.run}"

    @property
    def folder(self) -> Path:
        return shared_dir("reference", "lm_eval_0.4.13", self.model, self.run)

    def samples(self) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
        for path in sorted(self.folder.glob("samples_*.jsonl.gz")):
            task = path.name.removeprefix("samples_").removesuffix(".jsonl.gz")
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                for line in lines:
                    row = json.loads(line)
                    if not self.part or row["doc_id"] < self.limit:
                        yield (task, str(row["doc_id"])), row

    def results(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "results.json").read_text())
        return content


TINY = "tinystories656K"
QUICK = [
    Reference(TINY, "arc_easy_0shot", "arc_easy", 0, 100),
    Reference(TINY, "winogrande_0shot", "winogrande", 0, 100),
    Reference(TINY, "piqa_0shot", "piqa", 0, 100),
]
SLOW = [
    Reference(TINY, "hellaswag_0shot", "hellaswag", 0, 200),
    Reference(TINY, "truthfulqa_mc1_0shot", "truthfulqa_mc1", None, 100),
    Reference(TINY, "truthfulqa_mc2_0shot", "truthfulqa_mc2", None, 100),
    Reference(TINY, "gsm8k_5shot", "gsm8k", 5, 4),
    Reference(TINY, "mmlu_0shot", "mmlu", 0, 5),
    Reference(TINY, "mmlu_5shot", "mmlu", 5, 2, part=True),
    Reference("stories260K", "lambada_openai_0shot", "lambada_openai", 0, 100),
]
# Six of its first hundred documents stop lm-eval; those are compared without aggregates.
LAMBADA = Reference(TINY, "lambada_openai_0shot", "lambada_openai", 0, 100)


@dataclass
class Ours:
    evaluated: list[Evaluated]
    summary: dict[str, Any]
    groups: dict[str, Any]


@functools.cache
def load(name: str) -> Model:
    model = load_model(f"hf:{shared_dir('models', name)}", ModelSettings(dtype="float32"))
    assert isinstance(model, Model)
    return model


def run_ours(reference: Reference, folder: Path) -> Ours:
    options = TaskOptions(num_fewshot=reference.num_fewshot, limit=reference.limit)
    workbench = Workbench(mirror=shared_dir("data", "hub"))
    tasks, groups = build_tasks(reference.task, load_index(), tasks_root(), options, workbench)
    evaluated: list[Evaluated] = []
    with Journal(folder / "journal.sqlite") as journal:
        run = journal.begin("spec", "run")
        evaluate(tasks, load(reference.model), journal=journal, run=run, sink=evaluated.extend)
    tallies = {task.name: Tally() for task in tasks}
    for result in evaluated:
        tallies[result.task.name].add(result.sample, result.scores)
    summary, estimates = summarize_tasks(tasks, tallies, {})
    return Ours(evaluated, summary, summarize_groups(groups, summary, estimates))


def compare_samples(reference: Reference, ours: Ours) -> int:
    """Compare every sample that lm-eval logged; return how many there were."""
    found = {(e.task.name, e.sample.id): e for e in ours.evaluated}
    compared = 0
    for key, theirs in reference.samples():
        compare_exchanges(found[key], theirs)
        compare_scores(found[key], theirs)
        compared += 1
    return compared


def compare_exchanges(ours: Evaluated, theirs: dict[str, Any]) -> None:
    arguments = [tuple(a.values()) for a in theirs["arguments"].values()]
    for exchange, argument, answers in zip(ours.exchanges, arguments, theirs["resps"], strict=True):
        request, response = exchange
        if isinstance(request, LoglikelihoodRequest):
            assert isinstance(response, Loglikelihood)
            assert (request.context, request.continuation) == argument
            logprob, is_greedy = answers[0]
            assert response.logprob == pytest.approx(float(logprob), abs=TOLERANCE)
            assert str(response.is_greedy) == is_greedy
        else:
            assert isinstance(response, Generation)
            assert request.prompt == argument[0]
            assert response.text == answers[0]


def compare_scores(ours: Evaluated, theirs: dict[str, Any]) -> None:
    for score in ours.scores:
        metric, _, filter_name = score.metric.partition(",")
        if (filter_name or "none") == theirs["filter"]:
            assert score.status == "scored"
            assert score.value == pytest.approx(float(theirs[metric]), abs=TOLERANCE)


def compare_aggregates(reference: Reference, ours: Ours) -> None:
    results = reference.results()["results"]
    compared = 0
    for name, row in {**ours.summary, **ours.groups}.items():
        for key, metric in row["metrics"].items():
            label, _, filter_name = key.partition(",")
            suffix = filter_name or "none"
            theirs = results[name]
            tolerance = 0 if label.startswith(("acc", "exact_match")) else TOLERANCE
            if reference.task == "truthfulqa_mc2":
                tolerance = TOLERANCE  # its "acc" is a probability mass
            expected = pytest.approx(theirs[f"{label},{suffix}"], rel=tolerance, abs=tolerance)
            assert metric["value"] == expected
            if label != "perplexity":  # a bootstrap there and here
                stderr = theirs[f"{label}_stderr,{suffix}"]
                assert metric["stderr"] == pytest.approx(stderr, abs=1e-4)
            compared += 1
    assert compared


@pytest.mark.parametrize(
    "reference", [*QUICK, *(pytest.param(r, marks=pytest.mark.slow) for r in SLOW)], ids=str
)
def test_equals_lm_eval(reference: Reference, tmp_path: Path) -> None:
    ours = run_ours(reference, tmp_path)
    assert compare_samples(reference, ours) > 0
    if not reference.part:
        compare_aggregates(reference, ours)


def test_scores_what_stops_lm_eval(tmp_path: Path) -> None:
    ours = run_ours(LAMBADA, tmp_path)
    assert compare_samples(LAMBADA, ours) == 94
    separate = [e.sample.id for e in ours.evaluated if _boundary(e) == "separate"]
    assert separate == ["30", "42", "50", "53", "67", "77"]
    assert ours.summary["lambada_openai"]["coverage"] == 1.0


def _boundary(evaluated: Evaluated) -> str | None:
    (_, response), *_ = evaluated.exchanges
    assert isinstance(response, Loglikelihood)
    return response.boundary
