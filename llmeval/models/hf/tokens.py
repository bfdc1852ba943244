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
    """

    def __init__(
        self,
        tokenizer: Any,
        max_length: int,
        vocabulary: int,
        add_bos_token: bool | None = None,
        prefix_token_id: int | None = None,
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

    def encode_pairs(self, requests: Sequence[LoglikelihoodRequest]) -> list[Encoded | Failure]:
        """Encode questions with a continuation; each distinct text is tokenized once."""
        pairs = [_move_blanks(clean(r.context), clean(r.continuation)) for r in requests]
        marked = self.encode_texts(
            text for context, rest in pairs if context for text in (context, context + rest)
        )
        bare = self.encode_texts((rest for context, rest in pairs if not context), special=False)
        encoded = []
        for context, rest in pairs:
            if not context:
                encoded.append(self._encode_after_prefix(bare[rest]))
                continue
            before, whole = marked[context], marked[context + rest]
            continuation = whole[len(before) :]
            if before and continuation:
                encoded.append(self._fit(before, continuation))
            else:
                encoded.append(self._encode_apart(before, rest))
        return encoded

    def encode_rolling(self, requests: Sequence[RollingRequest]) -> list[Encoded | Failure]:
        """Encode whole texts as windows in which every token is predicted once."""
        texts = [clean(request.text) for request in requests]
        marked = self.encode_texts(texts)
        return [self._encode_windows(marked[text]) for text in texts]

    def encode_prompts(self, prompts: Sequence[str]) -> list[IntArray]:
        """Encode prompts to generate from, uncut; the BOS text is not doubled."""
        texts = [clean(prompt) for prompt in prompts]
        marked = self.encode_texts(texts, prefix=self._bos_text)
        return [_as_array(marked[text]) for text in texts]

    def encode_texts(
        self, texts: Iterable[str], special: bool = True, prefix: str | None = None
    ) -> dict[str, list[int]]:
        """Return the tokens of each distinct text.

        Args:
            texts: what to tokenize.
            special: whether the tokenizer may add special tokens.
            prefix: a text that begins so has its special tokens; None is the prefix token's text.
        """
        prefix = self._prefix_text if prefix is None else prefix
        distinct = list(dict.fromkeys(texts))
        bare = [t for t in distinct if not special or (prefix and t.startswith(prefix))]
        chosen = set(bare)
        rest = [t for t in distinct if t not in chosen]
        options = {} if self.add_bos_token is None else {"add_special_tokens": self.add_bos_token}
        return self._tokenize(bare, {"add_special_tokens": False}) | self._tokenize(rest, options)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of generated tokens, special tokens left out."""
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return text

    def _tokenize(self, texts: list[str], options: dict[str, bool]) -> dict[str, list[int]]:
        if not texts:
            return {}
        rows = self.tokenizer(
            texts, return_attention_mask=False, return_token_type_ids=False, verbose=False,
            **options,
        )["input_ids"]  # fmt: skip
        return dict(zip(texts, rows, strict=True))

    def _encode_after_prefix(self, continuation: list[int]) -> Encoded | Failure:
        if not continuation:
            return Encoded(())
        if self.prefix_id is None:
            return _NO_PREFIX
        if continuation[0] != self.prefix_id:
            return self._fit([self.prefix_id], continuation)
        if len(continuation) > 1:
            return self._fit(continuation[:1], continuation[1:])
        return self._fit([self.prefix_id], continuation, boundary="separate")

    def _encode_apart(self, context: list[int], continuation: str) -> Encoded | Failure:
        """Tokens joined across the boundary, so the whole has no more of them than the context."""
        if not continuation:
            return Encoded(())
        targets = self.encode_texts([continuation], special=False)[continuation]
        if not targets:
            return Failure("the tokenizer has no token for the continuation")
        if not context and self.prefix_id is None:
            return _NO_PREFIX
        return self._fit(context or [self.prefix_id or 0], targets, boundary="separate")

    def _fit(
        self, context: list[int], continuation: list[int], boundary: str | None = None
    ) -> Encoded | Failure:
        if len(continuation) > self.max_length:
            return Failure(
                f"a continuation of {len(continuation)} tokens does not fit the model's context "
                f"of {self.max_length}"
            )
        tokens = context + continuation
        kept = tokens[-(self.max_length + 1) :]
        if failure := self.check_vocabulary(kept):
            return failure
        span = Span(_as_array(kept[:-1]), _as_array(continuation))
        return Encoded((span,), len(tokens) - len(kept), boundary)

    def _encode_windows(self, tokens: list[int]) -> Encoded | Failure:
        if not tokens:
            return Encoded(())
        if self.prefix_id is None:
            return _NO_PREFIX
        if failure := self.check_vocabulary(tokens):
            return failure
        return Encoded(tuple(cut_windows(tokens, self.prefix_id, self.max_length)))

    def check_vocabulary(self, tokens: Sequence[int]) -> Failure | None:
        """Return a failure if the model's embedding has no row for one of the tokens."""
        if (highest := max(tokens, default=0)) < self.vocabulary:
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


def cut_windows(tokens: Sequence[int], prefix: int, length: int) -> list[Span]:
    """Cut a text into windows of at most ``length`` inputs in which each token is predicted once.

    The first window begins with the prefix token; each later one begins with one token of context,
    and the last is filled up with context to the full length (lm-eval's rolling windows with
    ``context_len=1``).
    """
    spans = []
    for start in range(0, len(tokens), length):
        end = min(start + length, len(tokens))
        if start == 0:
            inputs = [prefix, *tokens[: end - 1]]
        else:
            inputs = list(tokens[end - length - 1 : end - 1])
        spans.append(Span(_as_array(inputs), _as_array(tokens[start:end])))
    return spans


def _move_blanks(context: str, continuation: str) -> tuple[str, str]:
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation


def _as_array(tokens: Sequence[int]) -> IntArray:
    return np.array(tokens, np.int32)
