"""Tiny checkpoints made in the test: random weights, tokenizers trained on a few sentences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CORPUS = [
    "Once upon a time there was a little girl who went into the woods to find a fox.",
    "The fox said: come with me, and the girl went with the fox into the dark woods.",
    "Question: Where did the girl go?\nAnswer: She went into the woods.\n\nQuestion: Why?",
    "Ärger über größere Öfen, ça va? 你好世界。 naïve café — 3.14 + 2 = 5.14",
    "into the into the into the woods with the fox with the girl with the little time",
]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


def train_tokenizer(specials: dict[str, str], add_bos: bool = False) -> Any:
    """Train a byte-level BPE whose pieces may hold blanks, so that boundaries can vanish."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    # No split at blanks: "into the" can become one piece, as in tinystories656K.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=sorted(set(specials.values())),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    if add_bos:
        bos = specials["bos_token"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **specials)


def save_llama(folder: Path, tokenizer: Any, max_length: int = 64, vocabulary: int = 400) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=max_length,
        initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_gpt2(folder: Path, tokenizer: Any) -> Path:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(11)
    config = GPT2Config(
        vocab_size=400,
        n_positions=48,
        n_embd=32,
        n_layer=2,
        n_head=4,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep digests out of the user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def llama_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama whose tokenizer begins every text with BOS and has a chat template."""
    tokenizer = train_tokenizer(
        {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}, add_bos=True
    )
    tokenizer.chat_template = TEMPLATE
    return save_llama(tmp_path_factory.mktemp("llama"), tokenizer)


@pytest.fixture(scope="session")
def gpt2_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 whose tokenizer has EOS only, and adds nothing."""
    tokenizer = train_tokenizer({"eos_token": "<|endoftext|>"})
    return save_gpt2(tmp_path_factory.mktemp("gpt2"), tokenizer)


@pytest.fixture(scope="session")
def bare_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama whose tokenizer has no special token at all."""
    return save_llama(tmp_path_factory.mktemp("bare"), train_tokenizer({}))


@pytest.fixture(scope="session")
def load() -> Callable[..., Any]:
    """Load a checkpoint in float32 on one thread, further settings by name."""
    from llmeval.models import ModelSettings, load_model

    def load_folder(folder: Path, **settings: Any) -> Any:
        chosen = {"dtype": "float32", "device": "cpu", "threads": 1} | settings
        return load_model(f"hf:{folder}", ModelSettings(**chosen))

    return load_folder


@pytest.fixture(scope="session")
def llama(llama_dir: Path, load: Callable[..., Any]) -> Any:
    return load(llama_dir)


@pytest.fixture(scope="session")
def gpt2(gpt2_dir: Path, load: Callable[..., Any]) -> Any:
    return load(gpt2_dir)


@pytest.fixture(scope="session")
def bare(bare_dir: Path, load: Callable[..., Any]) -> Any:
    return load(bare_dir)
