"""Verdicts: what a sample's evaluation comes to, whatever happens in it."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmeval.core import (
    Ask,
    Failure,
    LlmevalError,
    Request,
    Response,
    Sample,
    Score,
    Task,
    Unscorable,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A sample with everything that happened to it."""

    task: Task
    sample: Sample
    exchanges: Sequence[tuple[Request, Response]]
    scores: Sequence[Score]


class NoAnswer(Exception):
    """A question of this sample got no answer; the text is the reason."""


def require_answers(responses: Sequence[Response]) -> None:
    """Raise for a question without an answer: a task only ever sees answers."""
    for response in responses:
        if isinstance(response, Failure):
            raise NoAnswer(response.reason)


async def score(task: Task, sample: Sample, ask: Ask) -> list[Score]:
    """Evaluate one sample; whatever goes wrong becomes a status, never a number.

    Raises:
        LlmevalError: what is wrong is not the sample's alone.
    """
    try:
        scores = [_honest(score) for score in await task.evaluate(sample, ask)]
    except LlmevalError:
        raise
    except Unscorable as verdict:
        return [Score(m, status="unscored", reason=str(verdict)) for m in task.metrics]
    except NoAnswer as failure:
        return [Score(m, status="errored", reason=str(failure)) for m in task.metrics]
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        log.warning("%s, sample %s: %s", task.name, sample.id, reason, exc_info=error)
        return [Score(m, status="errored", reason=reason) for m in task.metrics]
    return _complete(task, scores)


def _honest(score: Score) -> Score:
    """Refuse a value that is no number; make a NumPy number or a truth value a plain float."""
    if score.status != "scored" or (score.value is None and score.item is not None):
        return score
    if score.value is None:
        reason = "the task reported no value"
    elif math.isfinite(score.value):
        return replace(score, value=float(score.value))
    else:
        reason = f"the value is {score.value}, not a number"
    return replace(score, value=None, item=None, status="unscored", reason=reason)


def _complete(task: Task, scores: list[Score]) -> list[Score]:
    """Say so where a task left one of its metrics out: coverage must show it."""
    given = {score.metric for score in scores}
    missing = [m for m in list(task.metrics) if m not in given]
    return scores + [
        Score(m, status="unscored", reason="the task reported no value") for m in missing
    ]
