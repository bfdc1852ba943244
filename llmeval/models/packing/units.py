"""Units: runs of a trie's rows that are computed, and journaled, on their own.

Neighbouring units share a prefix too (the few-shot header of a subject). To compute it once and
still let no unit depend on another, the prefix that a unit shares with its neighbours is its
*trunk*: it is computed in passes of its own, the same ones whichever unit comes first. So its
cached keys and values are equal to the last bit whether they were kept from the unit before or
are computed anew after a kill, and so are the answers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmeval.models.packing.trie import IntArray, Trie

# Trunks end at multiples of this: neighbours whose common prefixes differ by a few tokens then
# have the same one. What is cut off, half of it on average, is computed again in every unit.
TRUNK_STEP = 32


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """Rows that are computed together.

    Args:
        first: index of its first row in the trie.
        rows: its rows, in the trie's order.
        shared: [rows] tokens that a row shares with the row before it; the trunk for the first.
        trunk: tokens of its first row that are its trunk.
        distinct: nodes that no unit before it has.
    """

    first: int
    rows: list[IntArray]
    shared: npt.NDArray[np.int64]
    trunk: int
    distinct: int


def plan_units(trie: Trie, first_reads: Sequence[int], size: int) -> list[Unit]:
    """Cut a trie into units of some ``size`` nodes, where neighbours share least.

    Args:
        trie: what is to be computed.
        first_reads: [rows] first position of each row at which an output is read; no output of
            a trunk can be read.
        size: nodes of a unit, half as many more or less.
    """
    lengths = trie.lengths
    nodes_before = np.concatenate([[0], np.cumsum(lengths - trie.shared)])
    cuts = _choose_cuts(trie.shared, nodes_before, size)
    reads = np.asarray(first_reads, np.int64)
    return [
        _make_unit(trie, reads, nodes_before, start, stop)
        for start, stop in itertools.pairwise(cuts)
    ]


def list_members(trie: Trie, units: Sequence[Unit]) -> list[list[int]]:
    """Return the sequences that end in each unit, in the order of its rows."""
    order = np.argsort(trie.row_of, kind="stable")
    edges = [unit.first for unit in units] + [len(trie.rows)]
    bounds = np.searchsorted(trie.row_of[order], edges)
    return [order[low:high].tolist() for low, high in itertools.pairwise(bounds)]


def _choose_cuts(
    shared: npt.NDArray[np.int64], nodes_before: npt.NDArray[np.int64], size: int
) -> list[int]:
    """Halve what is too large where neighbours share least: between subjects before within one."""
    cuts = [len(shared)] if len(shared) else []
    waiting = [(0, len(shared))] if len(shared) else []
    while waiting:
        start, stop = waiting.pop()
        cut = _choose_cut(shared, nodes_before, start, stop, size)
        if cut is None:
            cuts.append(start)
        else:
            waiting += [(start, cut), (cut, stop)]
    return sorted(cuts)


def _choose_cut(
    shared: npt.NDArray[np.int64],
    nodes_before: npt.NDArray[np.int64],
    start: int,
    stop: int,
    size: int,
) -> int | None:
    """Return the row before which to cut, None if what is left would be too little."""
    low, high = nodes_before[start], nodes_before[stop]
    if high - low <= size + size // 2:
        return None
    first = int(np.searchsorted(nodes_before, low + size // 2))
    last = int(np.searchsorted(nodes_before, high - size // 2, side="right")) - 1
    first, last = max(first, start + 1), min(last, stop - 1)
    if first > last:
        return None
    span = shared[first : last + 1]
    least = np.flatnonzero(span == span.min()) + first
    middle = (low + high) / 2
    return int(least[np.abs(nodes_before[least] - middle).argmin()])


def _make_unit(
    trie: Trie,
    reads: npt.NDArray[np.int64],
    nodes_before: npt.NDArray[np.int64],
    start: int,
    stop: int,
) -> Unit:
    shared = trie.shared[start:stop].copy()
    distinct = int(nodes_before[stop] - nodes_before[start])
    shared[0] = trunk = _find_trunk(trie.shared, reads, start, stop)
    return Unit(start, trie.rows[start:stop], shared, trunk, distinct)


def _find_trunk(
    shared: npt.NDArray[np.int64], reads: npt.NDArray[np.int64], start: int, stop: int
) -> int:
    """Return how much of the first row the unit before, or the unit after, has as well."""
    length = int(shared[start])
    if stop < len(shared):
        length = max(length, int(shared[start + 1 : stop + 1].min()))
    # A row that still shares its first read with the first row would read from the trunk.
    common = np.minimum.accumulate(np.concatenate([[reads[start] + 1], shared[start + 1 : stop]]))
    inside = reads[start:stop][reads[start:stop] < common]
    length = min([length, *map(int, inside)])
    return length - length % TRUNK_STEP
