"""Some samples of a task, always the same ones: a sentinel that is asked again and again."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from llmeval.core import LearnableTask, Sample, Task, TrainingRows, UsageError, digest
from llmeval.tasks.wrapped import WrappedTask


class SubsetTask(WrappedTask):
    """A task with some of its samples.

    Which samples depends on their ids alone, so that order, other samples and time change nothing
    but what comes and goes at the edge. The first ones would do as badly as any other block: data
    sets are often sorted.

    Args:
        size: how many samples; all where the task has no more.
    """

    def __init__(self, task: Task, size: int) -> None:
        super().__init__(task)
        self._size = size

    def __len__(self) -> int:
        return min(self._size, len(self._task))

    def samples(self) -> Iterator[Sample]:
        chosen = self._chosen  # before the task's samples are begun: it runs through them, too
        return (sample for sample in self._task.samples() if sample.id in chosen)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "subset": self._size}

    def training_rows(self) -> TrainingRows:
        return self._learnable.training_rows()

    def question(self, sample: Sample) -> str:
        return self._learnable.question(sample)

    @property
    def _learnable(self) -> LearnableTask:
        if not isinstance(self._task, LearnableTask):
            raise UsageError("it is no task whose answers could be labels", where=self.name)
        return self._task

    @cached_property
    def _chosen(self) -> frozenset[str]:
        ids = (sample.id for sample in self._task.samples())
        return frozenset(heapq.nsmallest(self._size, ids, key=_rank))


def _rank(sample_id: str) -> str:
    return digest(sample_id.encode("utf-8", "surrogatepass"))
