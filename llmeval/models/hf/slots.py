"""The decode loop: rows of different lengths in slots of one cache, each slot refilled at once.

transformers has a continuous batching of its own (``generate_batch``, with a paged cache). On the
CPU it takes ten times as long as one static batch, so it is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

from llmeval.models.hf.attention import attending
from llmeval.models.hf.head import SlicedHead
from llmeval.models.hf.masks import MaskForm
from llmeval.models.hf.runner import Effort, Layers, takes_argument
from llmeval.models.hf.shared_attention import NAME as SHARED


class Slots:
    """Rows in decoding: the first ``len(slots)`` slots are taken, the others free.

    Args:
        model: a transformers causal language model in evaluation mode.
        form: how its attention is told what a row sees.
        most: most rows.
        width: most tokens of a row, the prompt included, a shared prefix not.
        memory: bytes that all slots together may take; one slot there is in any case.
    """

    def __init__(self, model: Any, form: MaskForm, most: int, width: int, memory: int) -> None:
        self._model = model
        self._form = form
        self._most = most
        self._width = width
        self._memory = memory
        self._prefix: Layers = []
        self._shared = 0  # tokens of the prefix
        self._cache: SlotCache | None = None  # the first row shows the shapes
        self._lengths: list[int] = []  # tokens of each row whose keys and values are in its slot
        keeps = takes_argument(model, "logits_to_keep")
        self._options: dict[str, Any] = {"logits_to_keep": 1} if keeps else {}
        self.effort = Effort()

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def full(self) -> bool:
        return len(self._lengths) >= self._most

    def share(self, prefix: Layers) -> None:
        """Hold keys and values that all rows begin with, once; seats are without them then.

        For models whose layers attend as :func:`~llmeval.models.hf.shared_attention.attend` does.
        """
        self._prefix, self._shared = prefix, prefix[0][0].shape[2]

    def seat(self, layers: Layers) -> None:
        """Put a row's keys and values into the next free slot."""
        if self._cache is None:
            self._cache = SlotCache(layers, self._most, self._width, self._memory)
            self._most = self._cache.slots
        self._cache.fill(len(self._lengths), layers)
        self._lengths.append(layers[0][0].shape[2])

    def read(self, tokens: Sequence[int]) -> Any:
        """Let each row read one more token; return the logits after it, [rows, vocabulary]."""
        return self._forward(tokens)[:, -1]

    def read_to_head(self, tokens: Sequence[int], head: SlicedHead) -> Any:
        """Like :meth:`read`, but return what the head is given, [rows, width]."""
        with head.held_back():
            self._forward(tokens)
        return head.take()[:, -1]

    def _forward(self, tokens: Sequence[int]) -> Any:
        """Return the model's logits, [rows, 1, vocabulary]."""
        assert self._cache is not None
        device = self._model.device
        lengths = torch.tensor(self._lengths, device=device)
        used = max(self._lengths) + 1
        self._cache.point(lengths, used)
        positions = lengths.unsqueeze(1) + self._shared
        depths = torch.arange(used, device=device).expand(len(tokens), -1) + self._shared
        visible = (depths <= positions).unsqueeze(1)
        options = dict(self._options)
        if self._prefix:
            options["shared_prefix"] = self._prefix
        with (
            torch.inference_mode(),
            attending(self._model, SHARED) if self._prefix else nullcontext(),
        ):
            output = self._model(
                input_ids=torch.tensor(tokens, device=device).unsqueeze(1),
                position_ids=positions,
                attention_mask=self._form.build(visible, positions, depths),
                past_key_values=self._cache,
                use_cache=True,
                **options,
            )
        self._lengths = [length + 1 for length in self._lengths]
        attended = sum(self._lengths) + self._shared * len(tokens)
        self.effort += Effort(len(tokens), attended, len(tokens))
        return output.logits

    def free(self, slot: int, broken: bool = False) -> None:
        """Take a row out; the last row moves into the gap, so that none stands idle.

        Args:
            slot: whose row it is.
            broken: whether its keys or values may be no numbers.
        """
        assert self._cache is not None
        if broken:
            self._cache.clear(slot)
        length = self._lengths.pop()
        if slot < len(self._lengths):
            self._cache.move(len(self._lengths), slot, length)
            self._lengths[slot] = length


class SlotCache(Cache):  # type: ignore[misc]
    """Keys and values of all slots, [slots, heads, width, size] for each layer.

    Args:
        layers: the first sequence to be held, for the shapes.
        slots: most rows.
        width: most tokens of a row.
        memory: bytes that all slots together may take.
    """

    def __init__(self, layers: Layers, slots: int, width: int, memory: int) -> None:
        token = sum(x.shape[1] * x.shape[3] * x.element_size() for pair in layers for x in pair)
        self.slots = max(1, min(slots, memory // (token * width)))
        self._layers = [SlotLayer(k, v, self.slots, width) for k, v in layers]
        super().__init__(layers=self._layers)

    def fill(self, slot: int, layers: Layers) -> None:
        """Put a sequence into a slot."""
        for layer, (keys, values) in zip(self._layers, layers, strict=True):
            layer.keys[slot, :, : keys.shape[2]] = keys[0]
            layer.values[slot, :, : values.shape[2]] = values[0]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row of so many tokens to another slot."""
        for layer in self._layers:
            layer.keys[target, :, :length] = layer.keys[source, :, :length]
            layer.values[target, :, :length] = layer.values[source, :, :length]

    def clear(self, slot: int) -> None:
        """Forget what a slot held: masked NaNs still spoil a weighted sum."""
        for layer in self._layers:
            layer.keys[slot].zero_()
            layer.values[slot].zero_()

    def point(self, lengths: Any, used: int) -> None:
        """Say where the next token of each row goes, and how far the longest row then reaches."""
        for layer in self._layers:
            layer.point(lengths, used)


class SlotLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer of the slots; a row's new token is written at the row's own length."""

    is_sliding = False

    def __init__(self, keys: Any, values: Any, slots: int, width: int) -> None:
        super().__init__()
        # Zeros rather than what the memory holds: masked NaNs still spoil a weighted sum.
        self.keys = keys.new_zeros((slots, keys.shape[1], width, keys.shape[3]))
        self.values = values.new_zeros((slots, values.shape[1], width, values.shape[3]))
        self.is_initialized = True
        self._rows: Any = None
        self._lengths: Any = None
        self._used = 0

    def point(self, lengths: Any, used: int) -> None:
        # A model over several devices has layers on each.
        self._lengths = lengths.to(self.keys.device)
        self._rows = torch.arange(len(lengths), device=self.keys.device)
        self._used = used

    def update(
        self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any
    ) -> tuple[Any, Any]:
        """Write [rows, heads, 1, size]; return what is read, [rows, heads, used, size]."""
        self.keys[self._rows, :, self._lengths] = key_states[:, :, 0]
        self.values[self._rows, :, self._lengths] = value_states[:, :, 0]
        count = len(self._rows)
        return self.keys[:count, :, : self._used], self.values[:count, :, : self._used]

    def lazy_initialization(self, key_states: Any, value_states: Any) -> None:
        """Nothing is left to do: the shapes are known from the first prompt."""

    def get_seq_length(self) -> int:
        return max(0, self._used - 1)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._used, 0

    def get_max_length(self) -> int:
        return int(self.keys.shape[2])
