"""How a served model is reached and asked: the settings, checked where they come in."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, field_validator, model_validator

from llmeval.core.errors import UsageError
from llmeval.models.options import Settings
from llmeval.models.served.launch import ServerSpec

Api = Literal["auto", "chat", "completions", "responses"]

_SECRET_NAMES = re.compile(r"auth|key|token|secret|cookie|password", re.IGNORECASE)
_ENDPOINTS = re.compile(r"/(chat/completions|completions|responses)/?$")


class ServedSettings(Settings):
    """Settings of ``openai:MODEL``. See ``docs/served-models.md``.

    Attributes:
        base_url: of the API, up to and with ``/v1``; None is the provider's.
        provider: of the table in ``providers.yaml``; None finds it by ``base_url``.
        api: which interface is asked; ``auto`` is what the provider's table says, or else what
            the server turns out to have.
        key_env: name of the environment variable that holds the key.
        headers: more headers; a value ``$NAME`` is read from the environment.
        query: more parameters of every URL (``api-version`` of some Azure endpoints).
        extra_body: more fields of every request's body.
        max_connections: most calls in flight.
        requests_per_minute, tokens_per_minute: rate limits to stay under.
        timeout: seconds after which a call counts as hung.
        max_attempts: calls for one question before it is given up.
        patience: seconds without any answer after which the run is given up.
        reasoning: whether the model thinks before it answers; None asks the table.
        reasoning_effort: sent where it is set.
        reasoning_tokens: room for thoughts, added to a request's own limit for its answer.
        max_gen_toks: new tokens of a request that names no limit.
        max_stop: stop strings that the server takes; all of them hold here, too.
        send_seed: whether sampled requests carry a seed.
        takes_n: whether several draws of one question go into one call.
        tokenizer: for log-probabilities by tokens: an id or folder, ``server`` to let the server
            tokenize, ``text`` to split by characters; None takes the best that there is.
        max_length: context in tokens; None asks the server.
        top_logprobs: whether a chat's first token comes with alternatives; None tries.
        identity: stands for the server's address in the fingerprint, for a server that moves.
        server: what to start for the run, to wait for, and to stop in the end.
        price_input, price_cached, price_output: USD for a million tokens; None asks the table.
    """

    KEEPS_NONE: ClassVar[frozenset[str]] = frozenset({"reasoning_effort"})  # an effort, too
    SECRETIVE: ClassVar[frozenset[str]] = frozenset(
        {"headers", "base_url", "extra_body", "query", "key_env"}
    )

    base_url: str | None = None
    provider: str | None = None
    api: Api = "auto"
    key_env: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    query: dict[str, str] = Field(default_factory=dict)
    extra_body: dict[str, Any] = Field(default_factory=dict)
    max_connections: int | None = Field(default=None, ge=1, le=4096)
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    timeout: float = Field(default=600.0, gt=0)
    max_attempts: int = Field(default=8, ge=1)
    patience: float = Field(default=900.0, gt=0)
    reasoning: bool | None = None
    reasoning_effort: str | None = None
    reasoning_tokens: int = Field(default=16384, ge=0)
    max_gen_toks: int = Field(default=256, ge=1)
    max_stop: int | None = Field(default=None, ge=0)
    send_seed: bool | None = None
    takes_n: bool | None = None
    tokenizer: str | None = None
    max_length: int | None = Field(default=None, ge=8)
    top_logprobs: bool | None = None
    identity: str | None = None
    server: ServerSpec | None = None
    price_input: float | None = Field(default=None, ge=0)
    price_cached: float | None = Field(default=None, ge=0)
    price_output: float | None = Field(default=None, ge=0)

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        return None if url is None else clean_url(url)

    @field_validator("key_env")
    @classmethod
    def _check_key_env(cls, name: str | None) -> str | None:
        if name is not None and not name.isidentifier():
            raise ValueError("it is the name of an environment variable, not a key")
        return name

    @model_validator(mode="after")
    def _check_secrets(self) -> Self:
        for name, value in self.headers.items():
            if _SECRET_NAMES.search(name) and not value.startswith("$"):
                raise ValueError(
                    f"the header {name} holds a secret: put it into an environment variable "
                    f"and write {name}: $NAME"
                )
        if self.server is not None and (self.base_url or self.provider):
            raise ValueError("a server that is started here has an address of its own")
        for name in self.query:
            if _SECRET_NAMES.search(name):
                raise ValueError(f"{name} looks like a secret, and URLs are logged: use headers")
        for name in _secret_fields(self.extra_body):
            raise ValueError(f"extra_body.{name} looks like a secret: use headers")
        return self


_SECRET_FIELDS = re.compile(
    r"api.?key|(\A|_)key\Z|token\Z|\Aauth|authorization|password|secret", re.IGNORECASE
)
_OPEN_FIELDS = frozenset({"prompt_cache_key"})  # they look like secrets, and are none


def _secret_fields(body: Any) -> list[str]:
    """Return the names of fields that look like secrets, however deep they are."""
    if isinstance(body, list):
        return [name for part in body for name in _secret_fields(part)]
    if not isinstance(body, Mapping):
        return []
    own = [
        str(name)
        for name, value in body.items()
        if _SECRET_FIELDS.search(str(name))
        and name not in _OPEN_FIELDS
        and not isinstance(value, Mapping)
    ]
    return own + [name for part in body.values() for name in _secret_fields(part)]


def clean_url(url: str) -> str:
    """Return a base URL without a trailing slash, endpoint or password.

    Raises:
        ValueError: it is no URL, or holds a password, which would be written down.
    """
    url = url if "://" in url else f"http://{url}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("no URL of a server, e.g. http://localhost:8000/v1")
    if parts.username or parts.password:
        raise ValueError("a URL with a password in it would be written down: use key_env")
    if parts.query or parts.fragment:
        raise ValueError('parameters of a URL go into query, e.g. {"api-version": "2024-10-21"}')
    path = _ENDPOINTS.sub("", parts.path.rstrip("/"))
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def read_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers with the values that the environment holds.

    Raises:
        UsageError: a variable is not set.
    """
    return {name: _read_value(name, value) for name, value in headers.items()}


def _read_value(name: str, value: str) -> str:
    if not value.startswith("$"):
        return value
    found = os.environ.get(value[1:].strip("{}"))
    if found is None:
        raise UsageError(f"{value} is not set", where=f"the header {name}", mend="export it")
    found = found.strip()  # read from a file, it may bring a line end
    if not found.isprintable():
        what = f"{value} holds what no header does, such as a line end"
        raise UsageError(what, where=f"the header {name}")
    return found
