"""One item of a task and the scores that it got."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["scored", "unscored", "errored"]


@dataclass(frozen=True, slots=True)
class Gold:
    """The right answer in a form that baselines can read: chance, zero rule, ceiling.

    Args:
        choices: texts of the choices, in the order in which the task asks for them.
        right: indices of the right choices.
        text: a completion that the task scores as right, for generation tasks.
    """

    choices: tuple[str, ...] = ()
    right: tuple[int, ...] = ()
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One item of a task.

    Args:
        id: unique in its task, the same in every run.
        fields: the data row as the task read it; written to the record.
        target: the right answer as text, for readers of the record; None where there is none.
        metadata: what slices read (subject, taught, language, ...).
        cluster: samples that share a cluster are not independent (same passage, same template).
        gold: the right answer for baselines; a real model never sees it.
        payload: what the task itself needs to evaluate the sample; never written.
        size: characters of its prompts, each distinct text once; 0 where that is not known. Bounds
            how many samples are in memory at once.
    """

    id: str
    fields: Mapping[str, Any]
    target: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    cluster: str | None = None
    gold: Gold | None = None
    payload: Any = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class Score:
    """One metric's verdict on one sample.

    Args:
        metric: lm-eval's key, ``acc`` or with its filter ``exact_match,strict-match``.
        value: the number, None unless scored (or where only the corpus has a number).
        status: ``scored``; ``unscored``: there was an answer that this metric cannot judge;
            ``errored``: there was no answer, or judging it broke.
        reason: why it is not scored.
        extracted: what was read out of the answer.
        item: what a corpus metric aggregates, as JSON data, e.g. ``[gold, predicted]``.
    """

    metric: str
    value: float | None = None
    status: Status = "scored"
    reason: str | None = None
    extracted: str | None = None
    item: Any = None


class Unscorable(Exception):
    """Raised by a task when an answer cannot be scored; the text is the reason."""
