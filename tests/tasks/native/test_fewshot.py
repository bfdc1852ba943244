"""Few-shot examples depend on seed and sample alone, and never give the answer away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmeval.core import UsageError
from llmeval.tasks.options import TaskOptions
from tests.tasks.native.support import load

TASK = """\
task: t
type: generate
data: {path: rows.jsonl}
prompt: "{{ q }} ="
answer: a
scorers: [exact]
"""
ROWS = [{"q": f"{i}+{i}", "a": str(2 * i), "topic": "ab"[i % 2]} for i in range(20)]


def prompts(folder: Path, text: str = TASK, rows: Any = ROWS, **options: Any) -> list[str]:
    task = load(folder, text, rows, TaskOptions(**options))
    return [sample.payload.request.prompt for sample in task.samples()]


def test_examples_stand_before_the_question_as_in_lm_eval(tmp_path: Path) -> None:
    text = f"{TASK}fewshot: {{num: 2, sampler: first}}\nsystem: Add.\n"
    assert prompts(tmp_path, text)[5] == "Add.\n\n0+0 = 0\n\n1+1 = 2\n\n5+5 ="


def test_the_command_line_decides_how_many(tmp_path: Path) -> None:
    text = f"{TASK}fewshot: {{num: 2}}\n"
    assert prompts(tmp_path, text, num_fewshot=0)[0] == "0+0 ="
    assert prompts(tmp_path, text, num_fewshot=3)[0].count("\n\n") == 3
    assert load(tmp_path, text, ROWS, TaskOptions(num_fewshot=3)).num_fewshot == 3


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None
)
@given(limit=st.integers(1, 20), num=st.integers(1, 19), seed=st.integers(0, 3))
def test_neither_limit_nor_order_changes_a_prompt(
    tmp_path: Path, limit: int, num: int, seed: int
) -> None:
    everything = prompts(tmp_path, num_fewshot=num, seed=seed)
    assert prompts(tmp_path, num_fewshot=num, seed=seed, limit=limit) == everything[:limit]
    for row, prompt in zip(ROWS, everything, strict=True):
        *examples, question = prompt.split("\n\n")
        assert question == f"{row['q']} ="
        assert len(set(examples)) == num
        assert not any(example.startswith(question) for example in examples)


def test_the_seed_changes_the_draw_and_a_seed_of_the_task_fixes_it(tmp_path: Path) -> None:
    assert prompts(tmp_path, num_fewshot=3, seed=1) != prompts(tmp_path, num_fewshot=3, seed=2)
    text = f"{TASK}fewshot: {{num: 3, seed: 7}}\n"
    assert prompts(tmp_path, text, seed=1) == prompts(tmp_path, text, seed=2)


def test_a_copy_of_the_evaluated_row_is_left_out_too(tmp_path: Path) -> None:
    rows = [ROWS[0], ROWS[0], ROWS[1]]
    assert prompts(tmp_path, rows=rows, num_fewshot=1)[0] == "1+1 = 2\n\n0+0 ="


def test_examples_can_be_of_the_same_group(tmp_path: Path) -> None:
    text = f"{TASK}fewshot: {{num: 4, match: topic}}\n"
    for row, prompt in zip(ROWS, prompts(tmp_path, text), strict=True):
        numbers = {int(example.split("+")[0]) % 2 for example in prompt.split("\n\n")}
        assert numbers == {int(row["q"].split("+")[0]) % 2}


def test_examples_come_from_other_data_and_are_fingerprinted(tmp_path: Path) -> None:
    (tmp_path / "dev.jsonl").write_text('{"q": "dev", "a": "yes", "why": "because"}\n')
    text = TASK.replace("rows.jsonl", "rows.jsonl, fewshot_path: dev.jsonl")
    assert prompts(tmp_path, text, num_fewshot=1)[0] == "dev = yes\n\n0+0 ="
    shown = f"{text}fewshot: {{answer: 'It is {{{{ a }}}}.'}}\n"
    assert prompts(tmp_path, shown, num_fewshot=1)[0] == "dev = It is yes.\n\n0+0 ="
    task = load(tmp_path, text, ROWS, TaskOptions(num_fewshot=1))
    assert [(d["id"], d["rows"]) for d in task.data()] == [("rows.jsonl", 20), ("dev.jsonl", 1)]
    assert [d["id"] for d in load(tmp_path, text, ROWS).data()] == ["rows.jsonl"]


def test_too_few_examples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"needs 20 examples, and .* has 19"):
        prompts(tmp_path, num_fewshot=20)
