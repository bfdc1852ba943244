"""Attention within a pack, block by block: each block of nodes reads only what it may see.

A pack's mask hides most of it: nodes of one question do not see those of the next. PyTorch's SDPA
computes what a mask hides; a block of neighbouring nodes has all its ancestors in one interval of
the pack and one beginning of the path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from llmeval.models.packing import Pack

NAME = "llmeval_packed"
BLOCK = 64

_KNOWN = {"pack_blocks", "position_ids", "use_cache", "is_causal", "sliding_window"}
"""What the mask says already, or what changes nothing."""


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring nodes of a pack and what they may see of path ++ pack.

    Args:
        begin, end: the nodes, in the pack.
        path: rows of the path that one of them sees, from the first on.
        path_end: C, where the pack begins in path ++ pack.
        low: first node of the pack that one of them sees.
    """

    begin: int
    end: int
    path: int
    path_end: int
    low: int

    def select(self, whole: Any, dim: int) -> Any:
        """Return what the block sees of a tensor over path ++ pack."""
        own = whole.narrow(dim, self.path_end + self.low, self.end - self.low)
        if not self.path:
            return own
        if self.path == self.path_end and not self.low:
            return whole.narrow(dim, 0, self.path_end + self.end)
        return torch.cat([whole.narrow(dim, 0, self.path), own], dim=dim)


def cut_blocks(pack: Pack, size: int = BLOCK) -> list[Block]:
    """Cut a pack into blocks of at most ``size`` nodes."""
    blocks = []
    for begin in range(0, len(pack.tokens), size):
        end = min(begin + size, len(pack.tokens))
        low = int((pack.ends > begin).argmax())  # the first whose subtree reaches into the block
        path = int((pack.path_ends > begin).sum())  # deeper rows end earlier
        blocks.append(Block(begin, end, path, pack.path, low))
    return blocks


def attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    *,
    pack_blocks: Sequence[Block],
    **options: Any,
) -> tuple[Any, None]:
    """Return [1, P, heads, size] and no weights.

    Args:
        module: the attention layer.
        query: [1, heads, P, size].
        key, value: [1, key heads, C + P, size].
        attention_mask: [1, 1, P, C + P], to be added.
        scaling: of the scores; None is that of the size.
        dropout: must be 0.
        pack_blocks: the blocks of the pack.

    Raises:
        ValueError: the layer asks for more than plain attention.
    """
    asked = {name for name, given in options.items() if given is not None and given is not False}
    if dropout or asked - _KNOWN:
        raise ValueError(f"attention with {sorted(asked - _KNOWN)} is not computed in blocks")
    grouped = query.shape[1] != key.shape[1]
    parts = [
        scaled_dot_product_attention(
            query[:, :, block.begin : block.end],
            block.select(key, 2),
            block.select(value, 2),
            attn_mask=block.select(attention_mask[:, :, block.begin : block.end], 3),
            scale=scaling,
            enable_gqa=grouped,
        )
        for block in pack_blocks
    ]
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, attend)
