"""Weights of few bits: quantised while loading, or in the checkpoint already."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
import logging
from collections.abc import Iterator
from typing import Any

import torch

from llmeval.core.errors import UsageError
from llmeval.models.settings import ModelSettings

_INSTALL = "pip install 'llmeval[quantized]'"
# Whose release may change an answer, by the method that a config.json names.
_PACKAGES = {
    "awq": "gptqmodel",
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed-tensors",
    "gptq": "gptqmodel",
    "quanto": "optimum-quanto",
    "torchao": "torchao",
}


def choose_quantization(config: Any, settings: ModelSettings, where: str) -> Any | None:
    """Return the ``quantization_config`` that ``load_in_4bit`` and ``load_in_8bit`` ask for.

    Raises:
        UsageError: bitsandbytes is not installed, or the checkpoint is quantised already.
    """
    if not (settings.load_in_4bit or settings.load_in_8bit):
        return None
    setting = "load_in_4bit" if settings.load_in_4bit else "load_in_8bit"
    where = f"{where}: {setting}"
    if method := _find_method(config):
        raise UsageError(
            f"the checkpoint is quantised already ({method})", where=where, mend=f"no {setting}"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UsageError("not installed: bitsandbytes", where=where, mend=_INSTALL)
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=settings.load_in_4bit, load_in_8bit=settings.load_in_8bit
    )


def identify_quantization(config: Any, settings: ModelSettings) -> dict[str, Any] | None:
    """Return how the weights are quantised and by which release of what, None where they are not.

    Args:
        config: the checkpoint's configuration, read before the weights were loaded.
    """
    if settings.load_in_4bit or settings.load_in_8bit:
        method, bits = "bitsandbytes", 4 if settings.load_in_4bit else 8
    elif found := _find_method(config):
        method, bits = found, None  # the rest stands in config.json, which has its own digest
    else:
        return None
    try:
        version = importlib.metadata.version(_PACKAGES.get(method, method))
    except importlib.metadata.PackageNotFoundError:
        version = None
    return {"method": method, "bits": bits, "version": version}


@contextlib.contextmanager
def quiet_quantizers() -> Iterator[None]:
    """Keep the bars of compressed-tensors off the terminal, and what bitsandbytes repeats."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # for good: it warns every layer
    with contextlib.redirect_stderr(io.StringIO()):
        yield


def try_out(model: Any, device: Any, where: str) -> None:
    """Compute one token: some kernels refuse their device or shape only then, some unpack then.

    Raises:
        UsageError: the quantised model cannot compute here.
    """
    try:
        with torch.inference_mode(), quiet_quantizers():
            model(torch.zeros((1, 1), dtype=torch.long, device=device))
    except Exception as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(
            f"the quantised model cannot compute on {device}: {text}",
            where=where,
            mend="try another device, another release of the quantising library, or the "
            "weights as they were before",
        ) from error


def _find_method(config: Any) -> str | None:
    found = getattr(config, "quantization_config", None)
    if found is None:
        return None
    if not isinstance(found, dict):
        found = found.to_dict()
    method = found.get("quant_method", "unknown")
    return str(getattr(method, "value", method))
