"""From a model's name on the command line to the model."""

from __future__ import annotations

import difflib
import importlib.util
from dataclasses import dataclass, replace

from llmeval.core.errors import UsageError
from llmeval.core.protocols import InformedModel, Model
from llmeval.models.baselines import BASELINES, load_baseline
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


_LATER = {
    "vllm": "a local model served by vLLM",
    "openai": "a model behind an OpenAI-compatible API",
}
_INSTALL_HF = "pip install 'llmeval[hf]'"


def load_model(spec: str, settings: ModelSettings | None = None) -> Model | InformedModel:
    """Return the model that a name stands for.

    Args:
        spec: ``hf:ID_OR_DIR``, ``pocket`` or ``baseline:NAME``.
        settings: how to load it; None for the defaults.

    Raises:
        UsageError: an unknown name, a missing extra, or a checkpoint that cannot be loaded.
    """
    settings = settings or ModelSettings()
    kind, _, target = spec.partition(":")
    if kind == "baseline":
        return load_baseline(target, seed=settings.seed)
    if kind == "hf":
        if not target:
            raise UsageError("no checkpoint is named", where=spec, mend="hf:ID_OR_DIR")
        return _load_hf(target, spec, settings)
    if spec == "pocket":
        # Its matrices are so small that more threads only wait for one another.
        settings = replace(settings, threads=settings.threads or 1)
        return _load_hf(_pocket_folder(), spec, settings)
    if kind in _LATER:
        raise UsageError(
            f"{_LATER[kind]} is not yet in this version",
            where=spec,
            mend="use hf:ID_OR_DIR, pocket or baseline:NAME",
        )
    raise _unknown_model(spec)


def list_models() -> list[ModelRow]:
    """Return what ``-m`` understands, usable or not. Loads nothing."""
    mend = _INSTALL_HF if _missing_packages() else None
    ready = mend is None
    return [
        ModelRow("pocket", "the embedded model, an instrument of known answers", ready, mend),
        ModelRow("hf:ID_OR_DIR", "a Hugging Face causal language model", ready, mend),
        *(ModelRow(f"baseline:{name}", cls.about) for name, cls in BASELINES.items()),
        *(
            ModelRow(f"{kind}:NAME", about, ready=False, mend="not yet in this version")
            for kind, about in _LATER.items()
        ),
    ]


def _load_hf(target: str, name: str, settings: ModelSettings) -> Model:
    if missing := _missing_packages():
        raise UsageError(f"not installed: {', '.join(missing)}", where=name, mend=_INSTALL_HF)
    # The source first: a wrong name should not have to wait for torch to be imported.
    from llmeval.models.hf.source import find_checkpoint

    source = find_checkpoint(target, name, settings.revision)

    from llmeval.models.hf.model import load_hf_model

    return load_hf_model(source, name, settings)


def _missing_packages() -> list[str]:
    return [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]


def _pocket_folder() -> str:
    from llmeval.pocket import MODEL_DIR

    return str(MODEL_DIR)


def _unknown_model(spec: str) -> UsageError:
    known = ["pocket", "hf:ID_OR_DIR", *(f"baseline:{name}" for name in BASELINES)]
    heads = {name.partition(":")[0]: name for name in known if not name.startswith("baseline:")}
    near = difflib.get_close_matches(spec, known, n=3, cutoff=0.5)
    near += [heads[h] for h in difflib.get_close_matches(spec.partition(":")[0], heads, n=1)]
    if ":" not in spec and not near:  # a hub id or a folder, as lm-eval's `pretrained=`
        near = [f"hf:{spec}"]
    guess = f"did you mean {' or '.join(dict.fromkeys(near))}? " if near else ""
    return UsageError(f"unknown model {spec!r}", mend=f"{guess}known: {', '.join(known)}")
