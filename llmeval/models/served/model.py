"""``openai:MODEL``: a model behind an OpenAI-compatible API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from types import ModuleType
from typing import Any

from llmeval.core.errors import UsageError
from llmeval.core.hashes import fingerprint
from llmeval.core.protocols import Estimated, Reply, Traffic
from llmeval.core.requests import GenerateRequest, Request
from llmeval.core.responses import Failure, Generation, Response
from llmeval.models.served import chat, completions, responses_api
from llmeval.models.served.exploration import Exploration
from llmeval.models.served.launch import Server
from llmeval.models.served.prices import PriceTag
from llmeval.models.served.scoring import MOST_WANTED
from llmeval.models.served.settings import ServedSettings
from llmeval.models.served.tokenization import Scored
from llmeval.models.served.transport import QuestionRefused

RULES_VERSION = 1
_MOST_DRAWS = 16  # of one question in one call
_BYTES_A_TOKEN = 4  # of English, roughly; other scripts have more bytes a character
_WIRES: Mapping[str, ModuleType] = {
    "chat": chat,
    "completions": completions,
    "responses": responses_api,
}


class OpenAIModel:
    """Implements :class:`llmeval.core.ServedModel`."""

    def __init__(
        self,
        name: str,
        settings: ServedSettings,
        exploration: Exploration,
        price_tag: PriceTag,
        server: Server | None = None,
    ) -> None:
        self._name = name
        self._settings = settings
        self._server = server
        self._answered_by: Counter[str] = Counter()
        self.found = exploration
        self.price_tag = price_tag

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        return fingerprint(self._answer_makers())

    @property
    def capabilities(self) -> frozenset[str]:
        found = {"generate"}
        if self.found.text_api == "completions":
            found.add("completions")
        if self.found.chat_api != "completions":
            found.add("chat")
        if self.found.echo_scorer is not None:
            found.add("loglikelihood")
        if self.found.offers_top_logprobs:
            found.add("top_logprobs")
        return frozenset(found)

    @property
    def traffic(self) -> Traffic:
        settings, entry = self._settings, self.found.entry
        return Traffic(
            max_connections=settings.max_connections or self.found.provider.max_connections,
            requests_per_minute=settings.requests_per_minute or entry.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute or entry.tokens_per_minute,
            deadline=settings.timeout,
            max_attempts=settings.max_attempts,
            patience=settings.patience,
        )

    @property
    def why_no_loglikelihood(self) -> str | None:
        """Why the server's log-probabilities cannot be used, once that was explored."""
        return self.found.echo.refused if self.found.echo else None

    def describe(self) -> dict[str, Any]:
        return {
            "backend": "openai",
            "name": self._name,
            "provider": self.found.provider_name,
            "base_url": None if self._server else self.found.transport.base_url,
            "api": {"text": self.found.text_api, "chat": self.found.chat_api},
            "settings": self._describe_settings(),
            "server": self._settings.server and self._settings.server.describe(),
            "reasoning": self.found.dialect.reasoning,
            "max_length": self._settings.max_length or self.found.listed.max_length,
            "loglikelihood": self.found.describe_scoring(),
            "top_logprobs": self.found.offers_top_logprobs,
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

    @property
    def scoring_fingerprint(self) -> str:
        found = self.found.tokenization.name if self.found.tokenization else None
        return fingerprint([self.fingerprint, found, self._settings.tokenizer])

    def _answer_makers(self) -> list[Any]:
        """Return everything known that may change an answer; whose key it is does not."""
        settings, dialect = self._settings, self.found.dialect
        open_headers = {n: v for n, v in settings.headers.items() if not v.startswith("$")}
        return [
            RULES_VERSION,
            settings.identity or self.found.transport.base_url,
            [open_headers, settings.query],
            [dialect.model, self.found.checkpoint()],
            [self.found.text_api, self.found.chat_api],
            dialect.reasoning,
            dialect.reasoning_effort,
            dialect.reasoning_tokens if dialect.reasoning else 0,
            dialect.max_gen_toks,
            dialect.max_top_logprobs,
            dialect.send_seed,
            [dialect.continues, dialect.takes_top_k],
            dict(dialect.extra_body),
            settings.max_length or self.found.listed.max_length,
        ]

    @property
    def _takes_n(self) -> bool:
        own = self._settings.takes_n
        return self.found.provider.takes_n if own is None else own

    def explore(self, kinds: Collection[str]) -> None:
        self.found.explore(kinds)

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
            one_call = self._takes_n and self._api_of(request) != "responses"
            if one_call and not request.sampling.greedy:
                return ("draws", request.prompt, request.sampling, request.top_logprobs)
        elif self.found.next_scorer is not None:
            context = self.found.next_scorer.find_context(request)
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
            if refusal.filtered and isinstance(requests[0], GenerateRequest):
                response = Generation("", finish_reason="content_filter")
            return Reply([response] * len(requests))

    async def _generate(self, requests: Sequence[GenerateRequest]) -> Reply:
        wire = self.wire_of(requests[0])
        received = await self.found.transport.post(
            wire.PATH, wire.encode(self.found.dialect, requests)
        )
        self.note_server(received.body)
        return Reply(wire.decode(requests, received.body), received.wait)

    async def _score(self, requests: Sequence[Scored]) -> Reply:
        if self.found.next_scorer and self.found.next_scorer.find_context(requests[0]) is not None:
            answers, wait = await self.found.next_scorer.score(requests)
            return Reply(answers, wait)
        if self.found.echo_scorer is None:
            raise UsageError(f"{self._name} gives no log-probabilities", mend="see docs/tasks.md")
        answer, wait = await self.found.echo_scorer.score(requests[0])
        return Reply([answer], wait)

    def _api_of(self, request: GenerateRequest) -> str:
        return self.found.text_api if isinstance(request.prompt, str) else self.found.chat_api

    def wire_of(self, request: GenerateRequest) -> ModuleType:
        """Return the interface that a question goes through: ``PATH``, ``encode``, ``decode``."""
        return _WIRES[self._api_of(request)]

    def note_server(self, body: Mapping[str, Any]) -> None:
        """Note which model, in which version, an answer says that it is from."""
        version = body.get("system_fingerprint")
        self._answered_by[f"{body.get('model')}" + (f" ({version})" if version else "")] += 1

    def estimate(self, requests: Sequence[Request]) -> Estimated:
        first = requests[0]
        if isinstance(first, GenerateRequest):
            turns = first.prompt if isinstance(first.prompt, tuple) else ()
            text = (
                first.prompt
                if isinstance(first.prompt, str)
                else "".join(turn.content for turn in turns)
            )
            prompt = len(text.encode("utf-8", "replace")) // _BYTES_A_TOKEN + 8
            completion = self.found.dialect.limit(first) * len(requests)
        else:
            texts = [r.canonical() for r in requests]
            size = sum(len("".join(text).encode("utf-8", "replace")) for text in texts)
            prompt = size // _BYTES_A_TOKEN
            completion = 0
        return Estimated(prompt, completion, self.price_tag.of_tokens(prompt, 0, completion))

    @property
    def batch_share(self) -> float:
        """The share of the price that the provider's batch service asks."""
        return 1.0 - self.found.provider.batch_discount

    def price(self, response: Response) -> float | None:
        cached = response.cached_tokens if isinstance(response, Generation) else 0
        tokens = response.prompt_tokens, cached, response.completion_tokens
        return self.price_tag.of_tokens(*tokens)

    # -- after a run -----------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        answered_by = dict(self._answered_by.most_common(10))
        refused = self.why_no_loglikelihood
        why = {"no_loglikelihood": refused} if refused else {}
        return {"answered_by": answered_by, "price": self.price_tag.describe(), **why}

    async def hang_up(self) -> None:
        await self.found.transport.hang_up()

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
