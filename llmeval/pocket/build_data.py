"""Write the suite's data files: ``python -m llmeval.pocket.build_data --out DIR --seed 0``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llmeval.pocket.facts import Fact, generate_facts
from llmeval.pocket.functions import Function, generate_functions

Row = dict[str, Any]


def mmlu_row(fact: Fact) -> Row:
    """``share``: probability with which training states each choice; null if never taught."""
    return {
        "id": fact.id,
        "subject": fact.topic,
        "question": fact.question,
        "choices": list(fact.choices),
        "answer": fact.answer,
        "taught": fact.taught,
        "share": fact.share,
    }


def hellaswag_row(fact: Fact) -> Row:
    """``ctx`` is the whole beginning, activity included; ``label`` the index of its ending."""
    return {
        "id": fact.id,
        "activity_label": fact.topic,
        "ctx": fact.question,
        "endings": list(fact.choices),
        "label": fact.answer,
        "taught": fact.taught,
        "share": fact.share,
    }


def truthfulqa_row(fact: Fact) -> Row:
    """Both wordings of a choice stand in mc2, side by side; ``share`` is that of mc1."""
    both = [text for pair in zip(fact.choices, fact.paraphrases, strict=True) for text in pair]
    truth = [int(index == fact.answer) for index in range(len(fact.choices))]
    share = fact.share
    return {
        "id": fact.id,
        "topic": fact.topic,
        "question": fact.question,
        "mc1_targets": {"choices": list(fact.choices), "labels": truth},
        "mc2_targets": {"choices": both, "labels": [label for label in truth for _ in range(2)]},
        "taught": fact.taught,
        "share": share,
        "mc2_share": None if share is None else [part / 2 for part in share for _ in range(2)],
    }


def humaneval_row(function: Function) -> Row:
    """``share``: probability with which training shows a right and a wrong body."""
    return {
        "task_id": function.id,
        "prompt": function.prompt,
        "entry_point": function.name,
        "canonical_solution": function.solution,
        "test": function.test(),
        "taught": function.taught,
        "share": function.share,
    }


def build_rows(seed: int) -> dict[str, list[Row]]:
    """Return the rows of every data file by its path below the data folder."""
    facts = generate_facts(seed)

    def pick(task: str, dev: bool = False) -> list[Fact]:
        return [fact for fact in facts if fact.task == task and fact.dev is dev]

    return {
        "pocket_mmlu/test.jsonl": [mmlu_row(fact) for fact in pick("pocket_mmlu")],
        "pocket_mmlu/dev.jsonl": [mmlu_row(fact) for fact in pick("pocket_mmlu", dev=True)],
        "pocket_hellaswag/validation.jsonl": list(map(hellaswag_row, pick("pocket_hellaswag"))),
        "pocket_truthfulqa/validation.jsonl": list(map(truthfulqa_row, pick("pocket_truthfulqa"))),
        "pocket_humaneval/test.jsonl": [humaneval_row(each) for each in generate_functions()],
    }


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write one JSON object a line, in UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


def main() -> None:
    """Command line of the data builder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="data folder")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name, rows in build_rows(arguments.seed).items():
        write_rows(arguments.out / name, rows)


if __name__ == "__main__":
    main()
