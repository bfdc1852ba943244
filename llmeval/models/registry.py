"""From a model's name on the command line to the model."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from llmeval.core.errors import UsageError
from llmeval.core.protocols import InformedModel, Model, ServedModel
from llmeval.models.baselines import BASELINES, load_baseline
from llmeval.models.kinds import AnySettings, read_settings, settings_class
from llmeval.models.settings import ModelSettings


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One row of ``llmeval models``.

    Args:
        spec: what ``-m`` takes.
        about: one line for the reader.
        ready: whether this installation can use it.
        mend: what is missing where it is not ready.
    """

    spec: str
    about: str
    ready: bool = True
    mend: str | None = None


_INSTALL_HF = "pip install 'llmeval[hf]'"
_INSTALL_VLLM = "pip install 'llmeval[vllm]'"


def load_model(
    spec: str, settings: AnySettings | None = None
) -> Model | ServedModel | InformedModel:
    """Return the model that a name stands for.

    Args:
        spec: ``hf:ID_OR_DIR``, ``vllm:ID_OR_DIR``, ``openai:MODEL``, ``pocket`` or
            ``baseline:NAME``.
        settings: how to load it, of the class that its kind has; None for the defaults.

    Raises:
        UsageError: an unknown name, a missing extra, or a checkpoint that cannot be loaded.
    """
    settings = read_settings(spec, {}) if settings is None else settings
    kind, _, target = spec.partition(":")
    if not isinstance(settings, settings_class(spec)):
        what = f"its settings are {settings_class(spec).__name__}, not {type(settings).__name__}"
        raise UsageError(what, where=spec)
    if kind in _SERVED:
        return _SERVED[kind](target, spec, settings)
    assert isinstance(settings, ModelSettings)
    if kind == "baseline":
        return load_baseline(target, settings)
    if kind == "hf":
        if not target:
            raise UsageError("no checkpoint is named", where=spec, mend="hf:ID_OR_DIR")
        return _load_hf(target, spec, settings)
    if spec == "pocket":
        # Its matrices are so small that more threads only wait for one another.
        settings = replace(settings, threads=settings.threads or 1)
        return _load_hf(_pocket_folder(), spec, settings)
    raise _unknown_model(spec)


def require_model(spec: str) -> None:
    """Refuse a name that stands for no model; whether it can be loaded is not known thereby.

    Raises:
        UsageError: an unknown name.
    """
    kind, _, target = spec.partition(":")
    unknown = kind == "baseline" and target not in BASELINES
    if unknown or not (kind in (*_SERVED, "hf", "baseline") or spec == "pocket"):
        raise _unknown_model(spec)


def _load_openai(target: str, spec: str, settings: Any) -> ServedModel:
    from llmeval.models.served.connect import load_served_model

    return load_served_model(target, spec, settings)


def _load_vllm(target: str, spec: str, settings: Any) -> Model:
    if not target:
        raise UsageError("no checkpoint is named", where=spec, mend="vllm:ID_OR_DIR")
    if not _found("vllm"):
        raise UsageError("not installed: vllm", where=spec, mend=_INSTALL_VLLM)
    from llmeval.models.vllm.model import load_vllm_model

    return load_vllm_model(target, spec, settings)


_SERVED: dict[str, Callable[[str, str, Any], Model | ServedModel]] = {
    "openai": _load_openai,
    "vllm": _load_vllm,
}


def _found(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def list_models() -> list[ModelRow]:
    """Return what ``-m`` understands, usable or not. Loads nothing."""
    mend = _INSTALL_HF if _missing_packages() else None
    ready = mend is None
    return [
        ModelRow("pocket", "the embedded model, an instrument of known answers", ready, mend),
        ModelRow("hf:ID_OR_DIR", "a Hugging Face causal language model", ready, mend),
        *(ModelRow(f"baseline:{name}", cls.about) for name, cls in BASELINES.items()),
        _row("vllm:ID_OR_DIR", "a checkpoint on vLLM, in this process", "vllm", _INSTALL_VLLM),
        ModelRow(
            "openai:MODEL",
            "a model behind an OpenAI-compatible API: hosted, vllm serve, ... (--base-url)",
        ),
    ]


def _row(spec: str, about: str, package: str, mend: str) -> ModelRow:
    ready = _found(package)
    return ModelRow(spec, about, ready, None if ready else mend)


def _load_hf(target: str, name: str, settings: ModelSettings) -> Model:
    if missing := _missing_packages():
        raise UsageError(f"not installed: {', '.join(missing)}", where=name, mend=_INSTALL_HF)
    # The source first: a wrong name should not have to wait for torch to be imported.
    from llmeval.models.hf.source import find_checkpoint

    source = find_checkpoint(target, name, settings.revision)

    from llmeval.models.hf.model import load_hf_model

    return load_hf_model(source, name, settings)


def _missing_packages() -> list[str]:
    return [name for name in ("torch", "transformers") if not _found(name)]


def _pocket_folder() -> str:
    from llmeval.pocket import MODEL_DIR

    return str(MODEL_DIR)


def _unknown_model(spec: str) -> UsageError:
    served = ["vllm:ID_OR_DIR", "openai:MODEL"]
    known = ["pocket", "hf:ID_OR_DIR", *served, *(f"baseline:{name}" for name in BASELINES)]
    heads = {name.partition(":")[0]: name for name in known if not name.startswith("baseline:")}
    near = difflib.get_close_matches(spec, known, n=3, cutoff=0.5)
    near += [heads[h] for h in difflib.get_close_matches(spec.partition(":")[0], heads, n=1)]
    if ":" not in spec and not near:  # a hub id or a folder, as lm-eval's `pretrained=`
        near = [f"hf:{spec}"]
    guess = f"did you mean {' or '.join(dict.fromkeys(near))}? " if near else ""
    return UsageError(f"unknown model {spec!r}", mend=f"{guess}known: {', '.join(known)}")
