"""What an engine is started from: folders, tokenizer, context length and identity; no weights."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmeval.core.errors import UsageError
from llmeval.models.hf.loading import (
    attempt,
    choose_template,
    find_length,
    find_tokenizer,
    identify_source,
    load_config,
    load_tokenizer,
    quiet_transformers,
)
from llmeval.models.hf.source import Source, check_tokenizer, find_checkpoint, find_source
from llmeval.models.vllm.settings import VllmSettings

_ADAPTER = "adapter_config.json"


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter: its folder, and the largest rank of its matrices."""

    folder: str
    rank: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model that is not loaded yet.

    Args:
        source: where its files are.
        target: what vLLM is to load: a folder, or a hub id where there is a network.
        tokenizer_target: likewise, of the tokenizer.
        tokenizer: a transformers tokenizer with the chat template that the settings name.
        architecture: name of the model's class.
        max_length: context in tokens.
        vocabulary: rows of the embedding.
        adapter: what is put into the layers, if anything.
        identity: what model, tokenizer and adapter are, for the fingerprint.
    """

    source: Source
    target: str
    tokenizer_target: str
    tokenizer: Any
    architecture: str
    max_length: int
    vocabulary: int
    adapter: Adapter | None
    identity: dict[str, Any]


def read_checkpoint(target: str, where: str, settings: VllmSettings) -> Checkpoint:
    """Find a checkpoint and read everything but its weights, by the rules of the HF backend.

    Args:
        target: folder or hub id.
        where: the model's name on the command line, for messages.
        settings: how it is loaded.

    Raises:
        UsageError: it is not there, damaged, or no causal language model.
    """
    # Said out loud, so that a later fork (sandboxed code) draws no warning from the tokenizer.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    source = find_checkpoint(target, where, settings.revision)
    plain = settings.for_tokenizer()
    tokenizer_source = find_tokenizer(source, where, plain)
    check_tokenizer(tokenizer_source, where)
    found = _find_adapter(settings.lora, where)
    with quiet_transformers():
        config = attempt(
            "configuration", where, lambda: load_config(source, settings.trust_remote_code)
        )
        tokenizer = attempt("tokenizer", where, lambda: load_tokenizer(tokenizer_source, plain))
    if getattr(config, "is_encoder_decoder", False):
        raise UsageError(
            f"{config.model_type} is an encoder-decoder", where=where, mend="take a causal one"
        )
    choose_template(tokenizer, settings.chat_template)
    other = None if tokenizer_source is source else tokenizer_source
    return Checkpoint(
        source=source,
        target=_localize(source),
        tokenizer_target=_localize(tokenizer_source),
        tokenizer=tokenizer,
        architecture=next(iter(getattr(config, "architectures", None) or [config.model_type])),
        max_length=find_length(config, tokenizer, plain, where),
        vocabulary=config.get_text_config(decoder=True).vocab_size,
        adapter=None if found is None else _read_adapter(found, where),
        identity={
            "model": identify_source(source),
            "tokenizer": other and identify_source(other),
            "adapter": found and identify_source(found),
        },
    )


def _localize(source: Source) -> str:
    """Return the hub's cached folder where no network is there, since vLLM would look for one."""
    if source.folder is not None or not source.offline:
        return source.target
    return _cached_folder(source)


def _cached_folder(source: Source) -> str:
    from huggingface_hub import snapshot_download

    return str(
        snapshot_download(source.target, revision=source.revision, local_files_only=source.offline)
    )


def _find_adapter(target: str | None, where: str) -> Source | None:
    if target is None:
        return None
    source = find_source(target, f"{where}: lora={target}", _ADAPTER)
    if source.folder is not None and not (source.folder / _ADAPTER).is_file():
        raise UsageError(
            f"{source.folder} has no {_ADAPTER}",
            where=f"{where}: lora={target}",
            mend="give an adapter's folder",
        )
    return source


def _read_adapter(source: Source, where: str) -> Adapter:
    """Read an adapter's rank, which vLLM wants to know before it loads anything.

    Raises:
        UsageError: it is no LoRA adapter.
    """
    folder = Path(source.folder or _cached_folder(source))
    where = f"{where}: lora={source.target}"
    try:
        config = json.loads((folder / _ADAPTER).read_text(encoding="utf-8"))
        kind, rank = config["peft_type"], int(config["r"])
        ranks = [rank, *map(int, (config.get("rank_pattern") or {}).values())]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"cannot read {_ADAPTER}: {error!r}", where=where, mend="give a LoRA adapter"
        ) from error
    if kind != "LORA":
        raise UsageError(f"vLLM takes LoRA adapters, not {kind}", where=where)
    return Adapter(str(folder), max(ranks))
