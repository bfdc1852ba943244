"""One answer favoured: a letter, a position or a label that is given whatever is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic

from llmeval.health.counting import TESTED, Key, many, top
from llmeval.health.finding import EXAMPLES, Finding, Metrics
from llmeval.health.seen import Seen

FAVOURED = "one answer favoured"

_EXCESS = 0.25
"""Of all picks, beyond what is expected: with four choices one is picked more than half the time.

Models of all sizes lean to a letter by some percent; that is no fault of the run.
"""
_ALWAYS = 0.95  # of all picks: the number is then the share of that answer in the data
_MOST_LABELS = 12  # targets of a task whose answers are labels; with more they are open answers
_LABEL_LENGTH = 32  # characters
_KEPT = 256  # different answers that are counted


@dataclass(slots=True)
class _Picks(Generic[Key]):
    """What was picked, and what would be by one whose errors have no preference.

    Such a one picks the right choice as often as the model does, and each wrong one equally often.

    Attributes:
        right: for each choice, how often it is (the) right one.
        wrong: for each choice, how often an error would fall on it.
        known: samples of which it is known which choice is right; of these, ``hits`` picked it.
    """

    n: int = 0
    known: int = 0
    hits: int = 0
    picks: Counter[Key] = field(default_factory=Counter)
    right: dict[Key, float] = field(default_factory=dict)
    wrong: dict[Key, float] = field(default_factory=dict)
    examples: dict[Key, list[str]] = field(default_factory=dict)

    def add(self, pick: Key, sample_id: str) -> None:
        self.n += 1
        self.picks[pick] += 1
        ids = self.examples.setdefault(pick, [])
        if len(ids) < EXAMPLES:
            ids.append(sample_id)

    def expect(self, choice: Key, right: float, wrong: float) -> None:
        self.right[choice] = self.right.get(choice, 0.0) + right
        self.wrong[choice] = self.wrong.get(choice, 0.0) + wrong

    def expected(self, choice: Key) -> float:
        """Return the expected share of a choice."""
        accuracy = self.hits / self.known if self.known else 0.5
        right, wrong = self.right.get(choice, 0.0), self.wrong.get(choice, 0.0)
        return min(1.0, (accuracy * right + (1 - accuracy) * wrong) / self.n)

    def test(self) -> tuple[Key, float] | None:
        """Return the choice that is picked too often, and the p-value; None where none is."""
        favoured = max(self.picks, key=lambda c: self.picks[c] - self.n * self.expected(c))
        expected = self.expected(favoured)
        if self.picks[favoured] / self.n - expected <= _EXCESS:
            return None
        return favoured, many(self.picks[favoured], self.n, expected)


class OneFavoured:
    """Compares how often each choice, or each label, was given with how often it would be."""

    def __init__(self) -> None:
        self._places: _Picks[int] = _Picks()
        self._texts: tuple[str, ...] = ()
        self._fixed = True  # the choices' texts, from sample to sample
        self._labels: _Picks[str] = _Picks()
        self._targets: Counter[str] = Counter()

    def add(self, seen: Seen) -> None:
        if seen.pick is not None:
            self._add_place(seen, seen.pick)
        elif seen.drawn and seen.sample.target is not None and not seen.count:
            self._add_label(seen, seen.sample.target)

    def _add_place(self, seen: Seen, pick: int) -> None:
        places, count, right = self._places, seen.count, seen.right
        places.add(pick, seen.sample.id)
        if not right:  # any choice may be
            for place in range(count):
                places.expect(place, 1 / count, 1 / count)
            return
        places.known += 1
        places.hits += pick in right
        wrong = 1 / (count - len(right)) if len(right) < count else 0.0
        for place in range(count):
            if place in right:
                places.expect(place, 1 / len(right), 0.0)
            else:
                places.expect(place, 0.0, wrong)
        self._note_texts(seen)

    def _note_texts(self, seen: Seen) -> None:
        """Remember the choices' texts as long as all samples have the same."""
        if self._fixed and seen.gold is not None:
            self._texts = self._texts or seen.gold.choices
            self._fixed = self._texts == seen.gold.choices

    def _add_label(self, seen: Seen, target: str) -> None:
        if len(self._targets) > _MOST_LABELS:
            return
        wanted = _as_label(target)
        self._targets[wanted] += 1
        said = _as_label(_said(seen))
        labels = self._labels
        if len(said) > _LABEL_LENGTH or (said not in labels.picks and len(labels.picks) == _KEPT):
            return
        labels.add(said, seen.sample.id)
        labels.known += 1
        labels.hits += said == wanted

    @property
    def tests(self) -> Mapping[str, int]:
        return {FAVOURED: len(self._places.right) or len(self._targets)}

    def find(self, metrics: Metrics) -> Iterator[Finding]:
        if self._places.n and (found := self._places.test()):
            place, p = found
            name = repr(self._texts[place].strip()) if self._fixed and self._texts else ""
            name = f"the choice {name}" if name else f"choice {place + 1}"
            if p < TESTED:
                yield _finding(self._places, place, p, name)
        if finding := self._find_label():
            yield finding

    def _find_label(self) -> Finding | None:
        """Look at a task whose answers are a few labels; other answers are none of its business."""
        targets, labels = self._targets, self._labels
        if not 2 <= len(targets) <= _MOST_LABELS or not labels.n:
            return None
        total = targets.total()
        labels.right, labels.wrong = {}, {}
        for label, count in targets.items():
            wrong = (total - count) / (len(targets) - 1)
            labels.expect(label, count * labels.n / total, wrong * labels.n / total)
        found = labels.test() if top(labels.picks) in targets else None
        if found is None or found[0] not in targets or found[1] >= TESTED:
            return None
        return _finding(labels, *found, f"the answer {found[0]!r}")


def _finding(picks: _Picks[Key], choice: Key, p: float, name: str) -> Finding:
    count = picks.picks[choice]
    always = count / picks.n >= _ALWAYS
    return Finding(
        check=FAVOURED,
        severity="error" if always else "warning",
        what=(
            f"{name} was given {count:,} of {picks.n:,} times, where about "
            f"{picks.expected(choice) * picks.n:,.0f} are expected"
        ),
        mend=(
            "read some prompts: a missing chat template, wrong separator or broken examples do "
            "this; else the model guesses, and the number is that answer's share in the data"
        ),
        count=count,
        n=picks.n,
        examples=tuple(picks.examples[choice]),
        p=p,
    )


def _said(seen: Seen) -> str:
    """Return what was read out of the answer, or the answer."""
    extracted = next((s.extracted for s in seen.scores if s.extracted is not None), None)
    return extracted if extracted is not None else seen.drawn[-1][1].text


def _as_label(text: str) -> str:
    return text.strip().strip(".()[]\"'").lower()
