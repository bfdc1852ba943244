"""Models of random weights in the shapes of real ones, made once into a folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

_LLAMA3 = {"vocab_size": 128256, "max_position_embeddings": 8192, "rope_theta": 500000.0}
_KEYS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
)
_GPT2 = {"vocab_size": 50257, "max_position_embeddings": 2048}
SHAPES: dict[str, dict[str, Any]] = {
    "15M": dict(zip(_KEYS, (256, 688, 6, 8, 8), strict=True)) | _GPT2,
    "135M": dict(zip(_KEYS, (576, 1536, 30, 9, 3), strict=True)) | _GPT2,
    "1B": dict(zip(_KEYS, (2048, 8192, 16, 32, 8), strict=True)) | _LLAMA3,
    "8B": dict(zip(_KEYS, (4096, 14336, 32, 32, 8), strict=True))
    | _LLAMA3
    | {"tie_word_embeddings": False},
}
"""15M; SmolLM2-135M's shape; Llama 3.2 1B's and Llama 3 8B's. All with GPT-2's tokenizer."""

_TOKENIZER_FILES = ("tokenizer*", "vocab*", "merges*", "special_tokens_map*", "added_tokens*")


def make_model(shape: str, tokenizer: Path, cache: Path, dtype: str, device: str) -> Path:
    """Return the folder of a random model, made with seed 0 where it is not there yet."""
    folder = cache / f"random-{shape}-{dtype}"
    if (folder / "made").exists():
        return folder
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    common = {"tie_word_embeddings": True, "bos_token_id": 50256, "eos_token_id": 50256}
    config = LlamaConfig(**{**common, **SHAPES[shape]})
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    model.save_pretrained(folder)
    for pattern in _TOKENIZER_FILES:
        for file in tokenizer.glob(pattern):
            shutil.copy(file, folder / file.name)
    (folder / "made").touch()
    return folder
