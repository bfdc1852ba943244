"""What a baseline may learn of one of lm-eval's tasks: its training rows and bare questions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from llmeval.core import Gold, Sample, TrainingRows
from llmeval.tasks.lmeval.datasets import Source
from llmeval.tasks.lmeval.documents import kept_generators, seed_generators

log = logging.getLogger(__name__)

Doc = Mapping[str, Any]


def read_training(task: Any, source: Source, gold: Callable[[Doc], Gold]) -> TrainingRows:
    """Return the rows of a task's training split, as the task itself processes them.

    Args:
        gold: reads a row's right answer.

    Raises:
        UsageError: it has no such split, or evaluates it.
    """
    data = source.training_data(task)
    with kept_generators():
        seed_generators()
        docs = task.training_docs() if task.config.training_split else task.fewshot_docs()

    def read(numbers: Sequence[int]) -> Iterator[Sample]:
        chosen = docs.select(numbers) if hasattr(docs, "select") else [docs[i] for i in numbers]
        for number, doc in zip(numbers, chosen, strict=True):
            yield Sample(id=str(number), fields=doc, gold=_gold_or_none(gold, doc))

    return TrainingRows(data, len(docs), read)


def _gold_or_none(gold: Callable[[Doc], Gold], doc: Doc) -> Gold | None:
    try:
        return gold(doc)
    except Exception as error:
        log.debug("a training row", exc_info=error)
        return None


def plain_question(task: Any, doc: Doc) -> str:
    """Return what a row asks; where choices stand before it (WinoGrande), what they share."""
    shared = getattr(task, "multiple_input", 0)
    return str(task.doc_to_target(doc) if shared else task.doc_to_text(doc))
