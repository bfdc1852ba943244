"""A task file in a folder, and a model that answers from a function."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

from llmeval.core import (
    GenerateRequest,
    Generation,
    Loglikelihood,
    LoglikelihoodRequest,
    Request,
    Response,
    Sample,
    Score,
    Unscorable,
)
from llmeval.tasks.native import load_native
from llmeval.tasks.options import TaskOptions, Workbench

Row = Mapping[str, Any]
Canned = Callable[[Request], str | float | Response]


def write_task(folder: Path, text: str, rows: Sequence[Row] | None = None) -> Path:
    """Write a task's YAML, and its rows as ``rows.jsonl`` beside it."""
    path = folder / "task.yaml"
    path.write_text(dedent(text), encoding="utf-8")
    if rows is not None:
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def load(
    folder: Path,
    text: str,
    rows: Sequence[Row] | None = None,
    options: TaskOptions | None = None,
    workbench: Workbench | None = None,
) -> Any:
    """Write a task and load it."""
    path = write_task(folder, text, rows)
    return load_native(path, options or TaskOptions(), workbench or Workbench())


class Conversation:
    """An ``ask`` that answers from a function and remembers what was asked, ask by ask."""

    def __init__(self, canned: Canned) -> None:
        self._canned = canned
        self.asked: list[list[Request]] = []

    async def __call__(self, requests: Sequence[Request]) -> list[Response]:
        self.asked.append(list(requests))
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Response:
        said = self._canned(request)
        if isinstance(said, str):
            assert isinstance(request, GenerateRequest)
            return Generation(said)
        if isinstance(said, float | int):
            assert isinstance(request, LoglikelihoodRequest)
            return Loglikelihood(float(said), False, 1)
        return said


def evaluate(task: Any, canned: Canned) -> list[tuple[Sample, dict[str, Score]]]:
    """Evaluate every sample; an Unscorable is turned into scores as the engine does."""

    async def judge(sample: Sample) -> dict[str, Score]:
        try:
            scores = await task.evaluate(sample, Conversation(canned))
        except Unscorable as verdict:
            reason = str(verdict)
            scores = [Score(m, status="unscored", reason=reason) for m in task.metrics]
        return {score.metric: score for score in scores}

    async def run() -> list[tuple[Sample, dict[str, Score]]]:
        return [(sample, await judge(sample)) for sample in task.samples()]

    return asyncio.run(run())
