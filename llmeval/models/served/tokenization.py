"""How a question with a continuation becomes a prompt whose last tokens are the continuation."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from llmeval.core.errors import TryAgain, UsageError
from llmeval.core.requests import LoglikelihoodRequest, RollingRequest
from llmeval.core.responses import Failure

if TYPE_CHECKING:
    from llmeval.models.hf.tokens import TokenRules
    from llmeval.models.served.transport import Transport

Scored = LoglikelihoodRequest | RollingRequest

_KEPT_TEXTS = 4096  # texts whose tokens are remembered: contexts come back with every choice
_ENDLESS = 10**9


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt, and how much of its end is asked about.

    Attributes:
        prompt: tokens, or a text where nobody tells tokens.
        targets: tokens at the end that are asked about; None where they begin at ``start``.
        start: character of the text from which on it is asked about.
    """

    prompt: Sequence[int] | str
    targets: int | None
    start: int = 0


@dataclass(frozen=True, slots=True)
class Rows:
    """A question as rows: one, or a window each of a long text.

    Attributes:
        truncated: tokens cut from the left.
        boundary: ``separate`` where context and continuation were tokenized on their own.
    """

    rows: Sequence[Row]
    truncated: int = 0
    boundary: str | None = None


class Tokenization(Protocol):
    """One way to make rows."""

    name: str

    async def encode(self, request: Scored) -> Rows | Failure:
        """Return a question's rows, or why it has none."""
        ...


class ByRules:
    """With the model's tokenizer at hand: lm-eval's rules, the same as for local models."""

    name = "tokens"

    def __init__(self, rules: TokenRules) -> None:
        self._rules = rules

    async def encode(self, request: Scored) -> Rows | Failure:
        return self.encode_now(request)

    def encode_text(self, text: str) -> list[int]:
        """Return a text's tokens."""
        return [int(token) for token in self._rules.encode_texts([text])[text]]

    def encode_now(self, request: Scored) -> Rows | Failure:
        """Return a question's rows; nobody needs to be asked."""
        if isinstance(request, LoglikelihoodRequest):
            (encoded,) = self._rules.encode_pairs([request])
        else:
            (encoded,) = self._rules.encode_rolling([request])
        if isinstance(encoded, Failure):
            return encoded
        rows = [
            Row([*span.inputs.tolist(), int(span.targets[-1])], len(span.targets))
            for span in encoded.spans
        ]
        return Rows(rows, encoded.truncated, encoded.boundary)


class ByServer:
    """The server tokenizes (vLLM's ``/tokenize``), by the same rules without their fine print."""

    name = "server tokens"

    def __init__(self, transport: Transport, model: str, max_length: int) -> None:
        self._transport = transport
        self._model = model
        self._max_length = max_length
        self._known: OrderedDict[tuple[str, bool], asyncio.Future[list[int]]] = OrderedDict()

    async def encode(self, request: Scored) -> Rows | Failure:
        if isinstance(request, RollingRequest):
            return Failure("a whole text needs the model's tokenizer: set tokenizer=ID_OR_DIR")
        bare = request.context.rstrip()
        rest = request.context[len(bare) :] + request.continuation
        if not bare:
            return Failure("an empty context needs the model's tokenizer: set tokenizer=ID_OR_DIR")
        whole, context = await self.tokenize(bare + rest), await self.tokenize(bare)
        targets, boundary = len(whole) - len(context), None
        if targets <= 0 or not context:  # the tokenizer joins words across the boundary
            own = await self.tokenize(rest, special=False)
            whole, targets, boundary = [*context, *own], len(own), "separate"
        if not targets:
            return Failure("the tokenizer has no token for the continuation")
        truncated = max(0, len(whole) - self._max_length)
        if truncated and targets >= self._max_length:
            return Failure(f"a continuation of {targets} tokens does not fit the model's context")
        return Rows([Row(whole[truncated:], targets)], truncated, boundary)

    async def tokenize(self, text: str, special: bool = True) -> list[int]:
        """Return a text's tokens; TryAgain or UsageError where the server tells none."""
        key = (text, special)
        known = self._known.get(key)
        if known is None or known.get_loop() is not asyncio.get_running_loop():
            # Choices of one context ask for it at the same time: they share the call.
            known = asyncio.ensure_future(self._ask(text, special))
            known.add_done_callback(lambda done: self._forget_fault(key, done))
            self._known[key] = known
            if len(self._known) > _KEPT_TEXTS:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return await asyncio.shield(known)

    def _forget_fault(self, key: tuple[str, bool], done: asyncio.Future[list[int]]) -> None:
        """Let a text whose call failed be asked for again."""
        if (done.cancelled() or done.exception()) and self._known.get(key) is done:
            del self._known[key]

    async def _ask(self, text: str, special: bool) -> list[int]:
        body = {"model": self._model, "prompt": text, "add_special_tokens": special}
        try:  # a call that hangs must not hold all that wait for its text
            async with asyncio.timeout(self._transport.deadline):
                received = await self._transport.post_beside("/tokenize", body)
        except TimeoutError:
            raise TryAgain("no tokens in time", unreachable=True) from None
        tokens = received.body.get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(t, int) for t in tokens):
            raise TryAgain("the server tells no tokens")
        return tokens


class ByText:
    """Nobody tells tokens: the text goes out whole, and the answer says where tokens begin."""

    name = "text"

    async def encode(self, request: Scored) -> Rows | Failure:
        if isinstance(request, RollingRequest):
            return Failure("a whole text needs the model's tokenizer: set tokenizer=ID_OR_DIR")
        bare = request.context.rstrip()
        if not bare:
            return Failure("an empty context needs the model's tokenizer: set tokenizer=ID_OR_DIR")
        return Rows([Row(request.context + request.continuation, None, len(bare))])


def load_rules(name: str, max_length: int | None, where: str) -> TokenRules:
    """Return the rules with a tokenizer by its id or folder.

    Raises:
        UsageError: it cannot be loaded.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise UsageError(
            "transformers is not installed", where=where, mend="pip install 'llmeval[hf]'"
        ) from None
    from llmeval.models.hf.tokens import TokenRules

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(name)
    except Exception as error:  # the hub, the disk, a configuration: whatever transformers meets
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"the tokenizer {name!r} cannot be loaded: {reason}", where=where
        ) from None
    longest = max_length or _ENDLESS
    return TokenRules(tokenizer, longest, len(tokenizer))


def is_local_checkpoint(root: Any) -> bool:
    """Whether a server's name for its checkpoint is a folder here, with a tokenizer in it."""
    if not isinstance(root, str) or not root:
        return False
    folder = Path(root)
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
