"""The works that both sides are given: tasks, examples, and how many questions by model size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIZES = ("tiny", "15M", "135M", "1B", "8B")
SUBJECTS = ("abstract_algebra", "anatomy")

_WHOLE = (None,) * len(SIZES)


@dataclass(frozen=True, slots=True)
class Work:
    """One row of the table.

    Args:
        name: as ``--works`` takes it.
        about: what the table says.
        tasks: names in lm-eval; ``mmlu_*`` stands for the chosen subjects.
        limits: questions of each task, by :data:`SIZES`; None for all.
        shots: solved examples; None leaves the task's own number.
        new_tokens: of a generation; None where nothing is generated.
        process: compare whole processes (the two command lines) rather than evaluations.
    """

    name: str
    about: str
    tasks: tuple[str, ...]
    limits: Sequence[int | None]
    shots: int | None = None
    new_tokens: int | None = None
    process: bool = False

    def limit(self, size: str, given: int | None) -> int | None:
        return self.limits[SIZES.index(size)] if given is None else given

    def resolve_tasks(self, subjects: Sequence[str]) -> list[str]:
        if self.tasks == ("mmlu_*",):
            return [f"mmlu_{subject}" for subject in subjects]
        return list(self.tasks)


WORKS = {
    work.name: work
    for work in (
        Work("hellaswag-0", "HellaSwag 0-shot", ("hellaswag",), (200, 600, 60, 400, 200), 0),
        Work("hellaswag-10", "HellaSwag 10-shot", ("hellaswag",), (100, 32, 8, 100, 50), 10),
        Work("mmlu-40", "MMLU 5-shot, 40 a subject", ("mmlu_*",), (40,) * 5, 5),
        Work("mmlu-whole", "MMLU 5-shot, whole subjects", ("mmlu_*",), _WHOLE, 5),
        Work(
            "truthfulqa",
            "TruthfulQA mc1 + mc2 in one run",
            ("truthfulqa_mc1", "truthfulqa_mc2"),
            (200, 100, 16, 200, 100),
        ),
        Work("arc", "ARC easy + challenge 0-shot", ("arc_easy", "arc_challenge"),
             (200, 500, 60, 400, 200), 0),
        Work("winogrande", "WinoGrande 0-shot", ("winogrande",), (400, 1267, 200, 1267, 600), 0),
        Work("piqa", "PIQA 0-shot", ("piqa",), (400, 1000, 150, 1000, 500), 0),
        Work("gsm8k", "GSM8K 5-shot, 64 new tokens", ("gsm8k",), (32, 40, 10, 64, 32), 5, 64),
        Work("gsm8k-cot", "GSM8K 5 fixed examples, 64 new tokens", ("gsm8k_cot",),
             (32, 40, 10, 64, 32), 5, 64),
        Work("small", "whole process, 50 small requests", ("winogrande",), (25,) * 5, 0,
             process=True),
    )
}  # fmt: skip

_DATA = {
    "hellaswag": "Rowan/hellaswag",
    "arc_easy": "allenai/ai2_arc",
    "arc_challenge": "allenai/ai2_arc",
    "winogrande": "allenai/winogrande",
    "piqa": "baber/piqa",
    "truthfulqa_mc1": "truthfulqa/truthful_qa",
    "truthfulqa_mc2": "truthfulqa/truthful_qa",
    "gsm8k": "openai/gsm8k",
    "gsm8k_cot": "openai/gsm8k",
}
GROUP = "bench_work"


def missing_data(tasks: Sequence[str], mirror: Path) -> list[str]:
    """Return the data sets that the mirror lacks."""
    return sorted({_data_of(t) for t in tasks if not (mirror / _data_of(t)).is_dir()})


def write_lm_eval_group(tasks: Sequence[str], mirror: Path, folder: Path) -> None:
    """Write a group file that points lm-eval's own tasks at the mirror (``--include_path``).

    A mirror without a train split has lm-eval draw examples from the validation rows.
    """
    import yaml

    members: list[Mapping[str, Any]] = []
    for task in tasks:
        data = (mirror / _data_of(task)).resolve()
        member: dict[str, Any] = {"task": task, "dataset_path": str(data)}
        if not any(data.rglob("train*.parquet")) and not task.startswith("mmlu_"):
            member["training_split"] = None
        members.append(member)
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump({"group": GROUP, "task": members}, sort_keys=False)
    (folder / f"{GROUP}.yaml").write_text(text, encoding="utf-8")


def _data_of(task: str) -> str:
    return "cais/mmlu" if task.startswith("mmlu_") else _DATA[task]
