"""From a model's name to its kind and its settings, in our spelling and in lm-eval's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Union

from llmeval.core.errors import UsageError
from llmeval.models.settings import ModelSettings, read_truth

if TYPE_CHECKING:
    from llmeval.models.options import Settings

AnySettings = Union["ModelSettings", "Settings"]
"""Settings of some kind of model."""


def settings_class(spec: str) -> type[ModelSettings] | type[Settings]:
    """Return the class of the settings that a model has, by its name on the command line."""
    kind = spec.partition(":")[0]
    if kind == "openai":
        from llmeval.models.served import ServedSettings

        return ServedSettings
    if kind == "vllm":
        from llmeval.models.vllm.settings import VllmSettings

        return VllmSettings
    return ModelSettings


def read_settings(spec: str, values: Mapping[str, Any]) -> AnySettings:
    """Read a model's settings from a run file or a command line; text is converted.

    Raises:
        UsageError: a name that this kind of model does not have, or a value of the wrong kind.
    """
    wanted = settings_class(spec)
    foreign = sorted(set(values) - setting_names(wanted))
    for name in foreign:
        homes = [kind for kind in _KINDS if name in setting_names(settings_class(kind))]
        if homes:
            raise UsageError(
                f"it is a setting of {' and '.join(homes)} models, not of {spec}", where=name
            )
    return wanted.from_mapping(values)


def plain_settings(settings: AnySettings) -> tuple[dict[str, Any], list[str]]:
    """Return what ``read_settings`` makes the same settings of, and what is withheld from it.

    Settings that are as they come are left out. Withheld are the names of those that may hold a
    secret: headers other than ``$NAME``, and a server with an environment or keys in its command.
    """
    if isinstance(settings, ModelSettings):
        usual = ModelSettings()
        values = {f.name: getattr(settings, f.name) for f in fields(settings)}
        return {k: v for k, v in values.items() if v != getattr(usual, k)}, []
    given, withheld = settings.model_dump(mode="json", exclude_defaults=True), list[str]()
    headers: dict[str, str] = given.get("headers", {})
    if not all(value.startswith("$") for value in headers.values()):
        withheld.append("headers")
    server = getattr(settings, "server", None)
    if server is not None and server.may_hold_secrets:
        withheld.append("server")
    return {k: v for k, v in given.items() if k not in withheld}, withheld


def override_settings(spec: str, values: Mapping[str, Any], args: str) -> AnySettings:
    """Return a model's settings from plain values, some of which ``name=value`` pairs override.

    Raises:
        UsageError: a part is no pair, or a setting is none of this kind of model.
    """
    return read_settings(spec, {**values, **_split_pairs(args)})


_KINDS = ("hf:", "vllm:", "openai:")


def setting_names(cls: type[ModelSettings] | type[Settings]) -> set[str]:
    """Return the names of a class's settings."""
    if cls is ModelSettings:
        return {f.name for f in fields(ModelSettings)}
    return set(cls.model_fields)  # type: ignore[union-attr]


def all_setting_names() -> set[str]:
    """Return the names of the settings of all kinds of models."""
    return set().union(*(setting_names(settings_class(kind)) for kind in _KINDS))


_LM_EVAL_MODELS = {
    "hf": "hf",
    "hf-auto": "hf",
    "huggingface": "hf",
    "vllm": "vllm",
    "local-completions": "openai",
    "local-chat-completions": "openai",
    "openai-completions": "openai",
    "openai-chat-completions": "openai",
}

# lm-eval's names that ask for what this backend does anyway, with the values that do.
_NEUTRAL: dict[str, tuple[str, ...]] = {
    "backend": ("default", "causal"),
    "softmax_dtype": ("float32", "none"),
    "use_fast_tokenizer": ("true",),
    "logits_cache": ("true", "false"),
    "truncation": ("false",),
}
_ABSENT = (
    "autogptq", "chat_template_args", "delta", "enable_thinking", "gguf_file", "gptqmodel",
    "max_batch_size", "max_memory_per_gpu", "mixed_precision_dtype", "offload_folder",
    "subfolder", "think_end_token", "tp_plan",
)  # fmt: skip


def from_model_args(args: str, model: str = "hf", **more: Any) -> tuple[str, AnySettings]:
    """Translate lm-eval's ``--model hf --model_args pretrained=X,dtype=float32``.

    Args:
        args: lm-eval's comma-separated ``name=value`` pairs.
        model: lm-eval's ``--model``, or a model by our own name, whose settings the pairs then are.
        more: further settings by our names (``device``, ``batch_size``); None is left out.

    Returns:
        the model's name as on our command line (``hf:X``) and its settings.

    Raises:
        UsageError: an unknown model, an unknown name, or a setting that does not exist here.
    """
    pairs = _split_pairs(args)
    spec = model if ":" in model or model == "pocket" else _take_spec(model, pairs)
    kept: dict[str, Any] = {}
    if not _is_local(spec):
        kept = _translate_served(model, pairs) if spec.startswith("openai:") else dict(pairs)
        kept.update((name, value) for name, value in more.items() if value is not None)
        if model in _APIS:  # lm-eval's command lines have a batch size, whoever answers
            kept.pop("batch_size", None)
        return spec, read_settings(spec, kept)
    for name, value in pairs.items():
        if name in _NEUTRAL:
            if value.lower() not in _NEUTRAL[name]:
                raise UsageError(
                    f"{name}={value} is not supported",
                    where="--model_args",
                    mend=f"leave it out, or one of {', '.join(_NEUTRAL[name])}",
                )
        elif name in _ABSENT:
            raise UsageError(f"lm-eval's {name} is not supported", where="--model_args")
        else:
            kept[name] = value
    kept.update((name, value) for name, value in more.items() if value is not None)
    if read_truth("parallelize", kept.pop("parallelize", False)):
        kept.setdefault("device_map", "auto")
        kept.pop("device", None)  # lm-eval too leaves the placing to accelerate then
    return spec, ModelSettings.from_mapping(kept)


def _is_local(spec: str) -> bool:
    return settings_class(spec) is ModelSettings


_APIS = {
    "local-completions": "completions",
    "openai-completions": "completions",
    "local-chat-completions": "chat",
    "openai-chat-completions": "chat",
}
_SERVED_NAMES = {"num_concurrent": "max_connections", "max_retries": "max_attempts"}
# Of lm-eval's API models: what this backend does anyway, or has no use for.
_SERVED_NEUTRAL = frozenset(
    [
        *("tokenized_requests", "tokenizer_backend", "batch_size", "verify_certificate", "seed"),
        "eos_string",
    ]
)


def _translate_served(model: str, pairs: Mapping[str, str]) -> dict[str, Any]:
    """Return lm-eval's settings of an API model by our names."""
    kept: dict[str, Any] = {"api": _APIS[model]} if model in _APIS else {}
    for name, value in pairs.items():
        if name not in _SERVED_NEUTRAL:
            kept[_SERVED_NAMES.get(name, name)] = value
    return kept


def _take_spec(model: str, pairs: dict[str, str]) -> str:
    """Return our name of the model that lm-eval's arguments name, and take it out of them."""
    if model not in _LM_EVAL_MODELS:
        raise UsageError(
            f"lm-eval's model type {model!r} has no counterpart",
            where="--model",
            mend=f"known: {', '.join(_LM_EVAL_MODELS)}; or use -m hf:ID_OR_DIR",
        )
    target = pairs.pop("pretrained", None) or pairs.pop("model", None)
    if not target:
        raise UsageError("no model is named", where="--model_args", mend="add pretrained=ID_OR_DIR")
    return f"{_LM_EVAL_MODELS[model]}:{target}"


def _split_pairs(args: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in _split_outside(args))):
        name, sign, value = part.partition("=")
        if not sign:
            what = "a part is no name=value"  # which may hold a secret, so it is not repeated
            raise UsageError(what, where="--model_args", mend="e.g. pretrained=gpt2")
        pairs[name.strip()] = value.strip()
    return pairs


def _split_outside(text: str) -> list[str]:
    """Split at commas that stand in no brackets and no quotes: values may be JSON."""
    parts, depth, quoted, start = list[str](), 0, False, 0
    for place, letter in enumerate(text):
        if letter == '"' and depth:
            quoted = not quoted
        elif quoted:
            continue
        elif letter in "{[":
            depth += 1
        elif letter in "}]":
            depth -= 1
        elif letter == "," and depth <= 0:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]
