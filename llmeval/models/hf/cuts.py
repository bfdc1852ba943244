r"""Safe cuts: places where a text may be tokenized in two pieces with the same tokens.

A cut ``a|b`` between two characters is *safe* when, whatever stands around it, the tokens of the
text are those of its left piece followed by those of its right piece. Texts are then cut there,
and each distinct piece is tokenized once. What is safe follows from how a tokenizer works; where
that is not known, nothing is cut. Every cut here has a space or a newline on one side and, on the
other, one of a fixed list of visible characters that every edition of Unicode classifies alike.

**Where regexes split the text** (byte-level BPE), a piece of the regex is merged on its own. It is
enough that a match always ends at the cut, and does so too where the text ends there or begins.

* ``visible| `` in all of them, ``visible|\n`` in those of ``_BLANK_FIRST`` (GPT-2): a match has
  blanks at its start or is nothing but blanks, so none holds a visible character before a blank.
  The only look-ahead, ``\s+(?!\S)``, is tried at blanks, and none end at this cut.
* ``letter|\n`` in those of ``_BREAK_LAST`` (cl100k, Llama 3, Qwen, o200k, Tekken): blanks at a
  match's end are newlines after punctuation, which a letter or digit is not.
* ``\n|visible`` in those of ``_BREAK_LAST``: the run of blanks before the cut ends with a newline.
  A match that reaches this newline is ``...[\r\n]*``, and takes all of them, or starts within the
  run: there ``\s*[\r\n]+`` comes before ``\s+``, succeeds, and takes the run to its end. A slash is
  no ``visible`` here, since o200k has ``[\r\n/]*``. (GPT-2 has ``\s+(?!\S)`` alone: not safe.)

A stage that isolates digits before the regex splits at digits whatever stands beside them, so the
above holds within its parts.

**Where nothing splits** (SentencePiece's BPE with its ``▁``, bytes without a regex), a merge across
the cut would make a piece that holds both characters beside each other. Where no piece of the
vocabulary does, and both are symbols of their own in it (or the second is one byte token that no
longer piece holds), no merge crosses, and the two sides merge as if alone: merges are done by
rank, then from left to right.

**Around that.** Unicode normalization: a space and a newline compose with nothing and begin a
segment, and the listed characters keep their class. Added tokens are found before all else: none
may hold a cut; texts with one that takes blanks beside it or looks at its neighbours are not cut.
What is put before the text (``▁``, a space) would stand before a right piece too: it is tokenized
behind an anchor, a character whose cut from it is safe, and the anchor's tokens are dropped. An
added token that ends at the cut would be followed by that as well, so ``visible`` is not the last
character of one there. Special tokens around a text are a fixed prefix and suffix.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# As parts of a character class. Letters and digits that are so in every form of normalization.
_LETTERS = (
    r"0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u013e\u0141-\u024f\u0391-\u03a1\u03a3-\u03ce\u0410-\u0481"
    r"\u05d0-\u05ea\u0620-\u063f\u0641-\u064a\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fa5\uac00-\ud7a3"
)
_MARKS = (
    r"!-.:-@\[-`{-~\u2010-\u2016\u2018-\u2027\u2030-\u203a\u3001-\u3003\u3008-\u3011"
    r"\uff01-\uff0e\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)
_SLASH = "/"

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_BLANKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+%s"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*%s"
)
_CL100K = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _BLANKS
_O200K = _CASED + r"|%s| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _BLANKS
_BREAK_LAST = frozenset(
    [
        _CL100K % r"\p{N}{1,3}",  # Llama 3
        _CL100K % r"\p{N}",  # Qwen 2
        _CONTRACTIONS  # Qwen 3.5
        + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"
        + _BLANKS,
        _O200K % (f"{_CONTRACTIONS}?", f"{_CONTRACTIONS}?", r"\p{N}{1,3}"),  # gpt-oss
        _O200K % ("", "", r"\p{N}"),  # Tekken
    ]
)
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_BLANK_FIRST = frozenset(
    [
        _GPT2,
        _GPT2.replace("'s|'t|'re|'ve|'m|'ll|'d", r"'(?:[sdmt]|ll|ve|re)"),
        r"\n| ?[^\W\d_]+| ?\d| ?[^\s\w]+| ?_| +(?!\S)| +|\s",  # the pocket model's
    ]
)


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where a tokenizer's texts may be cut.

    Args:
        words: matches nothing at a cut before a space or newline.
        lines: matches the newline at such a cut; None where no newline is at one.
        after: whether cuts of ``lines`` are behind the newline rather than before it.
        anchor: what a piece that does not begin the text is tokenized behind; may be empty.
        risky: a text that has one of these is not cut.
    """

    words: re.Pattern[str]
    lines: re.Pattern[str] | None
    after: bool
    anchor: str
    risky: tuple[str, ...]

    def allow(self, text: str) -> bool:
        """Whether a text may be cut at all."""
        return not any(content in text for content in self.risky)

    def separate(self, left: str, right: str) -> bool:
        """Whether the boundary of two texts, neither of them empty, is a safe cut."""
        return self.words.search(left[-1] + right[0]) is not None

    def split_lines(self, text: str) -> list[str]:
        """Cut a text at newlines."""
        if self.lines is None:
            return [text]
        if self.after:
            return _slice(text, [match.end() for match in self.lines.finditer(text)])
        return _slice(text, [match.start() for match in self.lines.finditer(text)])

    def split_words(self, text: str) -> list[str]:
        """Cut a text before spaces and newlines."""
        return self.words.split(text)


def _slice(text: str, places: list[int]) -> list[str]:
    return [text[i:j] for i, j in zip([0, *places], [*places, len(text)], strict=True)]


@dataclass(frozen=True, slots=True)
class _Classes:
    """Character classes: what may stand before a space, before a newline, behind a newline."""

    before_space: str
    before_newline: str = ""
    behind_newline: str = ""


def find_cuts(tokenizer: Any) -> Cuts | None:
    """Return the safe cuts of a transformers tokenizer; None where none are known."""
    from tokenizers import models
    from transformers.tokenization_utils_tokenizers import TokenizersBackend

    kind = type(tokenizer)
    if not isinstance(tokenizer, TokenizersBackend) or (
        kind._encode_plus is not TokenizersBackend._encode_plus
        or kind.__call__ is not TokenizersBackend.__call__
    ):
        return None  # its own code may do anything
    backend = tokenizer.backend_tokenizer
    model = backend.model
    if not isinstance(model, models.BPE) or model.dropout or model.continuing_subword_prefix:
        return None
    if model.end_of_word_suffix or not _adds_at_the_ends(_state(backend.post_processor)):
        return None
    normalizer = _state(backend.normalizer)
    pre_tokenizer = _state(backend.pre_tokenizer)
    prepends = _prepends(normalizer, pre_tokenizer)
    classes = _find_classes(normalizer, pre_tokenizer, backend)
    tokens = list(backend.get_added_tokens_decoder().values())
    if classes is None or (prepends and classes.behind_newline):
        return None
    if _holds_cut(tokens, backend.normalizer):
        return None
    risky = [t for t in tokens if t.lstrip or t.rstrip or t.single_word]
    if backend.normalizer is not None and any(t.normalized for t in risky):
        return None
    endings = "".join({token.content[-1] for token in tokens if token.content}) if prepends else ""
    return _compile(classes, endings, prepends, tuple(t.content for t in risky))


def _state(part: Any) -> dict[str, Any] | None:
    """Return the JSON form of a tokenizer's part."""
    if part is None:
        return None
    state: dict[str, Any] = json.loads(part.__getstate__())
    return state


def _stages(part: dict[str, Any] | None, members: str) -> list[dict[str, Any]]:
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [part]
    return [stage for member in part[members] for stage in _stages(member, members)]


def _adds_at_the_ends(post_processor: dict[str, Any] | None) -> bool:
    """Whether a post-processor adds nothing or a fixed prefix and suffix."""
    for stage in _stages(post_processor, "processors"):
        if stage["type"] == "TemplateProcessing":
            if sum("Sequence" in item for item in stage["single"]) != 1:
                return False
        elif stage["type"] not in ("ByteLevel", "BertProcessing", "RobertaProcessing"):
            return False
    return True


def _prepends(normalizer: dict[str, Any] | None, pre_tokenizer: dict[str, Any] | None) -> bool:
    """Whether something may be put before the text."""
    stages = _stages(normalizer, "normalizers") + _stages(pre_tokenizer, "pretokenizers")
    return any(
        stage["type"] == "Prepend"
        or stage.get("add_prefix_space", False)
        or stage.get("prepend_scheme", "never") != "never"
        for stage in stages
    )


def _find_classes(
    normalizer: dict[str, Any] | None, pre_tokenizer: dict[str, Any] | None, backend: Any
) -> _Classes | None:
    changes = _stages(normalizer, "normalizers")
    stages = _stages(pre_tokenizer, "pretokenizers")
    if all(stage["type"] in ("NFC", "NFKC") for stage in changes):
        if stages[:1] and stages[0]["type"] == "Digits":
            stages = stages[1:]
            if any(stage.get("add_prefix_space") for stage in stages):
                return None  # it would be put before every part
        regex = _find_regex(stages)
        if regex in _BLANK_FIRST:
            visible = _LETTERS + _MARKS + _SLASH
            return _Classes(visible, visible)
        if regex in _BREAK_LAST:
            return _Classes(_LETTERS + _MARKS + _SLASH, _LETTERS, _LETTERS + _MARKS)
    if not changes and [stage["type"] for stage in stages] == ["ByteLevel"]:
        return None if stages[0]["use_regex"] else _find_unmerged(backend, "Ġ", "Ċ", _is_ascii)
    if _blanks_become_lines(changes, stages):
        return _find_unmerged(backend, "▁", "\n", _is_visible)
    return None


def _find_regex(stages: list[dict[str, Any]]) -> str | None:
    """Return the regex of byte-level stages that split by one regex; None for other stages."""
    types = [stage["type"] for stage in stages]
    if types == ["ByteLevel"] and stages[0]["use_regex"]:
        return _GPT2
    if types != ["Split", "ByteLevel"]:
        return None
    split, level = stages
    if split["behavior"] != "Isolated" or split["invert"]:
        return None
    if level["use_regex"] or level["add_prefix_space"]:
        return None
    regex: str | None = split["pattern"].get("Regex")
    return regex


def _blanks_become_lines(changes: list[dict[str, Any]], stages: list[dict[str, Any]]) -> bool:
    """Whether spaces become ``▁`` and nothing else changes or splits but at those."""
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    replaces = changes[-1:] == [replace]
    if replaces and changes[:-1] not in ([], [{"type": "Prepend", "prepend": "▁"}]):
        return False
    if not stages:
        return replaces
    if len(stages) > 1 or (changes and not replaces):
        return False
    if stages[0]["type"] == "Split":  # at spaces, of which none are left
        return replaces and stages[0]["pattern"] == {"String": " "}
    return bool(stages[0]["type"] == "Metaspace" and stages[0]["replacement"] == "▁")


def _is_ascii(char: str) -> bool:
    return "!" <= char <= "~"


def _is_visible(char: str) -> bool:
    return not char.isspace() and char != "▁"


def _find_unmerged(backend: Any, space: str, newline: str, is_visible: Any) -> _Classes | None:
    """Find what no piece has before a blank.

    Args:
        backend: a tokenizer in whose BPE nothing splits.
        space, newline: the symbols of these characters, in bytes or as they are.
        is_visible: whether a character is its own symbol in every text.
    """
    if backend.model.ignore_merges:
        return None  # a piece of the vocabulary may then not be what its merges give
    vocabulary = backend.get_vocab()
    known = {piece for piece in vocabulary if len(piece) == 1 and is_visible(piece)}
    if space not in vocabulary or not known:
        return None
    if newline not in vocabulary and backend.model.byte_fallback:
        newline = "<0x0A>"
    pieces = [piece for piece in vocabulary if len(piece) > 1 and piece != newline]
    free = [known - _predecessors(pieces, blank) for blank in (space, newline)]
    before_newline = free[1] if newline in vocabulary else set()
    return _Classes(_as_class(free[0]), _as_class(before_newline)) if free[0] else None


def _predecessors(pieces: Iterable[str], symbol: str) -> set[str]:
    """Return the characters that stand before a symbol in some piece."""
    return {part[-1] for piece in pieces for part in piece.split(symbol)[:-1] if part}


def _as_class(chars: Iterable[str]) -> str:
    return "".join(re.escape(char) for char in sorted(chars))


def _holds_cut(tokens: Iterable[Any], normalizer: Any) -> bool:
    """Whether an added token has a blank behind another character, or one behind a newline."""
    for token in tokens:
        forms = [token.content]
        if normalizer is not None and token.normalized:
            forms.append(normalizer.normalize_str(token.content))
        if any(re.search(r"[^\s▁][\s▁]|\n[^\s▁]", form) for form in forms):
            return True
    return False


def _compile(
    classes: _Classes, endings: str, anchored: bool, risky: tuple[str, ...]
) -> Cuts | None:
    words, lines = _words_regex(classes, endings), _lines_regex(classes, endings)
    pattern = re.compile(words)
    blanks = " \n" if classes.before_newline else " "
    safe = (c for c in string.ascii_letters if all(pattern.search(c + b) for b in blanks))
    anchor = next(safe, "") if anchored else ""
    if anchored and not anchor:
        return None
    compiled = re.compile(lines) if lines else None
    return Cuts(pattern, compiled, bool(classes.behind_newline), anchor, risky)


def _words_regex(classes: _Classes, endings: str) -> str:
    but = f"(?<![{_as_class(endings)}])" if endings else ""
    if classes.before_space == classes.before_newline:  # twice as fast as two alternatives
        return rf"(?=[ \n])(?<=[{classes.before_space}]){but}"
    spaces = f"(?= )(?<=[{classes.before_space}]){but}"
    if not classes.before_newline:
        return spaces
    return rf"{spaces}|(?=\n)(?<=[{classes.before_newline}]){but}"


def _lines_regex(classes: _Classes, endings: str) -> str:
    """Return a regex that begins with the newline, so that the search can leap to it."""
    if classes.behind_newline:
        return rf"\n(?=[{classes.behind_newline}])"
    if not classes.before_newline:
        return ""
    but = rf"(?<![{_as_class(endings)}]\n)" if endings else ""
    return rf"\n(?<=[{classes.before_newline}]\n){but}"
