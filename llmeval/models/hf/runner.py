"""Runs packs on a model: one forward pass each, over the cached keys and values of the path."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from llmeval.models.hf import packed_attention
from llmeval.models.hf.attention import attending
from llmeval.models.hf.head import SlicedHead
from llmeval.models.hf.masks import MaskForm
from llmeval.models.packing import IntArray, Pack, cut_trunk
from llmeval.models.packing.packs import TRUNK_CHUNK
from llmeval.models.packing.trie import count_shared

Layers = list[tuple[Any, Any]]
"""Keys and values of each layer, [1, heads, rows, head size]."""


@dataclass(slots=True)
class Effort:
    """What was computed, for the figures of a run.

    Args:
        tokens: nodes that went through the layers.
        attended: pairs of a node and an ancestor (or itself), summed over nodes.
        outputs: nodes that went through the output head.
    """

    tokens: int = 0
    attended: int = 0
    outputs: int = 0

    def __add__(self, other: Effort) -> Effort:
        return Effort(
            self.tokens + other.tokens,
            self.attended + other.attended,
            self.outputs + other.outputs,
        )


@dataclass(slots=True)
class _Trunk:
    tokens: IntArray = field(default_factory=lambda: np.zeros(0, np.int32))
    layers: Layers = field(default_factory=list)


class PackRunner:
    """Holds the path's keys and values between packs, and the trunk's between units.

    Args:
        model: a transformers causal language model in evaluation mode.
        form: how its attention is told what a node sees.

    ``head`` reads the output head in slices, None where that does not suit the model; ``block`` is
    the number of nodes that attend together, None where they all do.
    """

    def __init__(self, model: Any, form: MaskForm) -> None:
        self._model = model
        self.form = form
        # Over several devices the places would be sent to the first one, the states be on the last.
        spread = len(set(getattr(model, "hf_device_map", {}).values())) > 1
        self._selects_outputs = takes_argument(model, "logits_to_keep") and not spread
        self._path: Layers = []
        self._keep: Any = None  # what of the last pack is the next one's path
        self._trunk = _Trunk()
        self.head: SlicedHead | None = None
        self.block: int | None = None
        self._effort = Effort()

    def begin(self, trunk: IntArray) -> None:
        """Begin a unit: the path is its trunk, computed where the last one's does not reach."""
        kept = self._reusable(trunk)
        layers = _select(self._trunk.layers, slice(0, kept))
        for pack in cut_trunk(trunk, kept):
            layers = self._forward(pack, layers)[1]
        self._trunk = _Trunk(trunk, layers)
        self._path, self._keep = layers, None

    def run(self, pack: Pack) -> Any:
        """Compute a unit's next pack; return the logits of its wanted nodes, [W, vocabulary]."""
        self._go_on()
        logits, self._path = self._forward(pack, self._path)
        self._keep = pack.keep
        return logits

    def run_to_head(self, pack: Pack, head: SlicedHead) -> Any:
        """Like :meth:`run`, but return what the head is given, [W, width]."""
        self._go_on()
        with head.held_back():
            _, self._path = self._forward(pack, self._path)
        self._keep = pack.keep
        states = head.take()[0]
        return states[: len(pack.wanted)] if self._selects_outputs else states[pack.wanted]

    def gather(self, places: Any) -> Layers:
        """Return keys and values at some places of the last pack's path ++ pack."""
        return _gather(self._path, places)

    def take_effort(self) -> Effort:
        """Return what was computed since this was last called."""
        effort, self._effort = self._effort, Effort()
        return effort

    def reset(self) -> None:
        """Let go of everything that is cached."""
        self._path, self._keep, self._trunk = [], None, _Trunk()

    def _go_on(self) -> None:
        """Keep of the last pack what is the next one's path."""
        if self._keep is not None:
            self._path = _gather(self._path, self._keep)

    def _reusable(self, trunk: IntArray) -> int:
        """Return how much of the cached trunk came from the passes that this one would take."""
        common = count_shared(self._trunk.tokens, trunk)
        if common == len(trunk) == len(self._trunk.tokens):
            return common
        return common - common % TRUNK_CHUNK

    def _forward(self, pack: Pack, path: Layers) -> tuple[Any, Layers]:
        device = self._model.device
        depths = torch.from_numpy(pack.depths).to(device, torch.long).unsqueeze(0)
        key_depths = torch.cat([torch.arange(pack.path, device=device).unsqueeze(0), depths], 1)
        mask = self.form.build(make_visibility(pack, device).unsqueeze(0), depths, key_depths)
        cache = _make_cache(path)
        with torch.inference_mode(), self._attend(pack) as options:
            logits = self._model(
                input_ids=torch.from_numpy(pack.tokens).to(device, torch.long).unsqueeze(0),
                position_ids=depths,
                attention_mask=mask,
                past_key_values=cache,
                use_cache=True,
                **self._choose_outputs(pack, device),
                **options,
            ).logits[0]
        self._count(pack)
        return self._pick_outputs(pack, logits), [(x.keys, x.values) for x in cache.layers]

    @contextmanager
    def _attend(self, pack: Pack) -> Iterator[dict[str, Any]]:
        """Choose how the pack's nodes attend; yield what the layers are to be told."""
        if self.block is None:
            yield {}
            return
        with attending(self._model, packed_attention.NAME):
            yield {"pack_blocks": packed_attention.cut_blocks(pack, self.block)}

    def _choose_outputs(self, pack: Pack, device: Any) -> dict[str, Any]:
        if not self._selects_outputs:
            return {}
        # At least one, since no model expects none.
        wanted = pack.wanted if len(pack.wanted) else np.zeros(1, np.int64)
        return {"logits_to_keep": torch.from_numpy(wanted).to(device)}

    def _pick_outputs(self, pack: Pack, logits: Any) -> Any:
        if self._selects_outputs or not len(logits):  # none where the head is held back
            return logits[: len(pack.wanted)]
        return logits[torch.from_numpy(pack.wanted).to(logits.device)]

    def _count(self, pack: Pack) -> None:
        outputs = len(pack.wanted) if self._selects_outputs else len(pack.tokens)
        attended = int(pack.depths.sum()) + len(pack.tokens)
        self._effort += Effort(len(pack.tokens), attended, outputs)


def make_visibility(pack: Pack, device: Any) -> Any:
    """Return [P, C + P] bool: what each node of a pack sees of path ++ pack."""
    node = torch.arange(len(pack.tokens), device=device)
    ends = torch.from_numpy(pack.ends).to(device)
    path_ends = torch.from_numpy(pack.path_ends).to(device)
    on_path = node.unsqueeze(1) < path_ends
    in_pack = (node <= node.unsqueeze(1)) & (node.unsqueeze(1) < ends)
    return torch.cat([on_path, in_pack], dim=1)


def takes_argument(model: Any, name: str) -> bool:
    """Whether a model's forward knows an argument; an adapter's wrapper takes its model's."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return name in inspect.signature(inner.forward).parameters


def _make_cache(path: Layers) -> Any:
    """Return a cache that holds a path; plain layers, since sliding ones drop rows."""
    cache = DynamicCache()
    for keys, values in path:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache


def _select(layers: Layers, rows: slice) -> Layers:
    if rows.stop == 0:
        return []
    return [(keys[:, :, rows], values[:, :, rows]) for keys, values in layers]


def _gather(layers: Layers, places: Any) -> Layers:
    if not len(places):
        return []
    index = torch.from_numpy(places)
    return [
        (keys.index_select(2, index.to(keys.device)), values.index_select(2, index.to(keys.device)))
        for keys, values in layers
    ]
