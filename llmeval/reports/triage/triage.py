"""The triage of one unit: each item that moved gets a cause, and the causes are counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from llmeval.core import Generation, Loglikelihood
from llmeval.reports.scores import ScoreTable
from llmeval.reports.triage.bias import Answers, Favoured, find_favoured
from llmeval.reports.triage.causes import CAUSES, MEANINGS, Cause
from llmeval.reports.triage.changes import Change
from llmeval.reports.triage.items import Moved, Side, as_label, read_moved, read_picks
from llmeval.reports.triage.refusals import is_refusal
from llmeval.reports.triage.regrade import THOROUGH, CannotRegrade, Regrader

_EXAMPLES = 3
_SHOWN = 160  # characters of an answer
_MAIN = 0.5  # of the drop, from which a cause is the main one
_TOLD = ("error", "data change", "prompt change")  # say themselves what changed


@dataclass(frozen=True, slots=True)
class Example:
    """One item of a cause.

    Args:
        detail: what makes it this cause: the wrapping, the reason of an error, the label.
        answer: the beginning of the worse answer.
    """

    task: str
    sample_id: str
    lost: bool
    detail: str | None
    answer: str


@dataclass(frozen=True, slots=True)
class Tally:
    """One cause.

    Attributes:
        lost, gained: items.
        net: what it takes off the mean score; positive is worse.
        share: of the whole drop; None where there is no drop.
    """

    cause: Cause
    lost: int
    gained: int
    net: float
    share: float | None
    details: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class Triage:
    """Why a unit's score moved.

    Attributes:
        items: items of both runs; ``lost`` and ``gained`` of them moved.
        drop: how much the mean of these items is worse; what is not scored counts as worst.
        tallies: causes with any item, in the order in which they are looked for.
        favoured: labels that wrong answers have come to favour.
        notes: what could not be looked for, and why.
        says: the main cause in a sentence.
    """

    items: int
    lost: int
    gained: int
    drop: float
    tallies: tuple[Tally, ...]
    favoured: tuple[Favoured, ...] = ()
    notes: tuple[str, ...] = ()
    says: str = ""


def triage(
    table: ScoreTable,
    tasks: Sequence[str],
    metric: str,
    *,
    worst: float = 0.0,
    higher_is_better: bool = True,
    regraders: tuple[Regrader, Regrader] | None = None,
    changes: Sequence[Change] = (),
) -> Triage:
    """Give every item that moved a cause.

    Args:
        table: scores of the baseline and of tonight's run, in this order, with names.
        tasks: a unit's: the task, or the members of a group.
        worst: the score that stands for none.
        regraders: of the two runs; without them nothing is put down to format.
        changes: what else changed between the runs; the first is named beside the cause.
    """
    study = _Study(table, metric, worst, 1 if higher_is_better else -1, regraders)
    for task in tasks:
        study.add(task)
    return study.conclude(changes)


class _Study:
    """Collects the items of a unit, task by task."""

    def __init__(
        self,
        table: ScoreTable,
        metric: str,
        worst: float,
        sign: int,
        regraders: tuple[Regrader, Regrader] | None,
    ) -> None:
        self._table = table
        self._metric = metric
        self._worst = worst
        self._sign = sign
        self._regraders = regraders
        self._size = 0
        self._moved: list[tuple[Moved, str | None]] = []  # with its wrapping
        self._answers: dict[bool, list[Answers]] = {True: [], False: []}  # by what was lost in them
        self._notes: list[str] = []

    def add(self, task: str) -> None:
        moved, size = read_moved(self._table, task, self._metric, self._worst, self._sign)
        self._size += size
        if not moved:
            return
        wrappings = self._find_wrappings(task, moved)
        self._moved += [(m, wrappings.get((m.lost, m.worse.sample_id))) for m in moved]
        self._read_answers(task, moved)

    def _find_wrappings(self, task: str, moved: Sequence[Moved]) -> dict[tuple[bool, str], str]:
        """Return the wrapping of each answer that is as good as the other run's without it."""
        if self._regraders is None:
            return {}
        found: dict[tuple[bool, str], str] = {}
        for lost, regrader in zip((False, True), self._regraders, strict=True):
            items = [m for m in moved if m.lost == lost and m.worse.status != "errored"]
            goals = {m.worse.sample_id: m.better.value for m in items if m.worse.text}
            if not goals:
                continue
            if len(goals) > THOROUGH:
                rest = f"{len(goals) - THOROUGH} of {len(goals)} answers"
                self._notes.append(f"{task}: {rest} tried with the wrappings of the others only")
            sides = [m.worse for m in items if m.worse.sample_id in goals]
            try:
                wrapped = regrader.find_wrapping(
                    task, self._metric, sides, partial(self._reaches, goals)
                )
            except CannotRegrade as why:
                self._notes.append(f"{task}: answers cannot be graded again: {why}")
                continue
            found |= {(lost, name): wrapping for name, wrapping in wrapped.items()}
        return found

    def _reaches(self, goals: Mapping[str, float | None], side: Side, value: float) -> bool:
        goal = goals[side.sample_id]
        return goal is not None and self._sign * value >= self._sign * goal - 1e-9

    def _read_answers(self, task: str, moved: Sequence[Moved]) -> None:
        """Keep which labels tonight's wrong answers name (True), and the baseline's (False)."""
        before, after = (read_picks(run, task, self._metric) for run in self._table.runs)
        sides = {True: (after, before), False: (before, after)}
        for lost, (wrong_picks, right_picks) in sides.items():
            items = [m for m in moved if m.lost == lost and m.changed is None]
            wrong = [
                wrong_picks[m.worse.sample_id] for m in items if m.worse.sample_id in wrong_picks
            ]
            right = [right_picks[name] for name in self._right(task, lost) if name in right_picks]
            self._answers[lost].append(Answers(wrong, right, before, after))

    def _right(self, task: str, lost: bool) -> list[str]:
        """Return the samples that the better run of a side has right: at risk to be lost."""
        scores = self._table.scores(task, self._metric)
        assert scores.sample_id is not None
        rows = (scores.run == (0 if lost else 1)) & (
            self._sign * scores.value > self._sign * self._worst
        )
        return [str(name) for name in scores.sample_id[rows]]

    def conclude(self, changes: Sequence[Change]) -> Triage:
        drop = sum(item.amount for item, _ in self._moved) / self._size if self._size else 0.0
        favoured = {lost: find_favoured(told) for lost, told in self._answers.items()}
        labels = {lost: {one.label for one in found} for lost, found in favoured.items()}
        causes = [(m, *_cause_of(m, wrapping, labels[m.lost])) for m, wrapping in self._moved]
        tallies = [self._tally(cause, causes, drop) for cause in CAUSES]
        kept = tuple(tally for tally in tallies if tally.lost or tally.gained)
        lost = sum(item.lost for item, _ in self._moved)
        return Triage(
            items=self._size,
            lost=lost,
            gained=len(self._moved) - lost,
            drop=drop,
            tallies=kept,
            favoured=tuple(favoured[True]),
            notes=tuple(dict.fromkeys(self._notes)),
            says=_say(kept, drop, favoured[True], changes),
        )

    def _tally(
        self, cause: Cause, causes: Sequence[tuple[Moved, Cause, str | None]], drop: float
    ) -> Tally:
        found = [(item, detail) for item, one, detail in causes if one == cause]
        net = sum(item.amount for item, _ in found) / self._size if self._size else 0.0
        details: dict[str, int] = {}
        for item, detail in found:
            if detail is not None and item.lost:
                details[detail] = details.get(detail, 0) + 1
        lost_first = sorted(found, key=lambda one: not one[0].lost)
        return Tally(
            cause=cause,
            lost=sum(item.lost for item, _ in found),
            gained=sum(not item.lost for item, _ in found),
            net=net,
            share=net / drop if drop > 0 else None,
            details=dict(sorted(details.items(), key=lambda pair: -pair[1])[:5]),
            examples=tuple(_example(item, detail) for item, detail in lost_first[:_EXAMPLES]),
        )


def _cause_of(item: Moved, wrapping: str | None, labels: set[str]) -> tuple[Cause, str | None]:
    """Return the first cause that explains why the worse answer is worse."""
    worse, better = item.worse, item.better
    if worse.status == "errored":
        return "error", worse.reason
    if item.changed == "data change":
        return "data change", None
    if item.changed == "prompt change":
        return "prompt change", None
    if wrapping is not None:
        return "format", wrapping
    if (how := _cut(worse)) and not _cut(better):
        return "truncation", how
    if _refuses(worse) and not _refuses(better):
        return "refusal", None
    if (blank := _blank(worse)) and not _blank(better):
        return "empty answer", blank
    if worse.status == "unscored":
        return "not scored", worse.reason
    if labels and worse.pick is not None and as_label(worse.pick) in labels:
        return "answer bias", as_label(worse.pick)
    return "capability", None


def _cut(side: Side) -> str | None:
    responses = side.responses
    if any(isinstance(r, Generation) and _is_cut(r) for r in responses):
        return "the answer ended at the token limit"
    if any(isinstance(r, Generation | Loglikelihood) and r.truncated for r in responses):
        return "the prompt was cut"
    return None


def _is_cut(answer: Generation) -> bool:
    # A letter among the first token's alternatives is one token, and meant to be.
    return answer.finish_reason == "length" and answer.top_logprobs is None


def _refuses(side: Side) -> bool:
    withheld = any(
        isinstance(r, Generation) and r.finish_reason == "content_filter" for r in side.responses
    )
    return withheld or is_refusal(side.text)


def _blank(side: Side) -> str | None:
    """Return what stands where text was to be generated; None where there is text."""
    texts = [r.text for r in side.responses if isinstance(r, Generation)]
    if not texts or any(text.strip() for text in texts):
        return None
    return "blanks only" if any(texts) else "no text"


def _example(item: Moved, detail: str | None) -> Example:
    side = item.worse
    text = " ".join((side.text or side.pick or "").split())
    shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    return Example(item.task, side.sample_id, item.lost, detail, shown)


def _say(
    tallies: Sequence[Tally],
    drop: float,
    favoured: Sequence[Favoured],
    changes: Sequence[Change],
) -> str:
    if drop <= 0:
        return "no item is worse on balance"
    main = max(tallies, key=lambda tally: tally.net)
    share = main.share or 0.0
    mostly = "mostly" if share >= _MAIN else "first of several causes:"
    lost = sum(tally.lost for tally in tallies)
    text = f"{mostly} {main.cause} ({share:.0%} of the net drop): {main.lost} of {lost} lost items"
    text += f" {MEANINGS[main.cause]}"
    if main.cause in ("format", "not scored") and main.details:
        text += f" ({', '.join(f'{name}: {count}' for name, count in main.details.items())})"
    if main.cause == "answer bias" and favoured:
        one = favoured[0]
        text += f" ({one.label!r}: {one.before:.0%} of all answers before, {one.after:.0%} now)"
    if changes and main.cause not in _TOLD:
        text += f"; beside that, {changes[0]}"
    return text
