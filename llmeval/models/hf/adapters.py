"""Adapters (LoRA and its like) on a loaded model, by the peft library.

They are applied as lm-eval applies them, not merged: merging rounds every weight anew.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import warnings
from typing import Any

from llmeval.core.errors import UsageError
from llmeval.models.hf.source import Source, find_source

_INSTALL = "pip install 'llmeval[peft]'"
_FILE = "adapter_config.json"


def find_adapter(target: str, where: str) -> Source:
    """Find an adapter's folder or hub repository.

    Raises:
        UsageError: peft is not installed, or there is no adapter.
    """
    where = f"{where}: peft={target}"
    if importlib.util.find_spec("peft") is None:
        raise UsageError("not installed: peft", where=where, mend=_INSTALL)
    source = find_source(target, where, _FILE)
    if source.folder is not None and not (source.folder / _FILE).is_file():
        raise UsageError(
            f"{source.folder} has no {_FILE}", where=where, mend="give an adapter's folder"
        )
    return source


def apply_adapter(model: Any, source: Source, where: str) -> Any:
    """Put an adapter into a model; returns the model itself, which then computes with it.

    Raises:
        UsageError: the adapter changes more than layers, or lacks weights.
        Exception: whatever peft says of one that does not fit the model.
    """
    import peft

    options: dict[str, Any] = {} if source.folder is not None else source.options
    config = peft.PeftConfig.from_pretrained(source.target, **options)
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    # These work in peft's wrapper around the model: on the prompt, or by the tokens in it.
    if (
        config.is_prompt_learning
        or kind == "XLORA"
        or getattr(config, "alora_invocation_tokens", 0)
    ):
        raise UsageError(
            f"adapters that act on the prompt ({kind}) are not supported",
            where=where,
            mend="take one that changes layers, such as LoRA",
        )
    _fit_vocabulary(model, peft.load_peft_weights(source.target, device="cpu", **options))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        adapted = peft.PeftModel.from_pretrained(
            model, source.target, torch_device=str(model.device), **options
        )
    # peft goes on with weights that change nothing.
    if any("missing adapter keys" in str(warning.message) for warning in caught):
        raise UsageError(
            "the adapter lacks weights for this model",
            where=where,
            mend="check that it is whole and made for this model",
        )
    return adapted.get_base_model()


def identify_adapter(files: dict[str, Any]) -> dict[str, Any]:
    """Return what an adapter is: its files or its commit, and who applies it."""
    return {**files, "peft": importlib.metadata.version("peft")}


def _fit_vocabulary(model: Any, weights: dict[str, Any]) -> None:
    """Give the model as many embedding rows as the adapter brings, where it brings any."""
    embedding = model.get_input_embeddings()
    name = next(name for name, module in model.named_modules() if module is embedding)
    rows = next((len(w) for key, w in weights.items() if key.endswith(f"{name}.weight")), None)
    if rows is not None and rows != embedding.num_embeddings:
        model.resize_token_embeddings(rows)
