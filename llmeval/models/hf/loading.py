"""A checkpoint in memory: configuration, tokenizer and weights, or one clear line why not."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from llmeval.core.errors import UsageError
from llmeval.models.hf.adapters import apply_adapter, find_adapter, identify_adapter
from llmeval.models.hf.identity import digest_folder
from llmeval.models.hf.quantization import (
    choose_quantization,
    identify_quantization,
    quiet_quantizers,
    try_out,
)
from llmeval.models.hf.source import Source, check_tokenizer, find_commit, find_source
from llmeval.models.settings import ModelSettings

_DEFAULT_LENGTH = 2048  # lm-eval's, where neither configuration nor tokenizer says
_LENGTH_NAMES = ("n_positions", "max_position_embeddings", "n_ctx")
_UNSET_LENGTH = 1e29  # transformers writes 1e30 where a tokenizer has no limit

Loaded = TypeVar("Loaded")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded model with its tokenizer.

    Args:
        model: transformers causal language model, on its device or devices, in evaluation mode,
            with its adapter inside.
        tokenizer: its tokenizer, with the chat template that the settings name.
        max_length: context in tokens.
        identity: what weights, tokenizer, adapter and quantisation are, for the fingerprint;
            empty where nobody asked.
    """

    model: Any
    tokenizer: Any
    max_length: int
    identity: dict[str, Any]

    @property
    def device(self) -> torch.device:
        """Where ``input_ids`` go; with a ``device_map`` the layers may lie elsewhere."""
        embedding = self.model.get_input_embeddings()
        hook = getattr(embedding, "_hf_hook", None)  # accelerate's: weights may be kept away
        place = getattr(hook, "execution_device", None)
        return torch.device(embedding.weight.device if place is None else place)


def load_checkpoint(
    source: Source, where: str, settings: ModelSettings, identify: bool = True
) -> Checkpoint:
    """Load a checkpoint from a folder, the hub's cache or the hub.

    Args:
        source: where it is.
        where: the model's name on the command line, for messages.
        settings: how to load it.
        identify: tell what its files are; a second process need not read them all once more.

    Raises:
        UsageError: it is damaged, incomplete, or no causal language model.
    """
    # Said out loud, so that a later fork (sandboxed code) draws no warning from the tokenizer.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false" if settings.threads == 1 else "true")
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    tokenizer_source = find_tokenizer(source, where, settings)
    check_tokenizer(tokenizer_source, where)
    adapter = find_adapter(settings.peft, where) if settings.peft else None
    with quiet_transformers():
        config = attempt(
            "configuration", where, lambda: load_config(source, settings.trust_remote_code)
        )
        if getattr(config, "is_encoder_decoder", False):
            raise UsageError(
                f"{config.model_type} is an encoder-decoder", where=where, mend="take a causal one"
            )
        tokenizer = attempt("tokenizer", where, lambda: load_tokenizer(tokenizer_source, settings))
        choose_template(tokenizer, settings.chat_template)
        quantized = identify_quantization(config, settings)
        with quiet_quantizers() if quantized or adapter else contextlib.nullcontext():
            model = attempt(
                "weights", where, lambda: _load_weights(source, config, settings, where)
            )
            if adapter is not None:
                model = attempt("adapter", where, lambda: apply_adapter(model, adapter, where))
    identity: dict[str, Any] = {}
    if identify:
        other = None if tokenizer_source is source else tokenizer_source
        identity = {
            "model": identify_source(source),
            "tokenizer": other and identify_source(other),
            "adapter": adapter and identify_adapter(identify_source(adapter)),
            "quantization": quantized,
        }
    checkpoint = Checkpoint(
        model.eval(), tokenizer, find_length(config, tokenizer, settings, where), identity
    )
    if quantized is not None:
        try_out(checkpoint.model, checkpoint.device, where)
    return checkpoint


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' warnings and progress bars; what matters is reported by us."""
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(logging.CRITICAL)
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()


def find_tokenizer(source: Source, where: str, settings: ModelSettings) -> Source:
    if settings.tokenizer is None:
        return source
    return find_source(settings.tokenizer, where, "tokenizer_config.json")


def attempt(part: str, where: str, load: Callable[[], Loaded]) -> Loaded:
    """Turn whatever a damaged file makes a library raise into one line."""
    try:
        return load()
    except UsageError:
        raise
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        text = text if len(text) <= 200 else text[:200] + "..."
        if "trust_remote_code" in str(error):
            mend = "set trust_remote_code=true if you trust it"
        elif isinstance(error, ImportError):
            mend = "install what it names; see docs/models.md for the extras"
        else:
            mend = "check that the checkpoint is whole"
        raise UsageError(f"cannot load the {part}: {text}", where=where, mend=mend) from error


def load_config(source: Source, trusted: bool) -> Any:
    return AutoConfig.from_pretrained(source.target, trust_remote_code=trusted, **source.options)


def load_tokenizer(source: Source, settings: ModelSettings) -> Any:
    bos = {} if settings.add_bos_token is None else {"add_bos_token": settings.add_bos_token}
    tokenizer = AutoTokenizer.from_pretrained(
        source.target, trust_remote_code=settings.trust_remote_code, **source.options, **bos
    )
    if not len(tokenizer):
        raise ValueError("its vocabulary is empty")
    return tokenizer


def _load_weights(source: Source, config: Any, settings: ModelSettings, where: str) -> Any:
    dtype = settings.dtype if settings.dtype == "auto" else getattr(torch, settings.dtype)
    quantization = choose_quantization(config, settings, where)
    model, report = AutoModelForCausalLM.from_pretrained(
        source.target,
        config=config,
        dtype=dtype,
        trust_remote_code=settings.trust_remote_code,
        output_loading_info=True,
        # Straight to the device: quantised weights cannot all be moved later.
        device_map=settings.device_map or {"": _choose_device(settings.device)},
        **({} if quantization is None else {"quantization_config": quantization}),
        **source.options,
    )
    # transformers fills gaps with random numbers and goes on.
    gaps = sorted(map(str, [*report["missing_keys"], *report.get("mismatched_keys", ())]))
    if gaps:
        raise UsageError(
            f"the checkpoint lacks {len(gaps)} of the model's weights, such as {gaps[0]}",
            where=where,
            mend="check that the checkpoint is whole and belongs to its config.json",
        )
    return model


def _choose_device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    there = {"cpu": True, "cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    ready = there[kind]
    if ready is not True and not ready():
        raise UsageError(f"torch finds no {kind} device here", where="device", mend="device=auto")
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise UsageError(f"there are {count} CUDA devices", where=f"device={name}")
    return name


def choose_template(tokenizer: Any, wanted: str | None) -> None:
    """Give the tokenizer the template that the settings name: one of its own, or a file's."""
    if wanted is None:
        return
    own = tokenizer.chat_template
    if isinstance(own, dict) and wanted in own:
        tokenizer.chat_template = own[wanted]
        return
    path = Path(wanted).expanduser()
    if not path.is_file():
        names = f"its templates: {', '.join(own)}" if isinstance(own, dict) else "give a file"
        raise UsageError(f"no chat template {wanted!r}", where="chat_template", mend=names)
    try:
        tokenizer.chat_template = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read it: {error}", where=f"chat_template={wanted}") from error


def find_length(config: Any, tokenizer: Any, settings: ModelSettings, where: str) -> int:
    """Return the context length, looked for in lm-eval's order."""
    text_config = getattr(config, "text_config", None) or config
    lengths = (getattr(text_config, name, None) for name in _LENGTH_NAMES)
    limit = next((int(length) for length in lengths if length is not None), None)
    if settings.max_length is not None:
        if limit is not None and settings.max_length > limit:
            raise UsageError(
                f"{settings.max_length} tokens are more than the model's {limit} positions",
                where=f"{where}: max_length",
                mend=f"at most {limit}",
            )
        return settings.max_length
    if limit is not None:
        return limit
    own = getattr(tokenizer, "model_max_length", None)
    return int(own) if own is not None and own < _UNSET_LENGTH else _DEFAULT_LENGTH


def identify_source(source: Source) -> dict[str, Any]:
    if source.folder is not None:
        return {"files": digest_folder(source.folder)}
    return {"commit": find_commit(source)}
