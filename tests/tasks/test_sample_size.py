"""A sample's size is the length of what it will ask, so that windows can be bounded by it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from llmeval.core import (
    GenerateRequest,
    Generation,
    Loglikelihood,
    LoglikelihoodRequest,
    Request,
    Response,
    RollingRequest,
)
from llmeval.tasks.lmeval.adapter import build_index, build_tasks
from llmeval.tasks.options import TaskOptions, Workbench
from tests.tasks.lmeval.bench import write_bench
from tests.tasks.native.support import Conversation, load

ROWS = [{"q": f"What is {10**i}?", "a": f"It is {'x' * i}."} for i in range(4)]
DATA = "task: own\nversion: 1\ndata: {path: rows.jsonl}\n"
CHOICE = f"""{DATA}type: choice
prompt: "{{{{ q }}}}"
choices: ["{{{{ a }}}}", "no"]
answer: 0
metrics: [{{type: acc}}]
"""
GENERATE = f"""{DATA}type: generate
prompt: "{{{{ q }}}}"
answer: "{{{{ a }}}}"
scorers: [{{type: exact}}]
"""


def canned(request: Request) -> Response:
    if isinstance(request, GenerateRequest):
        return Generation("x")
    return Loglikelihood(-1.0, False, 1)


def characters(request: Request) -> list[str]:
    """Return the texts of a question."""
    if isinstance(request, LoglikelihoodRequest):
        return [request.context, request.continuation]
    if isinstance(request, RollingRequest):
        return [request.text]
    prompt = request.prompt
    return [prompt] if isinstance(prompt, str) else [message.content for message in prompt]


def check(task: Any) -> None:
    """Compare sizes with what the samples ask, each distinct text counted once."""
    sizes = []
    for sample in task.samples():
        conversation = Conversation(canned)
        asyncio.run(task.evaluate(sample, conversation))
        texts = {text for ask in conversation.asked for r in ask for text in characters(r)}
        assert sample.size == sum(map(len, texts)) > 0
        sizes.append(sample.size)
    assert len(set(sizes)) > 1


@pytest.mark.parametrize("text", [CHOICE, GENERATE])
@pytest.mark.parametrize("shots", [0, 2])
def test_native_tasks(tmp_path: Path, text: str, shots: int) -> None:
    check(load(tmp_path, text, ROWS, TaskOptions(num_fewshot=shots)))


@pytest.mark.parametrize("name", ["choice", "blanks", "answers", "cloze", "texts"])
def test_lm_eval_tasks(tmp_path: Path, name: str) -> None:
    folder = write_bench(tmp_path)
    index = {entry.name: entry for entry in build_index(folder)}
    (task,), _ = build_tasks(name, index, folder, TaskOptions(), Workbench())
    check(task)


def test_a_chat(tmp_path: Path) -> None:
    check(load(tmp_path, GENERATE, ROWS, TaskOptions(apply_chat_template=True)))
