"""The tokenizer of the pocket model: a small byte-level BPE, trained on one corpus cycle.

Newlines and digits are tokens of their own and a word carries its leading space, so the tokens of
prompt and continuation never merge across their boundary.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from llmeval.pocket.corpus import BOS, CHAT_TEMPLATE, EOS, SPECIAL_TOKENS, generate_cycle

VOCABULARY = 1536
CONTEXT_LENGTH = 1024
_PIECES = r"\n| ?[^\W\d_]+| ?\d| ?[^\s\w]+| ?_| +(?!\S)| +|\s"


def train_tokenizer(seed: int) -> Tokenizer:
    """Train on the first cycle of the corpus; special tokens take the first ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    special = re.compile("|".join(re.escape(token) for token in SPECIAL_TOKENS))
    texts = (special.sub("", document.text) for document in generate_cycle(seed, 0))
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json and the tokenizer_config.json that transformers reads beside it."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": EOS,
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT_LENGTH,
        "chat_template": CHAT_TEMPLATE,
    }
    text = json.dumps(config, indent=1) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
