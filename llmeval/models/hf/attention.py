"""Which function a model's layers attend with, for the length of a call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def attending(model: Any, name: str) -> Iterator[None]:
    """Let a model's layers attend with a function that transformers knows by ``name``."""
    config = model.config.get_text_config(decoder=True)
    usual = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = usual


def attends_by_sdpa(model: Any) -> bool:
    """Whether a model's layers use PyTorch's scaled dot product attention."""
    config = model.config.get_text_config(decoder=True)
    return getattr(config, "_attn_implementation", None) == "sdpa"
