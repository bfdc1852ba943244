"""From the name of a served model and its settings to the model: address, key, providers."""

from __future__ import annotations

import os

from llmeval.core.errors import UsageError
from llmeval.home import find_workspace
from llmeval.models.served.dialect import Dialect
from llmeval.models.served.exploration import Exploration
from llmeval.models.served.launch import Server, launch
from llmeval.models.served.model import OpenAIModel
from llmeval.models.served.prices import PriceTag
from llmeval.models.served.providers import ModelEntry, Provider, find_provider, read_providers
from llmeval.models.served.settings import ServedSettings, clean_url, read_headers
from llmeval.models.served.transport import Transport


def load_served_model(model: str, name: str, settings: ServedSettings) -> OpenAIModel:
    """Return the model ``model`` of the server that the settings mean; asks it nothing yet.

    Args:
        model: its name at the server.
        name: as on the command line.

    Raises:
        UsageError: no model is named, a key is missing, the settings contradict one another.
    """
    if not model:
        raise UsageError("no model is named", where=name, mend="openai:MODEL")
    settings = _with_environment(settings)
    if settings.server is None:
        return _connect(model, name, settings)
    server = launch(settings.server, model, find_workspace())
    try:
        identity = settings.identity or settings.server.identity()
        own = {"base_url": server.url, "identity": identity}
        return _connect(model, name, settings.model_copy(update=own), server)
    except BaseException:
        server.stop()
        raise


def _connect(
    model: str, name: str, settings: ServedSettings, server: Server | None = None
) -> OpenAIModel:
    provider_name, provider = find_provider(settings, read_providers(find_workspace()))
    base_url = settings.base_url or provider.base_url
    if base_url is None:
        raise UsageError("no address is known", where=provider_name, mend="--base-url URL")
    headers, secrets = _make_headers(settings, provider)
    transport = Transport(base_url, headers, settings.query, secrets, settings.timeout)
    entry = provider.find(model)
    dialect = _make_dialect(model, settings, provider, entry)
    exploration = Exploration(transport, dialect, name, settings, provider_name, provider)
    price = PriceTag.of(settings, entry)
    return OpenAIModel(name, settings, exploration, price, server)


def _with_environment(settings: ServedSettings) -> ServedSettings:
    """Take the address from ``OPENAI_BASE_URL``, as the openai client does."""
    url = os.environ.get("OPENAI_BASE_URL")
    if not url or settings.base_url or settings.provider or settings.server:
        return settings
    found = {"base_url": url}
    if settings.key_env is None and os.environ.get("OPENAI_API_KEY"):  # set for that address
        found["key_env"] = "OPENAI_API_KEY"
    return settings.model_copy(update={**found, "base_url": clean_url(url)})


def _make_headers(
    settings: ServedSettings, provider: Provider
) -> tuple[dict[str, str], frozenset[str]]:
    """Return the headers and what in them is secret."""
    headers = read_headers(settings.headers)
    secrets = {headers[n] for n, value in settings.headers.items() if value.startswith("$")}
    variable = settings.key_env or provider.key_env
    if variable is None:
        return headers, frozenset(secrets)
    key = os.environ.get(variable, "").strip()  # read from a file, it may bring a line end
    if not key:
        raise UsageError(
            f"the environment variable {variable} is not set",
            where="the key",
            mend=f"export {variable}=..., or name another one with -a key_env=NAME",
        )
    if not key.isprintable():
        raise UsageError("it holds what no key does, such as a line end", where=variable)
    if provider.key_header:
        headers[provider.key_header] = key
    else:
        headers["Authorization"] = f"Bearer {key}"
    return headers, frozenset({*secrets, key})


def _make_dialect(
    model: str, settings: ServedSettings, provider: Provider, entry: ModelEntry
) -> Dialect:
    reasoning = settings.reasoning if settings.reasoning is not None else bool(entry.reasoning)
    return Dialect(
        model=model,
        reasoning=reasoning,
        reasoning_effort=settings.reasoning_effort,
        reasoning_tokens=settings.reasoning_tokens,
        max_gen_toks=settings.max_gen_toks,
        max_stop=provider.max_stop if settings.max_stop is None else settings.max_stop,
        max_top_logprobs=provider.max_top_logprobs,
        send_seed=provider.takes_seed if settings.send_seed is None else settings.send_seed,
        extra_body=settings.extra_body,
    )
