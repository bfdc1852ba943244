"""A task that is another one but for what a subclass says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmeval.core import Ask, Metric, Sample, Score, Task


class WrappedTask:
    """Hands everything on to a task; in the shape of ``core.Task``."""

    def __init__(self, task: Task) -> None:
        self._task = task

    @property
    def name(self) -> str:
        return self._task.name

    @property
    def version(self) -> str:
        return self._task.version

    @property
    def num_fewshot(self) -> int:
        return self._task.num_fewshot

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return self._task.metrics

    def __len__(self) -> int:
        return len(self._task)

    def samples(self) -> Iterator[Sample]:
        return self._task.samples()

    async def evaluate(self, sample: Sample, ask: Ask) -> list[Score]:
        return await self._task.evaluate(sample, ask)

    def data(self) -> list[dict[str, Any]]:
        return self._task.data()

    def describe(self) -> dict[str, Any]:
        return self._task.describe()
