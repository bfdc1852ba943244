"""Packs: the forward passes of a unit, each some hundred new tokens over the cached path.

The nodes of a unit stand in depth-first order. A pack takes the next ones; the path of its first
node is what is cached when it begins. So whether a node sees another one is a matter of two
numbers: a node's subtree is the interval from it to the first later node that is no deeper.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from llmeval.models.packing.trie import IntArray

TRUNK_CHUNK = 256  # fixed, so that a trunk's passes do not depend on who needs it

_Segment = tuple[int, int, int]  # begin and end among the unit's nodes, depth of the first


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """The end of a row within a pack.

    Args:
        row: index of the row in the unit.
        node: index of its last node in the pack.
        path: [row's length] places of all its nodes in path ++ pack.
    """

    row: int
    node: int
    path: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """One forward pass of P new nodes over a cached path of C.

    Node ``j`` of the pack is visible to node ``i`` exactly if ``j <= i < ends[j]``, row ``r`` of
    the path exactly if ``i < path_ends[r]``: those are its ancestors and itself.

    Args:
        tokens: [P] token ids.
        depths: [P] their positions in their sequences.
        ends: [P] first later node of the pack outside the node's subtree; P if there is none.
        path_ends: [C] likewise for each row of the path, whose depths are 0 to C - 1.
        keep: places in path ++ pack of what is the next pack's path, in order of depth.
        wanted: [W] nodes whose output is read, ascending.
        reads: [n] indices into ``wanted`` of the reads that fall into this pack.
        read_ids: [n] which of the unit's reads these are.
        leaves: rows that end here, where asked for.
    """

    tokens: IntArray
    depths: IntArray
    ends: IntArray
    path_ends: IntArray
    keep: npt.NDArray[np.int64]
    wanted: npt.NDArray[np.int64]
    reads: npt.NDArray[np.int64]
    read_ids: npt.NDArray[np.int64]
    leaves: list[Leaf] = field(default_factory=list)

    @property
    def path(self) -> int:
        """C, the rows of the cached path."""
        return len(self.path_ends)


def cut_packs(
    rows: Sequence[IntArray],
    shared: Sequence[int] | npt.NDArray[np.int64],
    reads: npt.NDArray[np.int64],
    size: int,
    leaves: bool = False,
) -> list[Pack]:
    """Cut a unit into packs of at most ``size`` new nodes, of nearly equal sizes.

    Args:
        rows: distinct rows in lexicographic order.
        shared: [rows] tokens that a row shares with the row before it; for the first, what is
            cached of it when the unit begins.
        reads: [2, n] (row, position) of each output that is read; not within what is cached.
        size: most new nodes of a pack; a row may go on in the next one.
        leaves: whether packs say which rows end in them.
    """
    tokens = np.concatenate([row[s:] for row, s in zip(rows, shared, strict=True)])
    lengths = [len(row) - int(s) for row, s in zip(rows, shared, strict=True)]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    depths = np.arange(len(tokens)) + np.repeat(np.asarray(shared) - starts[:-1], lengths)
    nodes = _find_nodes(rows, shared, starts, reads)
    packs = -(-len(tokens) // size)
    bounds = [len(tokens) * number // packs for number in range(packs + 1)]
    cutter = _Cutter(tokens, depths, starts, nodes, leaves)
    return [cutter.cut(a, b) for a, b in itertools.pairwise(bounds)]


def cut_trunk(tokens: IntArray, begin: int = 0) -> list[Pack]:
    """Cut a trunk into its passes, from the chunk that starts at ``begin`` on.

    Args:
        tokens: all tokens of the trunk.
        begin: what is cached of it, a multiple of ``TRUNK_CHUNK``.
    """
    nothing = np.zeros(0, np.int64)
    packs = []
    for start in range(begin, len(tokens), TRUNK_CHUNK):
        chunk = tokens[start : start + TRUNK_CHUNK]
        size, stop = len(chunk), start + len(chunk)
        packs.append(
            Pack(
                tokens=chunk,
                depths=np.arange(start, stop, dtype=np.int32),
                ends=np.full(size, size, np.int32),
                path_ends=np.full(start, size, np.int32),
                keep=np.arange(stop),
                wanted=nothing,
                reads=nothing,
                read_ids=nothing,
            )
        )
    return packs


def _find_nodes(
    rows: Sequence[IntArray],
    shared: Sequence[int] | npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    reads: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Return the unit's node of each read: the row's own, or an ancestor's of an earlier row."""
    found = np.empty(reads.shape[1], np.int64)
    order = np.argsort(reads[0], kind="stable")
    bounds = np.searchsorted(reads[0][order], np.arange(len(rows) + 1))
    path = np.full(max(map(len, rows)), -1, np.int64)
    for row, tokens in enumerate(rows):
        path[shared[row] : len(tokens)] = np.arange(starts[row], starts[row + 1])
        mine = order[bounds[row] : bounds[row + 1]]
        found[mine] = path[reads[1][mine]]
    return found


class _Cutter:
    """Cuts one unit; called with consecutive intervals of its nodes."""

    def __init__(
        self,
        tokens: IntArray,
        depths: npt.NDArray[np.int64],
        starts: npt.NDArray[np.int64],
        nodes: npt.NDArray[np.int64],
        leaves: bool,
    ) -> None:
        self._tokens = tokens
        self._depths = depths
        self._starts = starts
        self._order = np.argsort(nodes, kind="stable")
        self._nodes = nodes[self._order]
        self._leaves = leaves

    def cut(self, begin: int, end: int) -> Pack:
        """Make the pack of the nodes from ``begin`` to ``end``."""
        segments = self._find_segments(begin, end)
        ends, path_ends = self._find_ends(begin, end, segments)
        keep, leaves = self._follow_path(begin, end, segments)
        low, high = np.searchsorted(self._nodes, [begin, end])
        wanted, reads = np.unique(self._nodes[low:high] - begin, return_inverse=True)
        return Pack(
            tokens=self._tokens[begin:end],
            depths=self._depths[begin:end].astype(np.int32),
            ends=ends,
            path_ends=path_ends,
            keep=keep,
            wanted=wanted,
            reads=reads,
            read_ids=self._order[low:high],
            leaves=leaves,
        )

    def _find_segments(self, begin: int, end: int) -> list[_Segment]:
        """Return the parts of rows between two nodes."""
        low, high = np.searchsorted(self._starts, [begin, end], side="left")
        edges = sorted({begin, *self._starts[low:high].tolist(), end})
        return [(a, b, int(self._depths[a])) for a, b in itertools.pairwise(edges)]

    def _find_ends(
        self, begin: int, end: int, segments: Sequence[_Segment]
    ) -> tuple[IntArray, IntArray]:
        """Return where each node's subtree ends, and each path row's, going backwards.

        ``following[d]`` is the first node seen so far that is no deeper than ``d``.
        """
        deepest = int(self._depths[begin:end].max()) + 1
        following = np.full(deepest, end - begin, np.int32)
        ends = np.empty(end - begin, np.int32)
        for a, b, depth in reversed(segments):
            ends[a - begin : b - begin] = following[depth : depth + b - a]
            following[depth:] = a - begin
        return ends, following[: segments[0][2]]

    def _follow_path(
        self, begin: int, end: int, segments: Sequence[_Segment]
    ) -> tuple[npt.NDArray[np.int64], list[Leaf]]:
        """Return the places of the path to the node after the pack, and the rows that end."""
        cached = segments[0][2]
        deepest = int(self._depths[begin:end].max()) + 1
        places = np.arange(deepest)  # up to the cached depth these are the path's own rows
        leaves = []
        for a, b, depth in segments:
            places[depth : depth + b - a] = np.arange(a, b) - begin + cached
            if self._leaves and (row := self._row_ending_at(b)) is not None:
                leaves.append(Leaf(row, b - 1 - begin, places[: depth + b - a].copy()))
        if end == len(self._depths):
            return np.zeros(0, np.int64), leaves
        return places[: int(self._depths[end])].copy(), leaves

    def _row_ending_at(self, node: int) -> int | None:
        row = int(np.searchsorted(self._starts, node))
        return row - 1 if self._starts[row] == node else None
