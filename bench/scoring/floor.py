"""The least that a set of questions costs: the distinct nodes of their prefix tree.

Counted here from lm-eval's own tokens, independently of llmeval's planner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Floor:
    """Args: distinct tokens, the rows that they see in all, positions whose logits are wanted."""

    tokens: int
    seen: int
    logits: int

    def flops(self, costs: Mapping[str, Any]) -> float:
        return float(
            self.tokens * costs["body"]
            + self.seen * costs["attention"]
            + self.logits * costs["head"]
        )

    def with_completions(self, rows: int, new_tokens: int, prompt_tokens: int) -> Floor:
        """Add completions: ``new_tokens`` in all after prompts of ``prompt_tokens`` in all."""
        fed = new_tokens - rows  # the last token of a completion is never fed back
        mean = prompt_tokens / max(rows, 1) + new_tokens / max(rows, 1) / 2
        return Floor(self.tokens + fed, self.seen + round(fed * mean), self.logits + new_tokens)


def count_floor(pairs: Sequence[tuple[Sequence[int], Sequence[int]]], max_length: int) -> Floor:
    """Count the prefix tree of (context, continuation) tokens; a prompt has no continuation."""
    rows: list[Tokens] = []
    wanted: set[bytes] = set()
    for context, continuation in pairs:
        whole = np.asarray([*context, *continuation], dtype=np.int64)
        inputs = whole[-(max_length + 1) :][:-1] if len(continuation) else whole[-max_length:]
        rows.append(inputs)
        if len(continuation):
            first = max(1, len(inputs) - len(continuation) + 1)
            wanted |= {inputs[:end].tobytes() for end in range(first, len(inputs) + 1)}
    rows.sort(key=lambda row: row.astype(">i8").tobytes())
    tokens = seen = 0
    for before, row in pairwise([np.empty(0, dtype=np.int64), *rows]):
        new = np.arange(_count_shared(before, row), len(row))
        tokens += len(new)
        seen += int((new + 1).sum())
    return Floor(tokens, seen, len(wanted))


def _count_shared(one: Tokens, other: Tokens) -> int:
    size = min(len(one), len(other))
    different = np.flatnonzero(one[:size] != other[:size])
    return int(different[0]) if len(different) else size
