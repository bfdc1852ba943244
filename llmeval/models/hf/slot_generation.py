"""Completions by packs and slots: a shared prefix is read once, and no row waits for another."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from llmeval.core.responses import Failure, Generation
from llmeval.models.hf.attention import attends_by_sdpa
from llmeval.models.hf.batching import MemoryGuard
from llmeval.models.hf.completions import BROKEN, Completions, Endings, GenerationUnit, PromptRow
from llmeval.models.hf.decoding import Decoder, Draw, Start
from llmeval.models.hf.packability import allow_rounding
from llmeval.models.hf.runner import PackRunner
from llmeval.models.hf.sampling import Drawer, make_dice
from llmeval.models.hf.slots import Slots
from llmeval.models.packing import (
    IntArray,
    Leaf,
    Trie,
    build_trie,
    cut_packs,
    list_members,
    plan_units,
)

ROUNDS_OF_UNIT = 4  # rows of a unit for each slot: at its end, slots run empty
WORTH_SHARING = 64  # tokens that all rows begin with
_CPU_SLOTS, _CPU_MEMORY = 64, 1 << 30
_GPU_SLOTS, _GPU_SHARE = 256, 0.5


class SlotGenerator:
    """Reads the prompts of a unit as a prefix tree, and decodes them in slots.

    Args:
        model: a transformers causal language model.
        runner: computes packs of it.
        endings: what ends a completion.
        slots: most rows of a decoding step, and
        pack_size: most new tokens of a pack; both halved when memory runs out, and remembered.
        shares: whether rows may read what they all begin with together.
    """

    name = "slots"

    def __init__(
        self,
        model: Any,
        runner: PackRunner,
        endings: Endings,
        *,
        slots: int,
        pack_size: int,
        shares: bool,
    ) -> None:
        self._model = model
        self._runner = runner
        self._endings = endings
        self._slots = slots
        self._pack_size = pack_size
        self._shares = shares
        self._memory = choose_memory(model)
        self._guard = MemoryGuard(slots)

    def plan(self, rows: Sequence[PromptRow], new: int) -> list[GenerationUnit]:
        """Cut in the order of the prefix tree; all draws of a prompt are in one unit."""
        trie = build_trie([row.tokens for row in rows])
        size = -(-trie.nodes * self._slots * ROUNDS_OF_UNIT // len(rows))
        units = plan_units(trie, (trie.lengths - 1).tolist(), size)
        return [
            GenerationUnit(members, [rows[i] for i in members], unit.trunk, unit.distinct)
            for unit, members in zip(units, list_members(trie, units), strict=True)
        ]

    def complete(self, unit: GenerationUnit, new: int) -> Completions:
        """Complete a unit's prompts with at most ``new`` tokens each.

        A unit gives the same bits whichever came before, as long as the memory suffices.
        """
        outcome = self._guard.run_whole(
            lambda slots: self._complete(unit, new, slots), on_failure=self._runner.reset
        )
        if isinstance(outcome, Failure):
            effort = self._runner.take_effort()
            outcome = Completions([outcome] * len(unit.rows), effort, unit.distinct)
        return outcome if len(unit.rows) == 1 else self._try_alone(unit, new, outcome)

    def _try_alone(self, unit: GenerationUnit, new: int, done: Completions) -> Completions:
        """Give rows that failed another chance: one that is no numbers spoils its whole pack."""
        answers, effort, distinct = list(done.answers), done.effort, done.distinct
        for place, answer in enumerate(answers):
            if isinstance(answer, Failure):
                alone = self.complete(GenerationUnit([0], [unit.rows[place]]), new)
                answers[place] = alone.answers[0]
                effort, distinct = effort + alone.effort, distinct + alone.distinct
        return Completions(answers, effort, distinct)

    def _complete(self, unit: GenerationUnit, new: int, slots: int) -> Completions:
        sampling = unit.rows[0].request.sampling
        trie = build_trie([row.tokens for row in unit.rows])
        draws, draw_of = _make_draws(unit.rows, trie, new)
        most = min(slots, sum(map(len, draws)))
        common = self._count_common(trie)
        width = int(trie.lengths.max()) - common + new
        seats = Slots(self._model, self._runner.form, most, width, self._memory)
        size = max(1, self._pack_size * slots // self._slots)
        starts = self._read(trie, unit.trunk, size, draws, common, seats)
        watch = self._endings.watch(sampling)
        Decoder(seats, Drawer(sampling), watch, self._runner.head).run(starts)
        answers: list[Generation | Failure] = [
            BROKEN if draw.broken else self._endings.read(row, draw.tokens, draw.stopped)
            for row, draw in zip(unit.rows, draw_of, strict=True)
        ]
        effort = self._runner.take_effort() + seats.effort
        return Completions(answers, effort, unit.distinct + seats.effort.tokens)

    def _count_common(self, trie: Trie) -> int:
        """Return how many tokens all rows begin with, if it is worth to read them together."""
        common = min([*trie.shared[1:].tolist(), *(trie.lengths - 1).tolist()])
        return common if self._shares and common >= WORTH_SHARING else 0

    def _read(
        self,
        trie: Trie,
        trunk: int,
        size: int,
        draws: Sequence[Sequence[Draw]],
        common: int,
        seats: Slots,
    ) -> Iterator[Start]:
        for number, (leaf, logits) in enumerate(read_prompts(self._runner, trie, trunk, size)):
            if common and number == 0:
                seats.share(self._runner.gather(leaf.path[:common]))
            load = functools.partial(self._runner.gather, leaf.path[common:])
            yield Start(logits, load, draws[leaf.row])


def read_prompts(
    runner: PackRunner, trie: Trie, trunk: int, size: int
) -> Iterator[tuple[Leaf, Any]]:
    """Compute prompts pack by pack; yield each one's end and the logits after it, [vocabulary].

    Its keys and values can be gathered until the next one is asked for.
    """
    shared = trie.shared.copy()
    shared[0] = trunk
    ends = np.stack([np.arange(len(trie.rows)), trie.lengths - 1])
    runner.begin(trie.rows[0][:trunk])
    for pack in cut_packs(trie.rows, shared, ends, size, leaves=True):
        logits = runner.run(pack)
        for leaf in pack.leaves:
            yield leaf, logits[int(np.searchsorted(pack.wanted, leaf.node))]


def _make_draws(
    rows: Sequence[PromptRow], trie: Trie, new: int
) -> tuple[list[list[Draw]], list[Draw]]:
    """Return the draws of each row of the tree, and the draw of each prompt.

    Greedy prompts with equal tokens have one completion.
    """
    draws: list[list[Draw]] = [[] for _ in trie.rows]
    draw_of = []
    for row, place in zip(rows, trie.row_of.tolist(), strict=True):
        if not draws[place] or not row.request.sampling.greedy:
            draws[place].append(Draw(new, make_dice(row.request)))
        draw_of.append(draws[place][-1])
    return draws, draw_of


def choose_slots(model: Any) -> int:
    """Return the most rows of a decoding step; what they take of the memory is bounded apart.

    On one CPU thread 16, 32 and 64 slots take 5.4, 4.7 and 4.4 s for the same 64 prompts.
    """
    return _CPU_SLOTS if model.device.type == "cpu" else _GPU_SLOTS


def choose_memory(model: Any) -> int:
    """Return the bytes that keys and values may take; the same whenever a run goes on."""
    if model.device.type != "cuda":
        return _CPU_MEMORY
    total: int = torch.cuda.get_device_properties(model.device).total_memory
    return int(_GPU_SHARE * max(0, total - model.get_memory_footprint()))


def can_share(model: Any, runner: PackRunner, max_length: int) -> bool:
    """Whether rows may read what they all begin with together: plain attention on all layers."""
    if not attends_by_sdpa(model) or any(runner.form.windows.values()):
        return False
    return find_decoding_fault(model, runner, max_length, shared=3) is None


def find_decoding_fault(
    model: Any, runner: PackRunner, max_length: int, shared: int = 0
) -> str | None:
    """Return why a model that packs does not decode in slots, None if it does.

    Rows of different lengths read their last tokens one by one, side by side; the log-probabilities
    must be those of the rows alone.

    Args:
        model: a transformers causal language model, on its device.
        runner: computes packs of it.
        max_length: the longest sequence that will be asked.
        shared: tokens at the beginning that the rows read together.
    """
    rng = np.random.default_rng(1)
    vocabulary = model.get_input_embeddings().num_embeddings
    lengths = [min(length, max_length) for length in (13, 6, 9)]
    if min(lengths) < 6:
        return f"a context of {max_length} tokens is too short to try it"
    rows = [rng.integers(0, vocabulary, length).astype(np.int32) for length in lengths]
    for row in rows:
        row[:3] = rows[0][:3]
    alone = _compute_alone(model, rows)
    try:
        packed, stepped = _compute_steps(model, runner, rows, shared)
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError) as error:
        return f"its attention takes no cache of slots ({type(error).__name__})"
    finally:
        runner.reset()
        runner.take_effort()
    # Packs agree with rows alone, as has been tried: their difference is rounding.
    noise = float((packed - alone[0]).abs().max())
    difference = float((stepped - alone[1]).abs().max())
    if difference <= allow_rounding(model, noise):
        return None
    return f"its log-probabilities differ by {difference:.2g} in slots"


def _compute_alone(model: Any, rows: Sequence[IntArray]) -> Any:
    """Return log-probabilities after the third last and the last token, [2, rows, vocabulary]."""
    outputs = []
    with torch.inference_mode():
        for row in rows:
            ids = torch.from_numpy(row).long().unsqueeze(0).to(model.device)
            outputs.append(model(ids).logits[0, [-3, -1]])
    return torch.stack(outputs, dim=1).float().log_softmax(dim=-1)


def _compute_steps(
    model: Any, runner: PackRunner, rows: Sequence[IntArray], shared: int
) -> tuple[Any, Any]:
    """Return log-probabilities after the prompts, in packs, and after two more tokens, in slots."""
    trie = build_trie([row[:-2] for row in rows])
    place = {int(row): index for index, row in enumerate(trie.row_of)}
    slots = Slots(model, runner.form, len(rows), max(map(len, rows)), 1 << 62)
    packed: list[Any] = [None] * len(rows)
    seated: list[int] = []
    for leaf, logits in read_prompts(runner, trie, 0, size=7):
        packed[place[leaf.row]] = logits
        if shared and not seated:
            slots.share(runner.gather(leaf.path[:shared]))
        slots.seat(runner.gather(leaf.path[shared:]))
        seated.append(place[leaf.row])
    slots.read([int(rows[index][-2]) for index in seated])
    logits = slots.read([int(rows[index][-1]) for index in seated])
    stepped = torch.empty_like(logits)
    stepped[torch.tensor(seated, device=logits.device)] = logits
    return torch.stack(packed).float().log_softmax(-1), stepped.float().log_softmax(-1)
