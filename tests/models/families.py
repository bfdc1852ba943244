"""Small random models of many families: configurations that make the parts differ that matter."""

from __future__ import annotations

from typing import Any

_BASE: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED = {**_BASE, "num_key_value_heads": 2}
_WIDE = {**_GROUPED, "head_dim": 8}
_GPT2 = {
    "vocab_size": 97, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128,
    "initializer_range": 0.3, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_MIXED = ["sliding_attention", "full_attention"]

# name -> (model type, configuration); windows are shorter than the sequences asked
PACKING: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", _GROUPED),
    "qwen2": ("qwen2", _GROUPED),
    "qwen2 with windows": (
        "qwen2",
        {**_GROUPED, "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    ),
    "qwen3": ("qwen3", _WIDE),
    "mistral": ("mistral", {**_GROUPED, "sliding_window": None}),
    "mistral with windows": ("mistral", {**_GROUPED, "sliding_window": 6}),
    "gpt2": ("gpt2", _GPT2),
    "gpt_neox": ("gpt_neox", _BASE),
    "gptj": ("gptj", {**_GPT2, "rotary_dim": 4}),
    "phi": ("phi", _BASE),
    "phi3": ("phi3", _GROUPED),
    "gemma": ("gemma", _WIDE),
    "gemma2": ("gemma2", {**_WIDE, "sliding_window": 6}),
    "gemma3": ("gemma3_text", {**_WIDE, "sliding_window": 6, "layer_types": _MIXED}),
    "gpt_oss": (
        "gpt_oss",
        {
            **_WIDE, "sliding_window": 6, "layer_types": _MIXED,
            "num_local_experts": 4, "num_experts_per_tok": 2,
        },
    ),
    "opt": (
        "opt",
        {
            "vocab_size": 97, "hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": 128, "word_embed_proj_dim": 32,
            "init_std": 0.3,
        },
    ),
    "falcon": (
        "falcon",
        {
            "vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
            "initializer_range": 0.3, "alibi": False, "bos_token_id": 1, "eos_token_id": 2,
        },
    ),
    "mixtral": ("mixtral", {**_GROUPED, "num_local_experts": 4}),
    "qwen3_moe": (
        "qwen3_moe",
        {**_WIDE, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    ),
    "olmo2": ("olmo2", _GROUPED),
    "cohere": ("cohere", _GROUPED),
    "starcoder2": ("starcoder2", {**_GROUPED, "sliding_window": 6}),
    "llama4": (
        "llama4_text",
        {**_WIDE, "num_local_experts": 2, "attention_chunk_size": 8, "intermediate_size_mlp": 48},
    ),
    "deepseek_v3": (
        "deepseek_v3",
        {
            **_BASE, "num_key_value_heads": 4, "n_routed_experts": 4, "n_group": 1,
            "topk_group": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
            "kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
            "v_head_dim": 8,
        },
    ),
}  # fmt: skip

FALLING_BACK: dict[str, tuple[str, dict[str, Any], str]] = {
    "bloom (ALiBi)": (
        "bloom",
        {"vocab_size": 97, "hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.3},
        "mask",
    ),
    "mpt (ALiBi)": (
        "mpt",
        {
            "vocab_size": 97, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 128,
            "initializer_range": 0.3,
        },
        "ALiBi",
    ),
    "falcon with ALiBi": (
        "falcon",
        {
            "vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
            "initializer_range": 0.3, "alibi": True,
        },
        "mask",
    ),
    "gpt_neo (windows by place)": (
        "gpt_neo",
        {
            "vocab_size": 97, "hidden_size": 32, "num_layers": 2, "num_heads": 4,
            "attention_types": [[["global", "local"], 1]], "window_size": 6,
            "max_position_embeddings": 128,
        },
        "windows by place",
    ),
    "mamba (recurrent)": (
        "mamba",
        {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
        "recurrent",
    ),
    "recurrent gemma (hybrid)": (
        "recurrent_gemma",
        {**_GROUPED, "head_dim": 8, "lru_width": 32, "attention_window_size": 64},
        "recurrent",
    ),
    "llama with dynamic rope": (
        "llama",
        {
            **_GROUPED,
            "rope_parameters": {
                "rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0,
                "original_max_position_embeddings": 32,
            },
        },
        "length of the whole sequence",
    ),
}  # fmt: skip


def make_model(kind: str, config: dict[str, Any], dtype: Any = None) -> Any:
    """Return a model with random weights, the same ones every time."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **config)).eval()
    return model if dtype is None else model.to(dtype)
