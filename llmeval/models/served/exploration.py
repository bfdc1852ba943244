"""What a server turns out to have, kept as it is found: interfaces, log-probabilities, tokens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from llmeval.core.errors import TryAgain, UsageError
from llmeval.models.served.dialect import Dialect
from llmeval.models.served.probe import (
    TEXTS,
    EchoVerdict,
    offers_top_logprobs,
    takes_wanted_tokens,
    try_echo,
)
from llmeval.models.served.providers import Provider
from llmeval.models.served.scoring import EchoScorer, NextTokenScorer
from llmeval.models.served.settings import ServedSettings
from llmeval.models.served.survey import Listed, has_chat, has_completions, look_up_model
from llmeval.models.served.tokenization import (
    ByRules,
    ByServer,
    ByText,
    Tokenization,
    is_local_checkpoint,
    load_rules,
)
from llmeval.models.served.transport import QuestionRefused, Transport, TrialFailed

log = logging.getLogger(__name__)

T = TypeVar("T")


class Exploration:
    """Asks a server what it has, once, and only as far as a run needs it.

    Attributes:
        transport, dialect, provider, provider_name, entry: how the model is asked, and what the
            table says of it.
        text_api, chat_api: the interfaces for texts and for chats; ``auto`` until that is known.
        listed: what the server's list says of the model.
        echo: the verdict on its echo; None where that was not tried.
        tokenization, echo_scorer, next_scorer: how log-probabilities are had, if they are.
        offers_top_logprobs: whether a chat's first token comes with alternatives.
    """

    def __init__(
        self,
        transport: Transport,
        dialect: Dialect,
        name: str,
        settings: ServedSettings,
        provider_name: str,
        provider: Provider,
    ) -> None:
        self.transport = transport
        self.dialect = dialect
        self.provider = provider
        self.provider_name = provider_name
        self.entry = provider.find(dialect.model)
        self._name = name
        self._settings = settings
        api = settings.api if settings.api != "auto" else self.entry.api or provider.api
        self.text_api: str = api
        self.chat_api: str = api
        self.listed = Listed()
        self.echo: EchoVerdict | None = None
        self.tokenization: Tokenization | None = None
        self.echo_scorer: EchoScorer | None = None
        self.next_scorer: NextTokenScorer | None = None
        self.offers_top_logprobs = False
        self._explored: set[str] = set()

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
            if self.provider_name == "custom" and not self._explored:
                self.listed = await look_up_model(self.transport, self.dialect.model)
                if self.listed.others:
                    others = ", ".join(self.listed.others)
                    log.warning("%s: the server lists another model: %s", self._name, others)
                vllm = self.listed.owner == "vllm"
                self.dialect = replace(self.dialect, continues=vllm, takes_top_k=vllm)
            if self.text_api == "auto":
                await self._choose_api()
            if "loglikelihood" in kinds and self.text_api == "completions":
                await self._explore_scoring()
            if "loglikelihood" in kinds:
                self.offers_top_logprobs = await self._explore_top_logprobs()
        finally:
            await self.transport.hang_up()

    async def _choose_api(self) -> None:
        if await has_completions(self.transport, self.dialect):
            self.text_api = "completions"
        has = await has_chat(self.transport, self.dialect)
        self.chat_api = "chat" if has else "completions"
        if self.text_api == "auto":
            self.text_api = "chat"
        if not has and self.text_api != "completions":
            if others := self.listed.others:
                raise UsageError(
                    f"the server has no model {self.dialect.model!r}",
                    where=self.transport.base_url,
                    mend=f"it has {', '.join(others)}",
                )
            raise UsageError(
                "the server has neither chat nor completions",
                where=self.transport.base_url,
                mend="check --base-url, which ends in /v1 for most servers, or set -a api=...",
            )

    async def _explore_scoring(self) -> None:
        self.echo = await try_echo(self.transport, self.dialect)
        if self.echo.refused:
            log.warning("%s: no log-probabilities: %s", self._name, self.echo.refused)
            return
        self.tokenization = await self._choose_tokenization()
        self.echo_scorer = EchoScorer(
            self.transport, self.dialect, self.tokenization, self.echo.new_tokens
        )
        if isinstance(self.tokenization, ByRules):
            tokens = self.tokenization.encode_text(TEXTS[0])
            if await takes_wanted_tokens(self.transport, self.dialect, tokens):
                self.next_scorer = NextTokenScorer(self.transport, self.dialect, self.tokenization)

    async def _choose_tokenization(self) -> Tokenization:
        """Take the model's tokenizer where it is at hand, else the server's, else the text."""
        wanted, length = self._settings.tokenizer, self._longest_prompt()
        if wanted is None and is_local_checkpoint(self.listed.root):
            wanted = self.listed.root
        if wanted not in (None, "server", "text"):
            return ByRules(load_rules(str(wanted), length, "tokenizer"))
        if wanted != "text":
            by_server = ByServer(self.transport, self.dialect.model, length or 10**9)
            try:
                await self.transport.insist(lambda: by_server.tokenize(TEXTS[0]))
                return by_server
            except TryAgain as fault:  # which says nothing of whether it tokenizes
                raise TrialFailed(
                    f"the server did not answer a trial: {fault.reason}",
                    where=f"{self.transport.base_url}: /tokenize",
                    mend="give the same command again, or set -a tokenizer=text",
                ) from None
            except (UsageError, QuestionRefused):
                if wanted == "server":
                    raise
        return ByText()

    def _longest_prompt(self) -> int | None:
        """Return the tokens that a prompt may have with the one behind it."""
        length = self._settings.max_length or self.listed.max_length
        return None if length is None else length - 2

    def checkpoint(self) -> Any:
        """Return what is known of the weights behind the name: the server's, or their digests."""
        root = self.listed.root
        if not is_local_checkpoint(root):
            return root
        from llmeval.models.hf.identity import digest_folder

        return digest_folder(Path(str(root)))

    async def _explore_top_logprobs(self) -> bool:
        if self.dialect.reasoning or self.chat_api != "chat":
            return False
        known = self._settings.top_logprobs
        known = self.entry.top_logprobs if known is None else known
        if known is not None:
            return known
        return await offers_top_logprobs(self.transport, self.dialect)

    def describe_scoring(self) -> dict[str, Any] | None:
        """Return how log-probabilities are had, or why not; None where that was not explored."""
        if self.echo is None:
            return None
        if self.echo.refused:  # its words may differ from trial to trial
            return {"refused": True}
        return {
            "refused": False,
            "tokenization": self.tokenization.name if self.tokenization else None,
            "one_token_choices": "one call" if self.next_scorer else "echo",
        }


def run_apart(job: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; in a thread of its own where an event loop runs already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(job)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, job).result()
