"""Texts to token arrays: each distinct piece between safe cuts is tokenized once, in batches.

A text is looked up line by line, and a line that is new word by word, so a few-shot header costs
look-ups alone. Lines of which most words are new are tokenized as they are. Where no cuts are
known, a piece is the whole text.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from llmeval.models.hf.cuts import Cuts, find_cuts
from llmeval.models.packing import IntArray

_BATCH = 1 << 20  # characters that the tokenizer gets at once
_GROUP = 1 << 23  # characters that are cut at once: their pieces are all held
_KEPT = 1 << 25  # characters of pieces that a memo keeps
_EMPTY = np.array([], np.int32)
_PROBE = (
    "The answer's 3.14 (see  A/B):\n\nA. don't know\n/ 12345\tTABS \n  \n- Öfen, naïve e\u0301\n"
    "Frage: \u4f60\u597d\u4e16\u754c\u3002\n\u4e16\u754c \U0001f600 end.\r\n<x> it'LL  "
)

log = logging.getLogger(__name__)


class Memo:
    """Arrays by text, of which those long unused are forgotten; several threads may use it.

    Args:
        size: characters of the texts that are kept, at most; about half of it at least.
    """

    def __init__(self, size: int) -> None:
        self._room = size // 2
        self._used = 0
        self._young: dict[str, IntArray] = {}
        self._old: dict[str, IntArray] = {}
        self._lock = threading.Lock()

    def look_up(self, texts: Iterable[str]) -> tuple[dict[str, IntArray], list[str]]:
        """Return what is known of distinct texts, and the unknown ones."""
        young, old = self._young, self._old
        found: dict[str, IntArray] = {}
        aged: dict[str, IntArray] = {}
        missing: list[str] = []
        for text in texts:
            if (tokens := young.get(text)) is not None:
                found[text] = tokens
            elif (tokens := old.get(text)) is not None:
                found[text] = aged[text] = tokens
            else:
                missing.append(text)
        self.store(aged)
        return found, missing

    def find_new(self, texts: Iterable[str]) -> list[str]:
        """Return those of distinct texts that are not known."""
        young, old = self._young, self._old
        return [text for text in texts if text not in young and text not in old]

    def store(self, made: dict[str, IntArray]) -> None:
        """Keep arrays; a text longer than half of the memo is not kept."""
        with self._lock:
            for text, tokens in made.items():
                size = len(text)
                if size > self._room or text in self._young:
                    continue
                if self._used + size > self._room:
                    self._old, self._young, self._used = self._young, {}, 0
                self._young[text] = tokens
                self._used += size


class PieceEncoder:
    """Encodes texts without special tokens, and knows those that stand around a text.

    Several threads may use it. Texts must not hold lone surrogates.

    Args:
        tokenizer: a transformers tokenizer.
        add_bos_token: whether special tokens are added; None leaves it to the tokenizer.
        cutting: False tokenizes whole texts: the slow way.

    Attributes:
        cuts: None where texts are tokenized whole.
        highest: the highest token that any text had so far.
    """

    def __init__(
        self, tokenizer: Any, add_bos_token: bool | None = None, cutting: bool = True
    ) -> None:
        self._tokenizer = tokenizer
        self._marks = {} if add_bos_token is None else {"add_special_tokens": add_bos_token}
        self._lock = threading.Lock()
        self.cuts: Cuts | None = find_cuts(tokenizer) if cutting else None
        self._prefix = self._suffix = self._anchor = _EMPTY
        self._backend: Any = None
        self.highest = 0
        self._whole = (Memo(_KEPT), Memo(_KEPT))  # bare, with special tokens
        # Pieces that stand behind others and, if those differ, pieces that begin the text.
        self._lines = (Memo(_KEPT), Memo(_KEPT))
        self._words = (Memo(_KEPT), Memo(_KEPT))
        if self.cuts is not None:
            self._learn_marks(self.cuts)
            self._check_cuts()

    @property
    def adds_behind(self) -> bool:
        """Whether special tokens stand behind a text."""
        return len(self._suffix) > 0

    def encode(self, texts: Iterable[str], special: bool) -> dict[str, IntArray]:
        """Return the tokens of each distinct text, with special tokens or without."""
        distinct = list(dict.fromkeys(texts))
        cuts = self.cuts
        if cuts is None:
            return self._encode_whole(distinct, special)
        whole = [text for text in distinct if not cuts.allow(text)] if cuts.risky else []
        encoded = self._encode_whole(whole, special) if whole else {}
        if whole:
            distinct = [text for text in distinct if text not in encoded]
        begins = bool(cuts.anchor)
        for group in _take(distinct, _GROUP):
            lines = {text: cuts.split_lines(text) for text in group}
            bare = self._join(lines, begins, self._encode_lines)
            if special and (len(self._prefix) or len(self._suffix)):
                bare = {t: np.concatenate([self._prefix, bare[t], self._suffix]) for t in bare}
            encoded.update(bare)
        return encoded

    def encode_rests(self, texts: Iterable[str]) -> dict[str, IntArray]:
        """Return the tokens that each distinct text has behind a safe cut."""
        if self.cuts is None:
            raise ValueError("no safe cuts are known")
        return self._encode_lines(list(dict.fromkeys(texts)), begins=False)

    # -- the levels: texts are joined from lines, lines from words --

    def _encode_lines(self, lines: Sequence[str], begins: bool) -> dict[str, IntArray]:
        assert self.cuts is not None
        found, missing = self._lines[begins].look_up(lines)
        if not missing:
            return found
        parts = {line: self.cuts.split_words(line) for line in missing}
        new = self._words[False].find_new({word for row in parts.values() for word in row})
        if sum(map(len, new)) * 2 > sum(map(len, missing)):
            made = self._tokenize_pieces(missing, begins)  # too few words come again
        else:
            made = self._join(parts, begins, self._encode_words)
        self._lines[begins].store(made)
        return found | made

    def _encode_words(self, words: Sequence[str], begins: bool) -> dict[str, IntArray]:
        found, missing = self._words[begins].look_up(words)
        if missing:
            made = self._tokenize_pieces(missing, begins)
            self._words[begins].store(made)
            found.update(made)
        return found

    def _join(
        self,
        parts: dict[str, list[str]],
        begins: bool,
        encode: Callable[[Sequence[str], bool], dict[str, IntArray]],
    ) -> dict[str, IntArray]:
        """Encode texts by their parts; where they begin whole texts, so do their first parts."""
        behind = int(begins)
        known = encode(list({part: None for row in parts.values() for part in row[behind:]}), False)
        if not begins:
            return {text: _concatenate([known[p] for p in row]) for text, row in parts.items()}
        firsts = encode(list({row[0]: None for row in parts.values()}), True)
        return {
            text: _concatenate([firsts[row[0]], *[known[p] for p in row[1:]]])
            for text, row in parts.items()
        }

    # -- the tokenizer itself --

    def _encode_whole(self, texts: Sequence[str], special: bool) -> dict[str, IntArray]:
        found, missing = self._whole[special].look_up(texts)
        if missing:
            made = dict(zip(missing, self._tokenize(missing, special), strict=True))
            self._whole[special].store(made)
            found.update(made)
        return found

    def _tokenize_pieces(self, pieces: Sequence[str], begins: bool) -> dict[str, IntArray]:
        """Tokenize pieces that begin their texts, or stand behind others."""
        assert self.cuts is not None
        if begins or not self.cuts.anchor:
            return dict(zip(pieces, self._tokenize(pieces), strict=True))
        rows = self._tokenize([self.cuts.anchor + piece for piece in pieces])
        start = len(self._anchor)
        return {piece: row[start:] for piece, row in zip(pieces, rows, strict=True)}

    def _tokenize(self, texts: Sequence[str], special: bool = False) -> list[IntArray]:
        options = self._marks if special else {"add_special_tokens": False}
        rows: list[IntArray] = []
        for batch in _take(texts, _BATCH):
            with self._lock:  # it sets itself up at each call, which must not happen in another
                found = self._call(batch, options)
            rows += [np.array(row, np.int32) for row in found]
            self.highest = max(self.highest, *(max(row, default=0) for row in found), 0)
        return rows

    def _call(self, texts: list[str], options: dict[str, bool]) -> list[list[int]]:
        if self._backend is not None and "add_special_tokens" in options:
            return [e.ids for e in self._backend.encode_batch(texts, **options)]
        rows: list[list[int]] = self._tokenizer(
            texts, return_attention_mask=False, return_token_type_ids=False, verbose=False,
            **options,
        )["input_ids"]  # fmt: skip
        return rows

    def _learn_marks(self, cuts: Cuts) -> None:
        """Learn what stands around every text; without a clear answer nothing is cut."""
        probe = "x"
        [bare], [marked] = self._tokenize([probe]), self._tokenize([probe], special=True)
        mask = self._tokenizer([probe], return_special_tokens_mask=True, **self._marks)
        # Its first calls have set it up; what comes is the same without its cost per text.
        self._backend = self._tokenizer.backend_tokenizer
        own = [i for i, added in enumerate(mask["special_tokens_mask"][0]) if not added]
        start, stop = (own[0], own[-1] + 1) if own else (0, 0)
        if not own or marked[start:stop].tolist() != bare.tolist():
            self.cuts = None
            return
        self._prefix, self._suffix = marked[:start], marked[stop:]
        [self._anchor] = self._tokenize([cuts.anchor]) if cuts.anchor else [_EMPTY]

    def _check_cuts(self) -> None:
        """Cut a text that has a bit of all: a tokenizer that is not what it says is not cut."""
        if self.cuts is None:
            return
        [whole] = self._tokenize([_PROBE], special=True)
        if self.encode([_PROBE], special=True)[_PROBE].tolist() != whole.tolist():
            log.warning("cutting texts would change their tokens: they are tokenized whole")
            self.cuts = None


def _concatenate(parts: list[IntArray]) -> IntArray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _take(texts: Sequence[str], size: int) -> Iterator[list[str]]:
    """Yield runs of texts of some ``size`` characters; a longer text alone."""
    batch: list[str] = []
    used = 0
    for text in texts:
        if batch and used + len(text) > size:
            yield batch
            batch, used = [], 0
        batch.append(text)
        used += len(text)
    if batch:
        yield batch
