"""Attention of a decoding step over keys that all rows share and keys of their own.

The shared ones are held, and read, once: for them the rows are one matrix.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface

NAME = "llmeval_shared_prefix"
_KNOWN = {"shared_prefix", "position_ids", "use_cache", "is_causal", "output_attentions"}


def attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[Any, None]:
    """Return [rows, 1, heads, size] and no weights.

    Args:
        module: the attention layer, with its ``layer_idx``.
        query: [rows, heads, 1, size].
        key, value: [rows, key heads, own tokens, size].
        attention_mask: [rows, 1, 1, own tokens], to be added.
        scaling: of the scores; None is that of the size.
        dropout: must be 0.
        sliding_window: must be None.
        options: with ``shared_prefix``, the layers' keys and values, [1, key heads, shared, size].

    Raises:
        ValueError: the layer asks for more than plain attention.
    """
    given = {name for name, option in options.items() if option is not None and option is not False}
    wanted = given - _KNOWN
    if wanted or dropout or sliding_window is not None:
        raise ValueError(f"attention with {sorted(wanted)} cannot share a prefix")
    shared_key, shared_value = options["shared_prefix"][module.layer_idx]
    rows, heads, _, size = query.shape
    groups = key.shape[1]
    query = query.reshape(rows, groups, heads // groups, size)
    query = query * (size**-0.5 if scaling is None else scaling)
    count = shared_key.shape[2]
    together = query.transpose(0, 1).reshape(groups, -1, size)
    shared = (together @ shared_key[0].transpose(1, 2)).view(groups, rows, -1, count)
    own = query @ key.transpose(2, 3) + attention_mask
    weights = torch.cat([shared.transpose(0, 1), own], dim=-1)
    weights = weights.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    over_shared = weights[..., :count].transpose(0, 1).reshape(groups, -1, count)
    mixed = (over_shared @ shared_value[0]).view(groups, rows, -1, value.shape[3])
    mixed = mixed.transpose(0, 1) + weights[..., count:] @ value
    return mixed.reshape(rows, 1, heads, value.shape[3]), None


AttentionInterface.register(NAME, attend)
