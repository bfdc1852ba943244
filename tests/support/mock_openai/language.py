"""A tiny deterministic language: what the mock model knows instead of weights.

A piece's log-probability is a pure function of the text before it and of the piece, so that an
echoed text is scored exactly as it was when it was generated. After a prefix the vocabulary is
a permutation of one of a few tables of log-probabilities: rank(j) = (a j + b) mod p, with p a
prime, and a, b and the table from the prefix's hash. Best piece and rank cost O(1) that way.
"""

from __future__ import annotations

import math
import re
from bisect import bisect
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from zlib import crc32

PIECE = re.compile(r" ?[A-Za-z]{1,5}|[\s\S]")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MASK = (1 << 64) - 1
_WORDS_FROM = 0x110000  # the ids below are code points
_CUE = re.compile(r"(?:Answer with one letter\.\n?|(\nAnswer:))\Z")
_OPTIONS = re.compile(r"^\(?A[.)] .*?^\(?B[.)] ", re.MULTILINE | re.DOTALL)
_TAIL = 32  # characters: longer than any cue

# 53 pieces that may follow anything, then 8 bare words, which after a letter or a blank would
# be read as a part of another piece.
_AFTER_ANY = (
    " the| a| of| to| and| in| is| it| that| was| for| on| are| as| with| he| at| be| this| have"
    "| from| or| one| had| by| word| but| not| yes| no| A| B| C| D"
)
_BARE = "A|B|C|D|The|Yes|No|It"
VOCABULARY = (*_AFTER_ANY.split("|"), *"0123456789.,\n:?!-;'", *_BARE.split("|"))
_INDEX = {piece: index for index, piece in enumerate(VOCABULARY)}
_CLOSED, _OPEN = 53, 61
_TABLES = 64


def pieces(text: str) -> list[str]:
    """Split a text; the pieces joined are the text again."""
    return PIECE.findall(text)


def encode(piece: str) -> int:
    """Return a piece's id, below 2**31: a code point, or a word in bijective base 52."""
    if len(piece) == 1:
        return ord(piece)
    value = 0
    for letter in piece.lstrip(" "):
        value = value * 52 + LETTERS.index(letter) + 1
    return _WORDS_FROM + 2 * value + piece.startswith(" ")


def decode(token: int) -> str:
    """Return the piece of an id; ValueError where there is none."""
    if token < _WORDS_FROM:
        if token < 0 or 0xD800 <= token < 0xE000:
            raise ValueError(f"{token} is no token")
        return chr(token)
    value, blank = divmod(token - _WORDS_FROM, 2)
    letters = ""
    while value:
        value, index = divmod(value - 1, 52)
        letters = LETTERS[index] + letters
    if not 1 <= len(letters) <= 5:
        raise ValueError(f"{token} is no token")
    return " " * blank + letters


def mix(value: int) -> int:
    """Spread a hash over 64 bits (a checksum alone is linear in the text)."""
    value = ((value ^ (value >> 15)) * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) & _MASK
    value = ((value ^ (value >> 29)) * 0xBF58476D1CE4E5B9) & _MASK
    return value ^ (value >> 32)


class _Table:
    """Log-probabilities by rank, all distinct, the first at least 1 nat above the second."""

    def __init__(self, size: int, number: int) -> None:
        gap, fall = 1 + 2 * number / _TABLES, 4 + (number * 7 % _TABLES) / 16
        scores = [0.0, *(-gap - fall * rank / size for rank in range(1, size))]
        whole = math.log(sum(map(math.exp, scores)))
        self.size = size
        self.logprobs = [score - whole for score in scores]
        self.cumulative: list[float] = []
        total = 0.0
        for logprob in self.logprobs[:-1]:
            total += math.exp(logprob)
            self.cumulative.append(total)


_BY_SIZE = {size: [_Table(size, n) for n in range(_TABLES)] for size in (_CLOSED, _OPEN)}
_INVERSE = {size: [0, *(pow(a, -1, size) for a in range(1, size))] for size in _BY_SIZE}


class Spread(NamedTuple):
    """What may follow one prefix, and how probably (log-probabilities in nats)."""

    prefix: int
    a: int
    b: int
    table: _Table
    forced: bool = False

    def logprob(self, piece: str) -> float:
        """A piece outside of the vocabulary is less probable than any within."""
        index = _INDEX.get(piece, _OPEN)
        table = self.table
        if index < table.size:
            return table.logprobs[(self.a * index + self.b) % table.size]
        rest = mix(crc32(piece.encode(), self.prefix)) / 2**64
        return table.logprobs[-1] - 0.5 - 6 * rest

    def ranked(self, rank: int) -> str:
        """Return the piece of a rank; 0 is the best."""
        size = self.table.size
        return VOCABULARY[(rank - self.b) * _INVERSE[size][self.a] % size]

    def drawn(self, salt: int) -> str:
        """Return a sample; the same salt after the same prefix draws the same."""
        chance = mix(self.prefix ^ salt)
        if self.forced:
            letter = "ABCD"[chance >> 20 & 3]
            return letter if len(self.ranked(0)) == 1 else f" {letter}"
        return self.ranked(bisect(self.table.cumulative, chance / 2**64))

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the best pieces with their log-probabilities, best first."""
        ranks = range(min(count, self.table.size))
        return [(self.ranked(rank), self.table.logprobs[rank]) for rank in ranks]


class Reader:
    """How far a text has been read: all that the next piece depends on."""

    __slots__ = ("_options_at", "_read", "hash", "tail")

    def __init__(self, text: str = "", whole: str | None = None) -> None:
        """Read ``text``; ``whole`` is what is going to be read, where cues for letters count."""
        self.hash = crc32(text.encode())
        self.tail = text[-_TAIL:]
        self._read = len(text)
        options = _OPTIONS.search(whole) if whole else None
        self._options_at = options.end() if options else None

    def read(self, piece: str) -> None:
        """Go on by one piece."""
        self.hash = crc32(piece.encode(), self.hash)
        self.tail = (self.tail + piece)[-_TAIL:]
        self._read += len(piece)

    def spread(self, letter: bool = False) -> Spread:
        """Return what may come next; with ``letter`` the best is an option's letter."""
        last = self.tail[-1:]
        chance = mix(self.hash)
        # "A" after "w" or " " would be read as "wA" or " A"
        size = _CLOSED if last == " " or (last.isascii() and last.isalpha()) else _OPEN
        a, b = 1 + (chance & 0xFFFF) % (size - 1), (chance >> 16 & 0xFFFF) % size
        table = _BY_SIZE[size][chance >> 32 & (_TABLES - 1)]
        if letter or (last and last in ":.\n" and self._cued()):
            bare = size == _OPEN and (letter or last == "\n")
            best = "ABCD"[chance >> 40 & 3]
            b = -a * _INDEX[best if bare else f" {best}"] % size
            return Spread(self.hash, a, b, table, True)
        return Spread(self.hash, a, b, table)

    def ends(self) -> bool:
        """Whether an answer ends here; true after one piece in twelve."""
        return (mix(self.hash) >> 48) % 12 == 0

    def _cued(self) -> bool:
        cue = _CUE.search(self.tail)
        if cue is None:
            return False
        after_options = self._options_at is not None and self._read > self._options_at
        return cue[1] is None or after_options


def asks_letter(text: str) -> bool:
    """Whether a chat message asks for one of the letters A to D."""
    return text.rstrip().endswith("Answer with one letter.") or bool(_OPTIONS.search(text))


Steps = list[tuple[str, Spread]]


def walk(parts: Iterable[str], whole: str) -> tuple[Steps, Reader]:
    """Read a text's pieces from its start; each comes with what could have been there."""
    reader = Reader(whole=whole)
    steps: Steps = []
    for piece in parts:
        steps.append((piece, reader.spread()))
        reader.read(piece)
    return steps, reader


class Generation(NamedTuple):
    """A text with its steps; ``finish`` is stop or length. A stop cuts the text, not a step."""

    text: str
    steps: Steps
    finish: str
    tokens: int


def generate(
    reader: Reader,
    budget: int,
    *,
    stops: Sequence[str] = (),
    salt: int | None = None,
    letter: bool = False,
    endless: bool = False,
    said: Sequence[str] | None = None,
) -> Generation:
    """Go on from a reader for at most ``budget`` pieces; no salt is greedy.

    ``said`` are pieces to say whatever their probability; ``letter`` begins with a letter of
    A to D and ends; ``endless`` ends only at the budget or a stop.
    """
    steps: Steps = []
    text = ""
    while True:
        if said is not None and len(steps) >= len(said):
            return Generation(text, steps, "stop", len(steps))
        if len(steps) >= budget:
            return Generation(text, steps, "length", len(steps))
        spread = reader.spread(letter and not steps)
        if said is not None:
            piece = said[len(steps)]
        else:
            piece = spread.ranked(0) if salt is None else spread.drawn(salt)
        steps.append((piece, spread))
        text += piece
        reader.read(piece)
        cut = min((at for stop in stops if (at := text.find(stop)) >= 0), default=-1)
        if cut >= 0:
            return Generation(text[:cut], _before(steps, cut), "stop", len(steps))
        if said is None and not endless and (spread.forced or reader.ends()):
            return Generation(text, steps, "stop", len(steps))


def _before(steps: Steps, cut: int) -> Steps:
    """Return the steps that begin before an offset of the text."""
    kept: Steps = []
    offset = 0
    for step in steps:
        if offset >= cut:
            break
        kept.append(step)
        offset += len(step[0])
    return kept
