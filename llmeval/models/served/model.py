"""``openai:MODEL``: a model behind an OpenAI-compatible API."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from llmeval.core.errors import TryAgain, UsageError
from llmeval.core.hashes import fingerprint
from llmeval.core.protocols import Estimated, Reply, Traffic
from llmeval.core.requests import GenerateRequest, Request
from llmeval.core.responses import Failure, Generation, Response
from llmeval.home import find_workspace
from llmeval.models.served import chat, completions, responses_api
from llmeval.models.served.dialect import Dialect
from llmeval.models.served.launch import Server, launch
from llmeval.models.served.prices import PriceTag
from llmeval.models.served.probe import (
    TEXTS,
    EchoVerdict,
    offers_top_logprobs,
    takes_wanted_tokens,
    try_echo,
)
from llmeval.models.served.providers import ModelEntry, Provider, find_provider, read_providers
from llmeval.models.served.scoring import MOST_WANTED, EchoScorer, NextTokenScorer
from llmeval.models.served.settings import ServedSettings, read_headers
from llmeval.models.served.survey import Listed, has_chat, has_completions, look_up_model
from llmeval.models.served.tokenization import (
    ByRules,
    ByServer,
    ByText,
    Scored,
    Tokenization,
    is_local_checkpoint,
    load_rules,
)
from llmeval.models.served.transport import QuestionRefused, Received, Transport

log = logging.getLogger(__name__)

RULES_VERSION = 1
_MOST_DRAWS = 16  # of one question in one call
_CHARACTERS_A_TOKEN = 4  # of English, roughly
T = TypeVar("T")
_WIRES = {"chat": chat, "completions": completions, "responses": responses_api}


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
    transport = Transport(base_url, headers, settings.query, secrets)
    return OpenAIModel(model, name, settings, provider_name, provider, transport, server)


def _with_environment(settings: ServedSettings) -> ServedSettings:
    """Take the address from ``OPENAI_BASE_URL``, as the openai client does."""
    url = os.environ.get("OPENAI_BASE_URL")
    if not url or settings.base_url or settings.provider or settings.server:
        return settings
    return ServedSettings.from_mapping({**settings.model_dump(), "base_url": url})


def _make_headers(
    settings: ServedSettings, provider: Provider
) -> tuple[dict[str, str], frozenset[str]]:
    """Return the headers and what in them is secret."""
    headers = read_headers(settings.headers)
    secrets = {headers[n] for n, value in settings.headers.items() if value.startswith("$")}
    variable = settings.key_env or provider.key_env
    if variable is None:
        return headers, frozenset(secrets)
    key = os.environ.get(variable)
    if not key:
        raise UsageError(
            f"the environment variable {variable} is not set",
            where="the key",
            mend=f"export {variable}=..., or name another one with -a key_env=NAME",
        )
    if provider.key_header:
        headers[provider.key_header] = key
    else:
        headers["Authorization"] = f"Bearer {key}"
    return headers, frozenset({*secrets, key})


class OpenAIModel:
    """Implements :class:`llmeval.core.ServedModel`."""

    def __init__(
        self,
        model: str,
        name: str,
        settings: ServedSettings,
        provider_name: str,
        provider: Provider,
        transport: Transport,
        server: Server | None = None,
    ) -> None:
        self._name = name
        self._settings = settings
        self._provider_name = provider_name
        self._provider = provider
        self._entry: ModelEntry = provider.find(model)
        self._transport = transport
        self._server = server
        self._dialect = _make_dialect(model, settings, provider, self._entry)
        self._price = PriceTag.of(settings, self._entry)
        api = settings.api if settings.api != "auto" else self._entry.api or provider.api
        self._text_api = self._chat_api = api
        self._explored: set[str] = set()
        self._listed = Listed()
        self._echo: EchoVerdict | None = None
        self._tokenization: Tokenization | None = None
        self._echo_scorer: EchoScorer | None = None
        self._next_scorer: NextTokenScorer | None = None
        self._offers_top_logprobs = False
        self._answered_by: Counter[str] = Counter()

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        return fingerprint(self._answer_makers())

    @property
    def capabilities(self) -> frozenset[str]:
        found = {"generate"}
        if self._chat_api != "completions":
            found.add("chat")
        if self._echo_scorer is not None:
            found.add("loglikelihood")
        if self._offers_top_logprobs:
            found.add("top_logprobs")
        return frozenset(found)

    @property
    def traffic(self) -> Traffic:
        settings, entry = self._settings, self._entry
        return Traffic(
            max_connections=settings.max_connections or self._provider.max_connections,
            requests_per_minute=settings.requests_per_minute or entry.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute or entry.tokens_per_minute,
            deadline=settings.timeout,
            max_attempts=settings.max_attempts,
            patience=settings.patience,
        )

    @property
    def why_no_loglikelihood(self) -> str | None:
        """Why the server's log-probabilities cannot be used, once that was explored."""
        return self._echo.refused if self._echo else None

    def describe(self) -> dict[str, Any]:
        return {
            "backend": "openai",
            "name": self._name,
            "provider": self._provider_name,
            "base_url": None if self._server else self._transport.base_url,
            "api": {"text": self._text_api, "chat": self._chat_api},
            "settings": self._describe_settings(),
            "server": self._settings.server and self._settings.server.describe(),
            "reasoning": self._dialect.reasoning,
            "max_length": self._settings.max_length or self._listed.max_length,
            "loglikelihood": self._describe_scoring(),
            "top_logprobs": self._offers_top_logprobs,
        }

    def _describe_settings(self) -> dict[str, Any]:
        """Return the settings that were set: of headers, only the names."""
        given = self._settings.model_dump(exclude_defaults=True)
        if "headers" in given:
            given["headers"] = sorted(given["headers"])
        given.pop("server", None)  # told apart
        if self._server is not None:
            given.pop("base_url")  # another port each time
        for name in _TRAFFIC:  # how fast it is asked is no part of what is asked
            given.pop(name, None)
        return given

    def _describe_scoring(self) -> dict[str, Any] | None:
        if self._echo is None:
            return None
        if self._echo.refused:
            return {"refused": self._echo.refused}
        return {
            "refused": None,
            "tokenization": self._tokenization.name if self._tokenization else None,
            "one_token_choices": "one call" if self._next_scorer else "echo",
        }

    def _answer_makers(self) -> list[Any]:
        """Return everything known that may change an answer."""
        settings, dialect = self._settings, self._dialect
        return [
            RULES_VERSION,
            settings.identity or self._transport.base_url,
            dialect.model,
            [self._text_api, self._chat_api],
            dialect.reasoning,
            dialect.reasoning_effort,
            dialect.reasoning_tokens if dialect.reasoning else 0,
            dialect.max_gen_toks,
            dialect.send_seed,
            dict(dialect.extra_body),
            settings.max_length,
            self._tokenization.name if self._tokenization else None,
            settings.tokenizer,
        ]

    # -- before a run ----------------------------------------------------------------------------

    def explore(self, kinds: Collection[str]) -> None:
        """Find out, once, what the server has of the kinds of questions that will be asked.

        Raises:
            UsageError: nobody answers there, the key is refused, or the model is unknown.
        """
        wanted = set(kinds) - self._explored
        if wanted:
            run_apart(self._explore(wanted))
            self._explored |= wanted

    async def _explore(self, kinds: set[str]) -> None:
        try:
            if self._provider_name == "custom" and not self._explored:
                self._listed = await look_up_model(self._transport, self._dialect.model)
                if self._listed.others:
                    others = ", ".join(self._listed.others)
                    log.warning("%s: the server lists another model: %s", self._name, others)
                vllm = self._listed.owner == "vllm"
                self._dialect = replace(self._dialect, continues=vllm, takes_top_k=vllm)
            if self._text_api == "auto":
                await self._choose_api()
            if "loglikelihood" in kinds and self._text_api == "completions":
                await self._explore_scoring()
            if "loglikelihood" in kinds:
                self._offers_top_logprobs = await self._explore_top_logprobs()
        finally:
            await self._transport.hang_up()

    async def _choose_api(self) -> None:
        if await has_completions(self._transport, self._dialect):
            self._text_api = "completions"
        has = await has_chat(self._transport, self._dialect)
        self._chat_api = "chat" if has else "completions"
        if self._text_api == "auto":
            self._text_api = "chat"
        if not has and self._text_api != "completions":
            if others := self._listed.others:
                raise UsageError(
                    f"the server has no model {self._dialect.model!r}",
                    where=self._transport.base_url,
                    mend=f"it has {', '.join(others)}",
                )
            raise UsageError(
                "the server has neither chat nor completions",
                where=self._transport.base_url,
                mend="check --base-url, which ends in /v1 for most servers, or set -a api=...",
            )

    async def _explore_scoring(self) -> None:
        self._echo = await try_echo(self._transport, self._dialect)
        if self._echo.refused:
            log.warning("%s: no log-probabilities: %s", self._name, self._echo.refused)
            return
        self._tokenization = await self._choose_tokenization()
        self._echo_scorer = EchoScorer(
            self._transport, self._dialect, self._tokenization, self._echo.new_tokens
        )
        if isinstance(self._tokenization, ByRules):
            tokens = self._tokenization.encode_text(TEXTS[0])
            if await takes_wanted_tokens(self._transport, self._dialect, tokens):
                self._next_scorer = NextTokenScorer(
                    self._transport, self._dialect, self._tokenization
                )

    async def _choose_tokenization(self) -> Tokenization:
        """Take the model's tokenizer where it is at hand, else the server's, else the text."""
        wanted, length = self._settings.tokenizer, self._longest_prompt()
        if wanted is None and is_local_checkpoint(self._listed.root):
            wanted = self._listed.root
        if wanted not in (None, "server", "text"):
            return ByRules(load_rules(str(wanted), length, "tokenizer"))
        if wanted != "text":
            by_server = ByServer(self._transport, self._dialect.model, length or 10**9)
            try:
                await by_server.tokenize(TEXTS[0])
                return by_server
            except (TryAgain, UsageError, QuestionRefused):
                if wanted == "server":
                    raise
        return ByText()

    def _longest_prompt(self) -> int | None:
        """Return the tokens that a prompt may have with the one behind it."""
        length = self._settings.max_length or self._listed.max_length
        return None if length is None else length - 2

    async def _explore_top_logprobs(self) -> bool:
        if self._dialect.reasoning or self._chat_api != "chat":
            return False
        known = self._settings.top_logprobs
        known = self._entry.top_logprobs if known is None else known
        if known is not None:
            return known
        return await offers_top_logprobs(self._transport, self._dialect)

    # -- asking ----------------------------------------------------------------------------------

    def group(self, requests: Sequence[Request]) -> list[list[int]]:
        if len(requests) == 1:
            return [[0]]
        groups: dict[Any, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(self._company(request, index), []).append(index)
        return [
            members[start : start + most]
            for key, members in groups.items()
            for most in [MOST_WANTED if key[0] == "next" else _MOST_DRAWS]
            for start in range(0, len(members), most)
        ]

    def _company(self, request: Request, index: int) -> tuple[Any, ...]:
        """Return a key that questions share which go into one call."""
        if isinstance(request, GenerateRequest):
            one_call = self._provider.takes_n and self._api_of(request) != "responses"
            if one_call and not request.sampling.greedy:
                return ("draws", request.prompt, request.sampling, request.top_logprobs)
        elif self._next_scorer is not None:
            context = self._next_scorer.find_context(request)
            if context is not None:
                return ("next", context)
        return ("alone", index)

    async def call(self, requests: Sequence[Request]) -> Reply:
        try:
            first = requests[0]
            if isinstance(first, GenerateRequest):
                return await self._generate([r for r in requests if isinstance(r, GenerateRequest)])
            return await self._score([r for r in requests if isinstance(r, Scored)])
        except QuestionRefused as refusal:
            response: Response = Failure(f"the server refused it: {refusal.reason}")
            if refusal.filtered:
                response = Generation("", finish_reason="content_filter")
            return Reply([response] * len(requests))

    async def _generate(self, requests: Sequence[GenerateRequest]) -> Reply:
        wire = _WIRES[self._api_of(requests[0])]
        received = await self._transport.post(wire.PATH, wire.encode(self._dialect, requests))
        self._note_server(received)
        return Reply(wire.decode(requests, received.body), received.wait)

    async def _score(self, requests: Sequence[Scored]) -> Reply:
        if self._next_scorer and self._next_scorer.find_context(requests[0]) is not None:
            answers, wait = await self._next_scorer.score(requests)
            return Reply(answers, wait)
        if self._echo_scorer is None:
            raise UsageError(f"{self._name} gives no log-probabilities", mend="see docs/tasks.md")
        answer, wait = await self._echo_scorer.score(requests[0])
        return Reply([answer], wait)

    def _api_of(self, request: GenerateRequest) -> str:
        return self._text_api if isinstance(request.prompt, str) else self._chat_api

    def _note_server(self, received: Received) -> None:
        body = received.body
        version = body.get("system_fingerprint")
        self._answered_by[f"{body.get('model')}" + (f" ({version})" if version else "")] += 1

    def estimate(self, requests: Sequence[Request]) -> Estimated:
        first = requests[0]
        if isinstance(first, GenerateRequest):
            prompt = first.size // _CHARACTERS_A_TOKEN + 8
            completion = self._dialect.limit(first) * len(requests)
        else:
            texts = [r.canonical() for r in requests]
            prompt = sum(len("".join(text)) for text in texts) // _CHARACTERS_A_TOKEN
            completion = 0
        return Estimated(prompt, completion, self._price.of_tokens(prompt, 0, completion))

    def price(self, response: Response) -> float | None:
        cached = response.cached_tokens if isinstance(response, Generation) else 0
        tokens = response.prompt_tokens, cached, response.completion_tokens
        return self._price.of_tokens(*tokens)

    # -- after a run -----------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        answered_by = dict(self._answered_by.most_common(10))
        return {"answered_by": answered_by, "price": self._price.describe()}

    async def hang_up(self) -> None:
        await self._transport.hang_up()

    def close(self) -> None:
        """Stop the server that was started for it."""
        if self._server is not None:
            self._server.stop()

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool
    ) -> str:
        raise UsageError("only the server renders its chats", where=self._name)


_TRAFFIC = (
    "max_connections",
    "requests_per_minute",
    "tokens_per_minute",
    "timeout",
    "max_attempts",
    "patience",
    "price_input",
    "price_cached",
    "price_output",
)


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


def run_apart(job: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; in a thread of its own where an event loop runs already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(job)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, job).result()
