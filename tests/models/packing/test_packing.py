"""Random tries: every node once, ancestors exact, reads where they belong, memory bounded."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.models.packing import (
    IntArray,
    Pack,
    Trie,
    build_trie,
    cut_packs,
    cut_trunk,
    plan_units,
)
from llmeval.models.packing.packs import TRUNK_CHUNK
from llmeval.models.packing.units import TRUNK_STEP

# Few letters and a shared beginning, so that rows share prefixes, repeat, and are prefixes.
_TAILS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=14)
_HEADERS = st.lists(st.lists(st.integers(0, 1), max_size=70), min_size=1, max_size=3)


@st.composite
def sequences(draw: Any) -> list[IntArray]:
    headers, tails = draw(_HEADERS), draw(_TAILS)
    picks = st.integers(0, len(headers) - 1)
    return [np.array(headers[draw(picks)] + tail, np.int32) for tail in tails]


def ancestry(rows: list[IntArray]) -> set[tuple[int, ...]]:
    """All distinct prefixes: the nodes of the trie, by brute force."""
    return {tuple(row[: n + 1].tolist()) for row in rows for n in range(len(row))}


class Replay:
    """Goes through packs as an executor does, with prefixes in place of keys and values."""

    def __init__(self, trunk: IntArray) -> None:
        self.path = [tuple(trunk[: n + 1].tolist()) for n in range(len(trunk))]
        self.computed: list[tuple[int, ...]] = []
        self.everything: list[tuple[int, ...]] = []

    def run(self, pack: Pack) -> None:
        assert pack.path == len(self.path)
        assert [len(prefix) - 1 for prefix in self.path] == list(range(pack.path))
        new: list[tuple[int, ...]] = []
        for i, (token, depth) in enumerate(zip(pack.tokens, pack.depths, strict=True)):
            seen = [p for r, p in enumerate(self.path) if i < pack.path_ends[r]]
            seen += [new[j] for j in range(i) if i < pack.ends[j]]
            assert i < pack.ends[i]
            # What a node sees is one chain, each a token longer than the one before.
            assert [len(prefix) for prefix in seen] == list(range(1, len(seen) + 1))
            assert all(longer[:-1] == shorter for shorter, longer in pairwise(seen))
            assert depth == len(seen)
            new.append(((*seen[-1], int(token))) if seen else (int(token),))
        self.computed += new
        self.everything = self.path + new
        self.path = [self.everything[place] for place in pack.keep]


@given(sequences())
def test_a_trie_holds_each_distinct_row_once_and_knows_what_neighbours_share(
    rows: list[IntArray],
) -> None:
    trie = build_trie(rows)
    assert [tuple(r.tolist()) for r in trie.rows] == sorted({tuple(r.tolist()) for r in rows})
    assert all((trie.rows[trie.row_of[i]] == row).all() for i, row in enumerate(rows))
    assert trie.nodes == len(ancestry(rows))


@given(sequences(), st.integers(1, 40), st.data())
def test_packs_compute_every_node_once_with_exactly_its_ancestors(
    rows: list[IntArray], size: int, data: Any
) -> None:
    trie = build_trie(rows)
    trunk = data.draw(st.integers(0, len(trie.rows[0]) - 1))
    shared = trie.shared.copy()
    shared[0] = trunk
    cached = {tuple(trie.rows[0][: n + 1].tolist()) for n in range(trunk)}
    reads = [
        (row, place)
        for row, tokens in enumerate(trie.rows)
        for place in range(len(tokens))
        if tuple(tokens[: place + 1].tolist()) not in cached
    ]
    data.draw(st.randoms()).shuffle(reads)
    packs = cut_packs(trie.rows, shared, np.array(reads).T.reshape(2, -1), size, leaves=True)

    replay = Replay(trie.rows[0][:trunk])
    answered: dict[int, tuple[int, ...]] = {}
    ended: dict[int, list[tuple[int, ...]]] = {}
    for pack in packs:
        assert 1 <= len(pack.tokens) <= size
        replay.run(pack)
        begun = len(replay.everything) - len(pack.tokens)
        wanted = [replay.everything[begun + node] for node in pack.wanted]
        answered |= {
            int(number): wanted[read]
            for read, number in zip(pack.reads, pack.read_ids, strict=True)
        }
        for leaf in pack.leaves:
            assert replay.everything[begun + leaf.node] == tuple(trie.rows[leaf.row].tolist())
            ended[leaf.row] = [replay.everything[place] for place in leaf.path]

    assert len(replay.computed) == len(set(replay.computed))
    assert set(replay.computed) == ancestry(rows) - cached
    assert [answered[i] for i in range(len(reads))] == [
        tuple(trie.rows[row][: place + 1].tolist()) for row, place in reads
    ]
    assert ended == {
        row: [tuple(tokens[: n + 1].tolist()) for n in range(len(tokens))]
        for row, tokens in enumerate(trie.rows)
    }


@given(sequences(), st.integers(1, 60), st.data())
def test_units_cover_the_trie_and_no_read_falls_into_a_trunk(
    rows: list[IntArray], size: int, data: Any
) -> None:
    trie = build_trie(rows)
    reads = [data.draw(st.integers(0, len(row) - 1)) for row in trie.rows]
    units = plan_units(trie, reads, size)
    if trie.nodes >= size // 2:
        assert all(unit.distinct >= size // 2 for unit in units)
    longest = max(map(len, trie.rows))  # no row is divided
    assert all(unit.distinct <= size + size // 2 + longest for unit in units)
    assert [len(u.rows) for u in units] and sum(len(u.rows) for u in units) == len(trie.rows)
    assert sum(unit.distinct for unit in units) == trie.nodes
    for unit, following in zip(units, [*units[1:], None], strict=True):
        first = unit.rows[0]
        assert unit.trunk % TRUNK_STEP == 0
        assert unit.trunk <= _longest_shared(trie, unit.first, following)
        for row, read in zip(unit.rows, reads[unit.first :], strict=False):
            in_trunk = read < unit.trunk and row[: read + 1].tolist() == first[: read + 1].tolist()
            assert not in_trunk


def _longest_shared(trie: Trie, first: int, following: Any) -> int:
    """What the first row of a unit shares with its neighbours outside, by brute force."""
    neighbours = [trie.rows[first - 1]] if first else []
    neighbours += [following.rows[0]] if following is not None else []

    def common(row: IntArray) -> int:
        pairs = zip(trie.rows[first], row, strict=False)
        return next(
            (n for n, (a, b) in enumerate(pairs) if a != b), min(len(row), len(trie.rows[first]))
        )

    return max(map(common, neighbours), default=0)


def test_units_that_share_a_header_keep_it_as_their_trunk() -> None:
    rng = np.random.default_rng(0)
    header = rng.integers(0, 50, 700).astype(np.int32)
    rows = [np.concatenate([header, rng.integers(0, 50, 100)]).astype(np.int32) for _ in range(200)]
    trie = build_trie(rows)
    units = plan_units(trie, [len(row) - 1 for row in trie.rows], 4096)
    assert len(units) > 3
    assert {unit.trunk for unit in units} == {700 - 700 % TRUNK_STEP}
    computed = units[0].trunk + sum(
        len(row) - s for unit in units for row, s in zip(unit.rows, unit.shared, strict=True)
    )
    assert computed <= 1.01 * trie.nodes


@pytest.mark.parametrize("length", [1, TRUNK_CHUNK, TRUNK_CHUNK + 1, 3 * TRUNK_CHUNK - 7])
def test_a_trunk_is_cut_into_fixed_chunks_wherever_one_begins(length: int) -> None:
    tokens = np.arange(length, dtype=np.int32)
    packs = cut_trunk(tokens)
    replay = Replay(tokens[:0])
    for pack in packs:
        replay.run(pack)
    assert replay.computed == [tuple(tokens[: n + 1].tolist()) for n in range(length)]
    later = cut_trunk(tokens, TRUNK_CHUNK)
    assert [p.tokens.tolist() for p in later] == [p.tokens.tolist() for p in packs[1:]]


def test_no_sequences_make_no_units() -> None:
    assert plan_units(build_trie([]), [], 10) == []
