"""Sequences in lexicographic order: neighbours share prefixes, so together they are a trie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Trie:
    """The distinct rows of some sequences, in depth-first order of the trie that they form.

    Row ``r`` adds the nodes ``rows[r][shared[r]:]``, at least one; the node of its token ``d`` has
    depth ``d``.

    Args:
        rows: distinct sequences of token ids, in lexicographic order; a prefix comes first.
        shared: [rows] tokens that a row shares with the row before it; 0 for the first.
        row_of: [sequences] the row of each sequence given.
    """

    rows: list[IntArray]
    shared: npt.NDArray[np.int64]
    row_of: npt.NDArray[np.int64]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """[rows] tokens of each row."""
        return np.fromiter(map(len, self.rows), np.int64, len(self.rows))

    @property
    def nodes(self) -> int:
        """Distinct tokens: what a scorer has to compute at least."""
        return int((self.lengths - self.shared).sum())


def build_trie(sequences: Sequence[IntArray]) -> Trie:
    """Sort sequences into a trie; none may be empty. One array given twice is read once."""
    keys = _sort_keys(sequences)
    order = sorted(set(keys))
    place = {key: row for row, key in enumerate(order)}
    first = {key: index for index, key in reversed(list(enumerate(keys)))}
    rows = [sequences[first[key]] for key in order]
    shared = np.zeros(len(rows), np.int64)
    for row in range(1, len(rows)):
        shared[row] = count_shared(rows[row - 1], rows[row])
    return Trie(rows, shared, np.fromiter((place[key] for key in keys), np.int64, len(keys)))


def count_shared(one: IntArray, other: IntArray) -> int:
    """Return the length of the common prefix of two rows."""
    length = min(len(one), len(other))
    differs = one[:length] != other[:length]
    place = int(differs.argmax()) if length else 0
    return place if length and differs[place] else length


def _sort_keys(sequences: Sequence[IntArray]) -> list[bytes]:
    """Return bytes that sort as the tokens do: big-endian and unsigned."""
    made: dict[int, bytes] = {}
    for sequence in sequences:
        if id(sequence) not in made:
            made[id(sequence)] = sequence.astype(">u4").tobytes()
    return [made[id(sequence)] for sequence in sequences]
