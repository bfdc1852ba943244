"""Facts of the pocket world: what is asked, what is true, and what the training text says.

A fact is taught in one of three ways. ``always``: training states the truth, often. ``sometimes``:
training states the choices in a known mixture, given in tenths, so that the calibrated probability
of each choice is known. ``never``: its entity occurs in no training text.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from llmeval.pocket.worlds import ACTIVITIES, BELIEFS, ONSETS, SUBJECTS, VOWELS

Taught = Literal["always", "sometimes", "never"]
FactTask = Literal["pocket_mmlu", "pocket_hellaswag", "pocket_truthfulqa"]

DEV_PER_SUBJECT = 5
ALWAYS_STATEMENTS = 4  # how often one corpus cycle states an always-taught fact
BLOCK = 4

# Tenths with which training states the choices (descending), and in how many of ten items the
# truth is the first, second, ... of them. Where a choice is stated with probability p it is true
# in a fraction p of the items: the mixture itself is perfectly calibrated.
CALIBRATED_PATTERNS = ((5, 3, 1, 1), (6, 2, 1, 1), (7, 1, 1, 1), (8, 1, 1, 0))
# Truth against a single misbelief. Here the text is as often wrong as right, and sure of it.
MISBELIEF_PATTERNS = ((8, 2, 0, 0), (6, 4, 0, 0), (4, 6, 0, 0), (2, 8, 0, 0))

_TEMPLATES: dict[FactTask, str] = {
    "pocket_mmlu": "Question: {}\nAnswer:",
    "pocket_hellaswag": "{}",
    "pocket_truthfulqa": "Q: {}\nA:",
}


@dataclass(frozen=True)
class Fact:
    """One question of the choice tasks.

    Attributes:
        question: the question, or the beginning of a text for pocket_hellaswag.
        choices: four texts; ``answer`` is the index of the true one.
        tenths: how many of ten statements in training name each choice; None if never taught.
        paraphrases: a second wording of each choice, stated as often as the first; may be empty.
        dev: a few-shot example, part of no test split.
    """

    id: str
    task: FactTask
    topic: str
    name: str
    question: str
    choices: tuple[str, ...]
    answer: int
    taught: Taught
    tenths: tuple[int, ...] | None
    paraphrases: tuple[str, ...] = ()
    dev: bool = False

    @property
    def context(self) -> str:
        """The prompt; a continuation is one space and a choice."""
        return _TEMPLATES[self.task].format(self.question)

    @property
    def share(self) -> list[float] | None:
        """The probability with which training states each choice."""
        return None if self.tenths is None else [count / 10 for count in self.tenths]

    def statements(self) -> list[str]:
        """Return the answers that one corpus cycle gives to this question, with repeats."""
        if self.tenths is None:
            return []
        counts = list(self.tenths)
        if self.taught == "always":
            counts[self.answer] = ALWAYS_STATEMENTS
        wordings = [self.choices, self.paraphrases or self.choices]
        return [
            wordings[turn % 2][index] for index, count in enumerate(counts) for turn in range(count)
        ]


def generate_names(rng: random.Random) -> Iterator[str]:
    """Yield invented names of three syllables, any two of which differ in two syllables."""
    syllables = [onset + vowel for onset in ONSETS for vowel in VOWELS]
    endings = ("n", "l", "x", "")
    size = len(syllables)
    pairs = [(first, second) for first in range(size) for second in range(size)]
    rng.shuffle(pairs)
    for first, second in pairs:  # a Latin square: two coordinates determine the third
        third = (first * 5 + second * 7) % size
        stem = syllables[first] + syllables[second] + syllables[third]
        yield (stem + endings[(first + second) % len(endings)]).capitalize()


def generate_facts(seed: int) -> list[Fact]:
    """Return every fact of the pocket world, the few-shot examples included."""
    rng = random.Random(seed)
    names = generate_names(rng)
    return [
        *_mmlu_facts(rng, names),
        *_hellaswag_facts(rng, names),
        *_truthfulqa_facts(rng, names),
    ]


@dataclass(frozen=True)
class _Slot:
    """Which choices an item has and which is right, before anything is asked about it."""

    order: tuple[int, ...]  # positions in the block of the choices, in the order shown
    answer: int


def _slots(rng: random.Random) -> list[_Slot]:
    """Return four slots in which each member of the block, and each position, is right once."""
    positions = rng.sample(range(BLOCK), BLOCK)
    slots = []
    for right, position in enumerate(positions):
        order = [member for member in range(BLOCK) if member != right]
        rng.shuffle(order)
        order.insert(position, right)
        slots.append(_Slot(tuple(order), position))
    rng.shuffle(slots)
    return slots


def _calibrated_mixtures(rng: random.Random, items: int) -> list[tuple[int, tuple[int, ...]]]:
    """Return ``items`` mixtures as (tenths of the truth, tenths of the others), shuffled."""
    per_pattern = items // len(CALIBRATED_PATTERNS)
    mixtures: list[tuple[int, tuple[int, ...]]] = []
    for pattern in CALIBRATED_PATTERNS:
        for rank, tenths in enumerate(pattern):
            others = pattern[:rank] + pattern[rank + 1 :]
            mixtures += [(tenths, others)] * (tenths * per_pattern // 10)
    if len(mixtures) != items:
        raise ValueError(f"{items} items cannot be calibrated: take a multiple of 40")
    rng.shuffle(mixtures)
    return mixtures


def _misbelief_mixtures(rng: random.Random, items: int) -> list[tuple[int, tuple[int, ...]]]:
    repeats = items // len(MISBELIEF_PATTERNS)
    mixtures: list[tuple[int, tuple[int, ...]]] = [
        (pattern[0], pattern[1:]) for pattern in MISBELIEF_PATTERNS * repeats
    ]
    rng.shuffle(mixtures)
    return mixtures


def _tenths(
    rng: random.Random, taught: Taught, answer: int, mixtures: list[tuple[int, tuple[int, ...]]]
) -> tuple[int, ...] | None:
    """Return how often each choice is stated; a ``sometimes`` item takes the next mixture."""
    if taught == "never":
        return None
    truth, others = (10, (0,) * (BLOCK - 1)) if taught == "always" else mixtures.pop()
    tenths = rng.sample(others, len(others))
    tenths.insert(answer, truth)
    return tuple(tenths)


def _plan(rng: random.Random, blocks: int, sometimes_blocks: int) -> list[tuple[Taught, int]]:
    """Return (how taught, block) for one topic: all blocks always and never, some sometimes."""
    some = rng.sample(range(blocks), sometimes_blocks)
    return [
        *(("always", block) for block in range(blocks)),
        *(("sometimes", block) for block in some),
        *(("never", block) for block in range(blocks)),
    ]


def _pick(texts: Sequence[str], slot: _Slot) -> tuple[str, ...]:
    return tuple(texts[member] for member in slot.order)


def _mmlu_facts(rng: random.Random, names: Iterator[str]) -> list[Fact]:
    facts: list[Fact] = []
    mixtures = _calibrated_mixtures(rng, 8 * len(SUBJECTS))
    for subject in SUBJECTS:
        items: list[tuple[Taught, int, _Slot, bool]] = [
            (taught, block, slot, False)
            for taught, block in _plan(rng, len(subject.blocks), 2)
            for slot in _slots(rng)
        ]
        examples = [(block, slot) for block in range(len(subject.blocks)) for slot in _slots(rng)]
        items += [
            ("always", block, slot, True) for block, slot in rng.sample(examples, DEV_PER_SUBJECT)
        ]
        for number, (taught, block, slot, dev) in enumerate(items):
            name = next(names)
            kind = "dev" if dev else "test"
            facts.append(
                Fact(
                    id=f"mmlu-{kind}-{subject.name}-{number:02d}",
                    task="pocket_mmlu",
                    topic=subject.name,
                    name=name,
                    question=subject.question.format(name=name),
                    choices=_pick(subject.blocks[block], slot),
                    answer=slot.answer,
                    taught=taught,
                    tenths=_tenths(rng, taught, slot.answer, mixtures),
                    dev=dev,
                )
            )
    return facts


def _hellaswag_facts(rng: random.Random, names: Iterator[str]) -> list[Fact]:
    facts: list[Fact] = []
    mixtures = _calibrated_mixtures(rng, 8 * len(ACTIVITIES))
    for topic_number, activity in enumerate(ACTIVITIES):
        plan = _plan(rng, len(activity.blocks), 2)
        items = [(taught, block, slot) for taught, block in plan for slot in _slots(rng)]
        for number, (taught, block, slot) in enumerate(items):
            name = next(names)
            facts.append(
                Fact(
                    id=f"hellaswag-{topic_number}-{number:02d}",
                    task="pocket_hellaswag",
                    topic=activity.name,
                    name=name,
                    question=activity.context.format(name=name),
                    choices=_pick(activity.endings(block), slot),
                    answer=slot.answer,
                    taught=taught,
                    tenths=_tenths(rng, taught, slot.answer, mixtures),
                )
            )
    return facts


def _truthfulqa_facts(rng: random.Random, names: Iterator[str]) -> list[Fact]:
    """Return misbelief facts. As in the original, the truth stands first among the choices."""
    facts: list[Fact] = []
    mixtures = _misbelief_mixtures(rng, 8 * len(BELIEFS))
    for belief in BELIEFS:
        plan = _plan(rng, len(belief.blocks), 2)
        items = [(taught, block, slot) for taught, block in plan for slot in _slots(rng)]
        for number, (taught, block, slot) in enumerate(items):
            name = next(names)
            right = slot.order[slot.answer]
            others = tuple(member for member in slot.order if member != right)
            slot = _Slot((right, *others), 0)
            wordings = belief.blocks[block]
            facts.append(
                Fact(
                    id=f"truthfulqa-{belief.name}-{number:02d}",
                    task="pocket_truthfulqa",
                    topic=belief.name,
                    name=name,
                    question=belief.question.format(name=name),
                    choices=_pick([first for first, _ in wordings], slot),
                    answer=0,
                    taught=taught,
                    tenths=_tenths(rng, taught, 0, mixtures),
                    paraphrases=_pick([second for _, second in wordings], slot),
                )
            )
    return facts
