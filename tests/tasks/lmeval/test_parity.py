"""What lm-eval 0.4.13 itself computes on small tasks in its own format, we compute too."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from llmeval.core import Generation, Loglikelihood, LoglikelihoodRequest, Model, TaskGroup
from llmeval.engine import Evaluated, Journal, evaluate
from llmeval.models import ModelSettings, load_model
from llmeval.pocket import MODEL_DIR
from llmeval.runs import Tally, summarize_groups, summarize_tasks
from llmeval.tasks.lmeval.adapter import LmEvalTask, build_index, build_tasks
from llmeval.tasks.options import TaskOptions, Workbench
from tests.tasks.lmeval.bench import write_bench

TOLERANCE = 1e-3


@dataclass(frozen=True)
class Case:
    name: str
    num_fewshot: int | None = None
    limit: int | None = 8
    chat: dict[str, Any] = field(default_factory=dict)
    gen_kwargs: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        chat = "-".join(f"{k}={v}" for k, v in self.chat.items())
        return f"{self.name}-{self.num_fewshot}shot{'-' + chat if chat else ''}"


TURNS = {"apply_chat_template": True, "system_instruction": "Be brief."}
ONE_TURN = {**TURNS, "fewshot_as_multiturn": False}
CASES = [
    Case("weighted", 2, limit=None),
    Case("nested", 1, limit=6),
    Case("bench_tag", 3, limit=4),
    Case("binary", limit=None),
    Case("corpus", 2, gen_kwargs={"max_gen_toks": 5, "until": ["e"]}),
    Case("cloze"),
    Case("texts"),
    Case("choice", 2, limit=3, chat={"system_instruction": "Be brief."}),
    Case("choice", 2, limit=4, chat=TURNS),
    Case("choice", 2, limit=4, chat=ONE_TURN),
    Case("blanks", 1, limit=4, chat=TURNS),
    Case("prefixed", 1, limit=4, chat=TURNS),
    Case("answers", 2, limit=4, chat=TURNS),
    Case("answers", 2, limit=4, chat=ONE_TURN),
]


@dataclass
class Laboratory:
    """The same tasks and the same model, for lm-eval and for us."""

    folder: Path
    manager: Any
    their_model: Any
    our_model: Model

    def run_lm_eval(self, case: Case) -> dict[str, Any]:
        import lm_eval

        found = lm_eval.simple_evaluate(
            self.their_model,
            tasks=[case.name],
            num_fewshot=case.num_fewshot,
            limit=case.limit,
            bootstrap_iters=20,
            task_manager=self.manager,
            gen_kwargs=dict(case.gen_kwargs) or None,
            **case.chat,
        )
        assert isinstance(found, dict)
        return found

    def build(self, case: Case) -> tuple[list[LmEvalTask], list[TaskGroup]]:
        index = {entry.name: entry for entry in build_index(self.folder)}
        options = TaskOptions(
            num_fewshot=case.num_fewshot,
            limit=case.limit,
            gen_kwargs=case.gen_kwargs,
            **case.chat,
        )
        workbench = Workbench(chat_template=self.our_model.apply_chat_template)
        return build_tasks(case.name, index, self.folder, options, workbench)

    def run_ours(self, case: Case, folder: Path) -> tuple[list[Evaluated], dict[str, Any]]:
        tasks, groups = self.build(case)
        evaluated: list[Evaluated] = []
        with Journal(folder / "journal.sqlite") as journal:
            run = journal.begin("spec", "run")
            evaluate(tasks, self.our_model, journal=journal, run=run, sink=evaluated.extend)
        tallies = {task.name: Tally() for task in tasks}
        for result in evaluated:
            tallies[result.task.name].add(result.sample, result.scores)
        summary, estimates = summarize_tasks(tasks, tallies, {})
        return evaluated, summary | summarize_groups(groups, summary, estimates)


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    import datasets
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    folder = write_bench(tmp_path_factory.mktemp("bench"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        patch.setenv("DISABLE_MULTIPROC", "1")
        yield Laboratory(
            folder,
            TaskManager(include_path=str(folder), include_defaults=False),
            HFLM(pretrained=str(MODEL_DIR), dtype="float32", device="cpu", batch_size=8),
            load_model(f"hf:{MODEL_DIR}", ModelSettings(dtype="float32")),  # type: ignore[arg-type]
        )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_lm_eval(case: Case, laboratory: Laboratory, tmp_path: Path) -> None:
    theirs = laboratory.run_lm_eval(case)
    evaluated, results = laboratory.run_ours(case, tmp_path)
    ours = {(e.task.name, int(e.sample.id)): e for e in evaluated}
    logged = [(task, row) for task, rows in theirs["samples"].items() for row in rows]
    assert set(ours) == {(task, row["doc_id"]) for task, row in logged}
    for task, row in logged:
        compare_exchanges(ours[task, row["doc_id"]], row)
        compare_scores(ours[task, row["doc_id"]], row)
    assert set(results) == set(theirs["results"])
    for name, row in theirs["results"].items():
        compare_results(results[name]["metrics"], row)


def compare_exchanges(ours: Evaluated, theirs: dict[str, Any]) -> None:
    questions = [
        (argument, answer)
        for argument, answers in zip(theirs["arguments"], theirs["resps"], strict=True)
        for answer in answers
    ]
    for (request, response), (argument, answer) in zip(ours.exchanges, questions, strict=True):
        if isinstance(response, Generation):
            assert (request.prompt, response.text) == (argument[0], answer)
            continue
        assert isinstance(response, Loglikelihood)
        if isinstance(request, LoglikelihoodRequest):
            assert (request.context, request.continuation) == argument
            assert response.logprob == pytest.approx(answer[0], abs=TOLERANCE)
            assert response.is_greedy == answer[1]
        else:
            assert (request.prompt,) == argument
            assert response.logprob == pytest.approx(answer, abs=TOLERANCE)


def compare_scores(ours: Evaluated, theirs: dict[str, Any]) -> None:
    scores = {score.metric: score for score in ours.scores}
    for metric in theirs["metrics"]:
        score, value = scores[key(metric, theirs["filter"])], theirs[metric]
        assert score.status == "scored"
        if isinstance(value, tuple | list):  # what a corpus metric gathers
            assert score.value is None
            assert flat(score.item) == pytest.approx(flat(value), abs=TOLERANCE)
        else:
            assert score.value == pytest.approx(value, abs=TOLERANCE)


def compare_results(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    seen = set()
    for name, value in theirs.items():
        metric, comma, filter_name = name.partition(",")
        if not comma:
            continue
        row = ours[key(metric.removesuffix("_stderr"), filter_name)]
        if not metric.endswith("_stderr"):
            seen.add(key(metric, filter_name))
            assert row["value"] == pytest.approx(value, rel=TOLERANCE, abs=1e-9)
        elif row["aggregation"] in ("mean", "unweighted", "weighted by size"):
            # no spread seen: lm-eval says 0 there, we say that it cannot be told
            assert (row["stderr"] or 0.0) == pytest.approx(value, rel=TOLERANCE, abs=1e-9)
    assert seen == set(ours)


def key(metric: str, filter_name: str) -> str:
    return metric if filter_name == "none" else f"{metric},{filter_name}"


def flat(item: Any) -> list[Any]:
    if hasattr(item, "tolist"):
        item = item.tolist()
    if not isinstance(item, tuple | list):
        return [item]
    return [leaf for part in item for leaf in flat(part)]


def test_every_case_measures_something(laboratory: Laboratory) -> None:
    """The model is not so sure or so lost that equality would say nothing."""
    theirs = laboratory.run_lm_eval(Case("weighted", 2, limit=None))
    values = [v for row in theirs["results"].values() for k, v in row.items() if k == "acc,none"]
    assert len(set(values)) > 2
    assert all(0 < v < 1 and math.isfinite(v) for v in values)


def test_draws_do_not_depend_on_the_limit(laboratory: Laboratory) -> None:
    (few,), _ = laboratory.build(Case("choice", 3, limit=3))
    (all_of_them,), _ = laboratory.build(Case("choice", 3, limit=None))
    assert prompts(few) == prompts(all_of_them)[:3]
    assert len(prompts(all_of_them)) == 10


def test_draws_do_not_depend_on_who_else_reads_the_samples(laboratory: Laboratory) -> None:
    (task,), _ = laboratory.build(Case("choice", 3, limit=None))
    alone = prompts(task)
    in_step = [(a.payload[0].args[0], b.payload[0].args[0]) for a, b in both(task)]
    assert in_step == [(prompt, prompt) for prompt in alone]
    stopped_early = next(task.samples())
    assert stopped_early.payload[0].args[0] == alone[0]
    assert prompts(task) == alone


def both(task: LmEvalTask) -> Iterator[tuple[Any, Any]]:
    return zip(task.samples(), task.samples(), strict=True)


def prompts(task: LmEvalTask) -> list[str]:
    return [sample.payload[0].args[0] for sample in task.samples()]
