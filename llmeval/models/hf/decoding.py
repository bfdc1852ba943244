"""Completions step by step: prompts come in as slots get free, rows leave as soon as they end."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmeval.models.hf.head import SlicedHead
from llmeval.models.hf.runner import Layers
from llmeval.models.hf.sampling import Drawer
from llmeval.models.hf.slots import Slots
from llmeval.models.hf.stopping import StopWatch


@dataclass(slots=True)
class Draw:
    """One completion in the making.

    Args:
        limit: most new tokens.
        dice: what it draws with.
        tokens: the new tokens so far.
        stopped: whether an end token or a stop string ended it.
        broken: whether the model's logits were no numbers; it is over then.
    """

    limit: int
    dice: random.Random
    tokens: list[int] = field(default_factory=list)
    stopped: bool = False
    broken: bool = False

    @property
    def over(self) -> bool:
        return self.stopped or self.broken or len(self.tokens) >= self.limit


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """A prompt that has been read.

    Args:
        logits: [vocabulary] after its last token.
        load: returns its keys and values; to be called before the next start is asked for.
        draws: the completions to make of it.
    """

    logits: Any
    load: Callable[[], Layers]
    draws: Sequence[Draw]


class Decoder:
    """Completes prompts in slots; the draws are changed in place.

    Args:
        slots: where rows are decoded, none of them taken.
        drawer: how tokens are chosen.
        watch: when a completion is done.
        head: reads the likeliest token off in slices; None where the model's own logits are needed.
    """

    def __init__(
        self, slots: Slots, drawer: Drawer, watch: StopWatch, head: SlicedHead | None = None
    ) -> None:
        self._slots = slots
        self._head = head if drawer.greedy else None
        self._drawer = drawer
        self._watch = watch
        self._rows: list[Draw] = []  # in the order of their slots

    def run(self, starts: Iterator[Start]) -> None:
        """Complete all draws; the next start is asked for when a slot is free and no row waits."""
        waiting = self._admit(starts)
        while True:
            while not self._slots.full and (entry := next(waiting, None)) is not None:
                draw, layers = entry
                self._slots.seat(layers)
                self._rows.append(draw)
            if not self._rows:
                return
            self._advance(self._choose_next(), self._rows)
            for slot in reversed(range(len(self._rows))):
                if self._rows[slot].over:
                    self._leave(slot)

    def _admit(self, starts: Iterator[Start]) -> Iterator[tuple[Draw, Layers]]:
        """Draw first tokens; yield what goes on. A prompt's keys are loaded once for all draws."""
        for start in starts:
            logits = start.logits.unsqueeze(0).expand(len(start.draws), -1)
            self._advance(self._draw(logits, start.draws), start.draws)
            going = [draw for draw in start.draws if not draw.over]
            layers = start.load() if going else []
            yield from ((draw, layers) for draw in going)

    def _choose_next(self) -> list[int]:
        """Let all rows read their last tokens; return the next ones."""
        last = [row.tokens[-1] for row in self._rows]
        if self._head is None:
            return self._draw(self._slots.read(last), self._rows)
        states = self._slots.read_to_head(last, self._head)
        return list(self._head.find_best(states).tolist())

    def _draw(self, logits: Any, rows: Sequence[Draw]) -> list[int]:
        return list(self._drawer.draw(logits, [row.dice for row in rows]).tolist())

    def _advance(self, tokens: Sequence[int], rows: Sequence[Draw]) -> None:
        for row, token in zip(rows, tokens, strict=True):
            if token < 0:
                row.broken = True
            else:
                row.tokens.append(token)
        whole = [row for row in rows if not row.broken]
        done = self._watch.find_done([row.tokens for row in whole])
        for row, stopped in zip(whole, done, strict=True):
            row.stopped = stopped

    def _leave(self, slot: int) -> None:
        """Take a row out as the slots do: the last one moves into its place."""
        self._slots.free(slot, self._rows[slot].broken)
        last = self._rows.pop()
        if slot < len(self._rows):
            self._rows[slot] = last
