"""From text to tokens, by lm-eval 0.4.13's rules, and what is said where those have no answer.

The rules: blanks at the end of a context belong to the continuation; context and whole text are
tokenized on their own and the continuation is what the whole has more; a text that begins with the
prefix token's text gets no second one; an empty context is one prefix token; what is too long is
cut from the left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmeval.core.requests import LoglikelihoodRequest, RollingRequest
from llmeval.core.responses import Failure
from llmeval.models.hf.pieces import PieceEncoder
from llmeval.models.packing import IntArray

RULES_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """One row to score: the model reads ``inputs``; its last outputs are held to ``targets``."""

    inputs: IntArray
    targets: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A question in tokens.

    Args:
        spans: one for a loglikelihood, one a window for a rolling one, none where nothing is asked.
        truncated: tokens cut from the left.
        boundary: ``separate`` where context and continuation were tokenized on their own.
    """

    spans: tuple[Span, ...]
    truncated: int = 0
    boundary: str | None = None


class TokenRules:
    """A tokenizer with the rules that turn questions into rows.

    Args:
        tokenizer: a transformers tokenizer.
        max_length: the model's context in tokens.
        vocabulary: rows of the model's embedding; a token beyond them is a failure.
        add_bos_token: None leaves special tokens to the tokenizer.
        prefix_token_id: stands for an empty context; None is BOS, else EOS, else there is none.
        cutting: False tokenizes whole texts, which is slow; the tokens are the same.

    Several threads may use it.
    """

    def __init__(
        self,
        tokenizer: Any,
        max_length: int,
        vocabulary: int,
        add_bos_token: bool | None = None,
        prefix_token_id: int | None = None,
        cutting: bool = True,
    ) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.vocabulary = vocabulary
        self.add_bos_token = add_bos_token
        candidates = (prefix_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
        self.prefix_id: int | None = next((id for id in candidates if id is not None), None)
        # lm-eval's order; a padding token that the embedding lacks could not be looked up.
        fillers = (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.eos_token_id, 0)
        self.pad_id: int = next(id for id in fillers if id is not None and id < vocabulary)
        self._prefix_text = "" if self.prefix_id is None else tokenizer.decode([self.prefix_id])
        self._bos_text: str = tokenizer.bos_token or ""
        self._pieces = PieceEncoder(tokenizer, add_bos_token, cutting)

    def encode_pairs(self, requests: Sequence[LoglikelihoodRequest]) -> list[Encoded | Failure]:
        """Encode questions with a continuation.

        Where the boundary is a safe cut, the whole text's tokens are those of its two sides, so
        it need not be tokenized.
        """
        pairs = [_move_blanks(clean(r.context), clean(r.continuation)) for r in requests]
        apart = {pair for pair in set(pairs) if self._splits(*pair)}
        befores = self.encode_texts(context for context, _ in pairs if context)
        wholes = self.encode_texts(
            context + rest for context, rest in pairs if context and (context, rest) not in apart
        )
        rests = self._pieces.encode_rests(rest for _, rest in apart) if apart else {}
        bare = self.encode_texts((rest for context, rest in pairs if not context), special=False)
        encoded = []
        for context, rest in pairs:
            if not context:
                encoded.append(self._encode_after_prefix(bare[rest]))
                continue
            before = befores[context]
            if (context, rest) in apart:
                continuation = rests[rest]
            else:
                continuation = wholes[context + rest][len(before) :]
            if len(before) and len(continuation):
                encoded.append(self._fit(before, continuation))
            else:
                encoded.append(self._encode_apart(before, rest))
        return encoded

    def _splits(self, context: str, rest: str) -> bool:
        """Whether the tokens of context and continuation, one behind the other, are the whole's."""
        cuts = self._pieces.cuts
        if cuts is None or not context or not rest or self._pieces.adds_behind:
            return False
        if not cuts.separate(context, rest):
            return False
        if len(context) < len(self._prefix_text):  # the whole may begin with it
            return False
        return not cuts.risky or cuts.allow(context + rest)

    def encode_rolling(self, requests: Sequence[RollingRequest]) -> list[Encoded | Failure]:
        """Encode whole texts as windows in which every token is predicted once."""
        texts = [clean(request.text) for request in requests]
        marked = self.encode_texts(texts)
        return [self._encode_windows(marked[text]) for text in texts]

    def encode_prompts(self, prompts: Sequence[str]) -> list[IntArray]:
        """Encode prompts to generate from, uncut; the BOS text is not doubled."""
        texts = [clean(prompt) for prompt in prompts]
        marked = self.encode_texts(texts, prefix=self._bos_text)
        return [marked[text] for text in texts]

    def encode_texts(
        self, texts: Iterable[str], special: bool = True, prefix: str | None = None
    ) -> dict[str, IntArray]:
        """Return the tokens of each distinct text.

        Args:
            texts: what to tokenize.
            special: whether the tokenizer may add special tokens.
            prefix: a text that begins so has its special tokens; None is the prefix token's text.
        """
        prefix = self._prefix_text if prefix is None else prefix
        bare: list[str] = []
        rest: list[str] = []
        for text in dict.fromkeys(texts):
            has_own = not special or (prefix and text.startswith(prefix))
            (bare if has_own else rest).append(text)
        return self._pieces.encode(bare, special=False) | self._pieces.encode(rest, special=True)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of generated tokens, special tokens left out."""
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return text

    def _encode_after_prefix(self, continuation: IntArray) -> Encoded | Failure:
        if not len(continuation):
            return Encoded(())
        if self.prefix_id is None:
            return _NO_PREFIX
        prefix = np.array([self.prefix_id], np.int32)
        if continuation[0] != self.prefix_id:
            return self._fit(prefix, continuation)
        if len(continuation) > 1:
            return self._fit(continuation[:1], continuation[1:])
        return self._fit(prefix, continuation, boundary="separate")

    def _encode_apart(self, context: IntArray, continuation: str) -> Encoded | Failure:
        """Tokens joined across the boundary, so the whole has no more of them than the context."""
        if not continuation:
            return Encoded(())
        targets = self.encode_texts([continuation], special=False)[continuation]
        if not len(targets):
            return Failure("the tokenizer has no token for the continuation")
        if not len(context):
            if self.prefix_id is None:
                return _NO_PREFIX
            context = np.array([self.prefix_id], np.int32)
        return self._fit(context, targets, boundary="separate")

    def _fit(
        self, context: IntArray, continuation: IntArray, boundary: str | None = None
    ) -> Encoded | Failure:
        """Cut a row to the model's context; rows may share the array of an uncut context."""
        if len(continuation) > self.max_length:
            return Failure(
                f"a continuation of {len(continuation)} tokens does not fit the model's context "
                f"of {self.max_length}"
            )
        room = self.max_length + 1 - len(continuation)  # one at least
        truncated = max(0, len(context) - room)
        kept = context[truncated:] if truncated else context
        for tokens in (kept, continuation):
            if failure := self.check_vocabulary(tokens):
                return failure
        inputs = kept if len(continuation) == 1 else np.concatenate([kept, continuation[:-1]])
        return Encoded((Span(inputs, continuation),), truncated, boundary)

    def _encode_windows(self, tokens: IntArray) -> Encoded | Failure:
        if not len(tokens):
            return Encoded(())
        if self.prefix_id is None:
            return _NO_PREFIX
        if failure := self.check_vocabulary(tokens):
            return failure
        return Encoded(tuple(cut_windows(tokens, self.prefix_id, self.max_length)))

    def check_vocabulary(self, tokens: IntArray) -> Failure | None:
        """Return a failure if the model's embedding has no row for one of the tokens."""
        if max(self._pieces.highest, self.prefix_id or 0) < self.vocabulary:
            return None  # no token is beyond them
        if not len(tokens) or (highest := int(tokens.max())) < self.vocabulary:
            return None
        return Failure(
            f"the tokenizer gives token {highest}, the model knows {self.vocabulary}: "
            "they do not belong together"
        )


_NO_PREFIX = Failure(
    "nothing stands before the first token: the tokenizer has neither BOS nor EOS; "
    "set prefix_token_id"
)


def clean(text: str) -> str:
    """Replace lone surrogates by U+FFFD, since no tokenizer takes them."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def cut_windows(tokens: IntArray, prefix: int, length: int) -> list[Span]:
    """Cut a text into windows of at most ``length`` inputs in which each token is predicted once.

    The first window begins with the prefix token; each later one begins with one token of context,
    and the last is filled up with context to the full length (lm-eval's rolling windows with
    ``context_len=1``).
    """
    read = np.concatenate([np.array([prefix], np.int32), tokens[:-1]])  # what stands before each
    spans = []
    for start in range(0, len(tokens), length):
        end = min(start + length, len(tokens))
        first = max(0, end - length) if start else 0
        spans.append(Span(read[first:end], tokens[start:end]))
    return spans


def _move_blanks(context: str, continuation: str) -> tuple[str, str]:
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation
