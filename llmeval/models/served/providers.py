"""The table of providers: where they are, what their models cost, what they take.

``providers.yaml`` beside this file is built in; one in the workspace adds to it, provider by
provider and model by model, and wins.
"""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmeval.core.errors import UsageError
from llmeval.models.served.settings import Api, ServedSettings

BUILT_IN = Path(__file__).with_name("providers.yaml")
FILE_NAME = "providers.yaml"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Price(_Strict):
    """USD for a million tokens. ``cached``: of the prompt, found in the provider's cache."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)


class ModelEntry(_Strict):
    """What is known of models whose names fit a pattern; the first entry that fits counts."""

    match: str
    price: Price | None = None
    api: Api | None = None
    reasoning: bool | None = None
    top_logprobs: bool | None = None
    max_length: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


class Provider(_Strict):
    """What is known of a provider.

    Attributes:
        base_url: of its API.
        key_env: name of the environment variable that holds its key.
        key_header: the header that takes the bare key; None sends it as a bearer token.
        api: the interface that its models have unless an entry says otherwise.
        max_stop: stop strings that it takes, 4 for many servers; None for as many as one likes.
        max_top_logprobs: most alternatives of a token.
        takes_n, takes_seed: whether it takes several draws a call, and seeds.
        max_connections: calls in flight where the user names no number.
        batch_discount: share of the price that its batch service saves.
        models: what is known of its models.
    """

    base_url: str | None = None
    key_env: str | None = None
    key_header: str | None = None
    api: Api = "auto"
    max_stop: int | None = 4
    max_top_logprobs: int = 20
    takes_n: bool = True
    takes_seed: bool = True
    max_connections: int = Field(default=64, ge=1)
    batch_discount: float = Field(default=0.0, ge=0, le=1)
    models: list[ModelEntry] = Field(default_factory=list)

    def find(self, model: str) -> ModelEntry:
        """Return what is known of a model; an empty entry where nothing is."""
        fits = (entry for entry in self.models if fnmatch.fnmatchcase(model, entry.match))
        return next(fits, ModelEntry(match=model))


def read_providers(workspace: Path | None = None) -> dict[str, Provider]:
    """Return the providers by name.

    Raises:
        UsageError: a file that cannot be read, with what is wrong in it.
    """
    table = _read_file(BUILT_IN)
    own = (workspace or Path()) / FILE_NAME
    if own.is_file():
        for name, entry in _read_file(own).items():
            built_in = table.get(name, {})
            models = entry.get("models", [])
            if isinstance(models, list):  # else the check below says what is wrong
                models = [*models, *built_in.get("models", [])]
            table[name] = {**built_in, **entry, "models": models}
    providers = {}
    for name, entry in table.items():
        try:
            providers[name] = Provider.model_validate(entry)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, (name, *first["loc"])))
            raise UsageError(first["msg"], where=f"{own}: {place}") from error
    return providers


def _read_file(path: Path) -> dict[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=loader) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"cannot be read: {str(error).splitlines()[0]}", where=str(path)) from None
    entries = content.get("providers") if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
        raise UsageError(
            "holds no providers", where=str(path), mend="begin it with `providers:`, then names"
        )
    return dict(entries)


def find_provider(settings: ServedSettings, providers: dict[str, Provider]) -> tuple[str, Provider]:
    """Return the provider that the settings mean: by name, by address, or OpenAI.

    Raises:
        UsageError: an unknown name.
    """
    if settings.provider is not None:
        if settings.provider not in providers:
            known = ", ".join(providers)
            raise UsageError(
                f"unknown provider {settings.provider!r}",
                where="provider",
                mend=f"known: {known}; or add it to {FILE_NAME} of the workspace",
            )
        return settings.provider, providers[settings.provider]
    if settings.base_url is None:
        return "openai", providers["openai"]
    for name, provider in providers.items():
        if provider.base_url and _is_of(settings.base_url, provider.base_url):
            return name, provider
    return "custom", Provider()


def _is_of(url: str, known: str) -> bool:
    """Whether an address is a provider's: its key must go nowhere else."""
    own, its = urlsplit(url), urlsplit(known)
    if (own.scheme, own.port) != (its.scheme, its.port) or not own.hostname or not its.hostname:
        return False
    # A subdomain is a resource of one's own (Azure).
    return own.hostname == its.hostname or own.hostname.endswith(f".{its.hostname}")
