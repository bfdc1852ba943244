"""What training rows teach: a label for each question, or which choice is right.

- ``labels``: every row has the same set of choices: the right one is the class of the question;
- ``pairs``: choices differ from row to row: a question with one choice is right or wrong;
- ``texts``: no choices, but few different answers: the answer is the class of the question.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llmeval.core.errors import UsageError
from llmeval.core.hashes import fingerprint
from llmeval.core.protocols import LearnableTask, TrainingRows
from llmeval.core.samples import Gold, Sample
from llmeval.models.baselines.hyperparameters import MOST_TEXTS

log = logging.getLogger(__name__)

Form = Literal["labels", "pairs", "texts"]

Example = tuple[str, Gold]
"""A question and what is right."""


@dataclass(frozen=True, slots=True)
class Lessons:
    """Training rows as a classifier takes them.

    Args:
        inputs: the questions; of ``pairs``, (question, choice).
        targets: the class of each input; of ``pairs``, whether the choice is right.
        rows: how many rows these are, ``of`` so many; ``left_out`` were drawn and had no answer.
        seen: digests of the rows, to find them among those that are evaluated.
    """

    form: Form
    inputs: Sequence[Any]
    targets: Sequence[str | bool]
    rows: int
    of: int
    left_out: int
    seen: frozenset[str]


def collect_lessons(task: LearnableTask, rows: TrainingRows, seed: int, most: int) -> Lessons:
    """Draw training rows of a task and put them into the form that they allow.

    Args:
        seed: of the draw, where there are more rows than ``most``; pairs count one by one.

    Raises:
        UsageError: they have no answers, too many different ones, or only one.
    """
    rnd = random.Random(f"{seed} {task.name}")
    drawn = range(rows.size) if rows.size <= most else rnd.sample(range(rows.size), most)
    read = [_read(task, sample) for sample in rows.read(drawn)]
    examples = [example for example in read if example is not None]
    form = _find_form(examples, rows.size)
    used = examples if form != "pairs" else _up_to(examples, most, rnd)
    lessons = [lesson for example in used for lesson in _teach(form, *example)]
    targets = [target for _, target in lessons]
    if len(set(targets)) < 2:
        raise UsageError(f"all {len(used):,} rows to learn from have the same answer")
    return Lessons(
        form=form,
        inputs=[given for given, _ in lessons],
        targets=targets,
        rows=len(used),
        of=rows.size,
        left_out=len(drawn) - len(examples),
        seen=frozenset(identify(question, gold.choices) for question, gold in used),
    )


def identify(question: str, choices: Sequence[str]) -> str:
    """Return the digest by which a row is known among others."""
    return fingerprint([question, list(choices)], size=8)


def _read(task: LearnableTask, sample: Sample) -> Example | None:
    """Return a row's question and answer; None where it has no answer or does not fit the task."""
    gold = sample.gold
    if gold is None or (not gold.right and gold.text is None):
        return None
    try:
        return task.question(sample), gold
    except Exception as error:
        log.debug("%s, training row %s", task.name, sample.id, exc_info=error)
        return None


def _find_form(examples: Sequence[Example], size: int) -> Form:
    if not examples:
        raise UsageError(f"none of the {size:,} rows to learn from has an answer")
    with_choices = sum(bool(gold.right) for _, gold in examples)
    if with_choices == 0:
        texts = len({gold.text for _, gold in examples})
        if texts > MOST_TEXTS:
            raise UsageError(
                f"{len(examples):,} rows to learn from have {texts:,} different answers,"
                f" more than the {MOST_TEXTS} that can be labels"
            )
        return "texts"
    if with_choices < len(examples):
        raise UsageError("some of the rows to learn from have choices, and others have none")
    sets = {frozenset(gold.choices) for _, gold in examples}
    repeats = any(len(set(gold.choices)) < len(gold.choices) for _, gold in examples)
    return "labels" if len(sets) == 1 and not repeats else "pairs"


def _up_to(examples: Sequence[Example], most: int, rnd: random.Random) -> Sequence[Example]:
    """Return examples that are not more than ``most`` pairs; a draw, where all would be more."""
    if sum(len(gold.choices) for _, gold in examples) <= most:
        return examples
    used, pairs = list[Example](), 0
    for question, gold in rnd.sample(examples, len(examples)):
        pairs += len(gold.choices)
        if used and pairs > most:
            break
        used.append((question, gold))
    return used


def _teach(form: Form, question: str, gold: Gold) -> Iterator[tuple[Any, str | bool]]:
    if form == "texts":
        yield question, str(gold.text)
    elif form == "labels":
        for place in gold.right:
            yield question, gold.choices[place]
    else:
        for place, choice in enumerate(gold.choices):
            yield (question, choice), place in gold.right
