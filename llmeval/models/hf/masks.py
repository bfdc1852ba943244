"""Attention masks for arbitrary visibility, in the form that a model's attention takes.

Masks are additive, 0 or the dtype's lowest number: attention that is written out adds the mask to
its scores, and PyTorch's SDPA makes the same of a boolean one, anew in every layer. Models whose
layers differ (sliding windows in some) take one mask for each type of layer. A model that knows
windows only as a whole takes one mask with the window in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

_WINDOWS = {"sliding_attention": "sliding_window", "chunked_attention": "attention_chunk_size"}
_FULL = "full_attention"


@dataclass(frozen=True, slots=True)
class MaskForm:
    """How visibility is told to a model.

    Args:
        dtype: the model's.
        windows: type of layer -> its window, None where a layer has none.
        by_type: whether the model takes one mask for each type of layer; else there is one type.
    """

    dtype: Any
    windows: dict[str, int | None]
    by_type: bool

    def build(self, visible: Any, query_depths: Any, key_depths: Any) -> Any:
        """Return what the model takes as ``attention_mask``.

        Args:
            visible: [B, Q, K] bool, whether a query may see a key, windows aside.
            query_depths: [B, Q] positions of the queries.
            key_depths: [B, K] positions of the keys.
        """
        masks = {}
        for kind, window in self.windows.items():
            seen = visible
            if window is not None:
                seen = visible & _within(kind, window, query_depths, key_depths)
            masks[kind] = self._write(seen.unsqueeze(1))
        return masks if self.by_type else next(iter(masks.values()))

    def _write(self, seen: Any) -> Any:
        lowest = torch.finfo(self.dtype).min
        return torch.zeros(seen.shape, dtype=self.dtype, device=seen.device).masked_fill_(
            ~seen, lowest
        )


def list_forms(model: Any) -> list[MaskForm]:
    """Return the forms that may suit a model, the likeliest first; none if none can.

    Which one does is for the caller to try: no attribute of a model says it.
    """
    config = model.config.get_text_config(decoder=True)
    types = list(dict.fromkeys(getattr(config, "layer_types", None) or ()))
    if any(kind != _FULL and kind not in _WINDOWS for kind in types):
        return []  # layers that carry a state from token to token
    if "local" in (getattr(config, "attention_layers", None) or ()):
        return []  # GPT-Neo's windows: by place in the pass, not by position
    layouts: list[tuple[bool, dict[str, int | None]]] = []
    if types:
        layouts.append((True, {kind: _find_window(config, kind) for kind in types}))
    if len(types) <= 1:
        kind = types[0] if types else "sliding_attention"
        layouts.append((False, {kind: _find_window(config, kind)}))
    return [MaskForm(model.dtype, windows, by_type) for by_type, windows in layouts]


def _find_window(config: Any, kind: str) -> int | None:
    window = getattr(config, _WINDOWS[kind], None) if kind in _WINDOWS else None
    return None if window is None else int(window)


def _within(kind: str, window: int, query_depths: Any, key_depths: Any) -> Any:
    """Return [B, Q, K] whether a key lies in a query's window."""
    if kind == "chunked_attention":
        return (query_depths // window).unsqueeze(2) == (key_depths // window).unsqueeze(1)
    return query_depths.unsqueeze(2) - key_depths.unsqueeze(1) < window
