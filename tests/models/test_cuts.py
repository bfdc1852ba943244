"""Safe cuts change no token: real tokenizers of each kind, called whole, are the judge."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from llmeval.models.hf import cuts as cuts_module
from llmeval.models.hf.cuts import find_cuts
from llmeval.models.hf.pieces import PieceEncoder
from tests.models.conftest import CORPUS
from tests.support.shared import shared_dir

# As their checkpoints have them, spelled out on purpose: what the code allows is put together
# from parts, and one wrong letter there would leave a family uncut.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN35 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Pieces that the tokenizers learn: blanks and punctuation in runs, marks, contractions.
TRAINING = [
    *CORPUS,
    "Don't! It's they'll we've I'M.\n\nA. 12345\nB. 3,14\n\n\nC...\n-- a/b\n/c\n  d\t\te \n f",
    "x = {\n    'a': 1,\n\t\tb: 2\n}\r\n\r\nend;\n  \n   if  (a)  ||  b\n\nAnswer: A\nAnswer:",
    "\uff15\uff10\uff0f\uff11 \uff21\uff1a\n",
    "e\u0301te\u0301 \u1112\u1161\u11ab \uac00\u11a8 ① ﬁ 你好。\n世界 \U0001f600\n",
    "yes!\n/a no:\n/b ok!\n/a a)\n/c b;\n/a me!\n/b so.\n/\n/ we!\n//\n/",
] * 3
SPECIALS = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]


def split_by(pattern: str, *before: Any) -> Any:
    return pre_tokenizers.Sequence(
        [
            *before,
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def train(
    pre_tokenizer: Any,
    normalizer: Any = None,
    prefix: str = "",
    suffix: str = "",
    added: tuple[AddedToken, ...] = (),
    trainer: Any = None,
    **model: Any,
) -> Any:
    """Train a small byte-level BPE; with ``model`` given, one of characters as SentencePiece's."""
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    alphabet = [f"<0x{byte:02X}>" for byte in range(256)] if model.get("byte_fallback") else []
    trainer = trainer or trainers.BpeTrainer(
        vocab_size=900 + len(alphabet),
        special_tokens=SPECIALS + alphabet,
        initial_alphabet=[] if model else pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([t for text in TRAINING for t in (text, text.lower())], trainer)
    if alphabet:  # trained as special ones to get their places; they are not found in texts
        tokenizer = without_added(tokenizer, alphabet)
    tokenizer.add_tokens(list(added))
    if prefix or suffix:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{prefix} $A {suffix}".strip(),
            special_tokens=[(t, tokenizer.token_to_id(t)) for t in (prefix, suffix) if t],
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def without_added(tokenizer: Any, contents: list[str]) -> Any:
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [t for t in state["added_tokens"] if t["content"] not in contents]
    return Tokenizer.from_str(json.dumps(state))


def sentence_pieces(**changes: Any) -> Any:
    """Build what Llama 2 has: ``▁`` before the text and for spaces, bytes for what is unknown."""
    normal = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    options = {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True} | changes
    return train(None, normal, prefix="<s>", **options)


def gemma() -> Any:
    split = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    return train(
        split,
        normalizers.Replace(" ", "▁"),
        prefix="<s>",
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
        added=(AddedToken("\n\n", normalized=False), AddedToken("▁▁", normalized=False)),
    )


def metaspace(scheme: str, split: bool) -> Any:
    pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    return train(pre_tokenizer, unk_token="<unk>", fuse_unk=False, byte_fallback=True)


def gpt2(**options: Any) -> Any:
    blank = options.pop("add_prefix_space", False)
    return train(pre_tokenizers.ByteLevel(add_prefix_space=blank), **options)


def neox() -> Any:
    runs = tuple(AddedToken(" " * n, normalized=True) for n in (2, 3, 4))
    return gpt2(normalizer=normalizers.NFC(), added=runs)


def stripping() -> Any:
    taking = (AddedToken("<|im_end|>", rstrip=True), AddedToken("[M]", lstrip=True, special=True))
    return gpt2(added=taking)


def digits() -> Any:
    return train(
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
    )


KINDS: dict[str, Callable[[], Any]] = {
    "gpt2": gpt2,
    "gpt2 with a blank before": lambda: gpt2(add_prefix_space=True, prefix="<s>"),
    "gpt2 with a suffix": lambda: gpt2(prefix="<s>", suffix="</s>"),
    "neox": neox,
    "stripping tokens": stripping,
    "digits": digits,
    "llama 3": lambda: train(split_by(LLAMA3), prefix="<s>", ignore_merges=True, unk_token=None),
    "llama 3, digits apart": lambda: train(split_by(LLAMA3, pre_tokenizers.Digits(True))),
    "qwen 2": lambda: train(split_by(QWEN2), normalizers.NFC()),
    "qwen 2, NFKC": lambda: train(split_by(QWEN2), normalizers.NFKC()),
    "qwen 3.5": lambda: train(split_by(QWEN35), normalizers.NFC()),
    "gpt-oss": lambda: train(split_by(O200K)),
    "gpt-oss, NFKC": lambda: train(split_by(O200K), normalizers.NFKC()),
    "tekken": lambda: train(split_by(TEKKEN)),
    "bytes, nothing split": lambda: train(
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    ),
    "bytes, nothing split, blank before": lambda: train(
        pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)
    ),
    "llama 2": sentence_pieces,
    "llama 2, unknown kept apart": lambda: sentence_pieces(fuse_unk=False, byte_fallback=False),
    "metaspace first": lambda: metaspace("first", False),
    "metaspace always, split": lambda: metaspace("always", True),
    "metaspace never": lambda: metaspace("never", False),
    "gemma": gemma,
}
build = cache(lambda kind: KINDS[kind]())

FRAGMENTS = [
    " ", "  ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2028", "\u180e", "\u200b", "\x1c",
    "the", " woods", "Answer:", " A", "A.", "B", "don", "'t", "'LL", "'s", "1", "23", "456", "x2",
    ".", ",", "/", "...", "!\n", ":\n", ")", "-", "_", "\u00e9", "e\u0301", "\u0301", "\u0338", "=",
    "你", "好。", "\uff1a", "\uff0f", "…", "‗", "①", "ﬁ", "\u0149", "\u013f",
    "\u1112\u1161\u11ab", "\uac00",
    "\u11a8", "\u304b",
    "\u3099", "\U0001f600", "\u200d", "▁", "<s>", "</s>", "<|im_start|>",
    "<|im_end|>", "[M]", "<0x0A>", "<unk>", "\u017f", "ß", "Σ", "٣", "²", "\u2167", "‿",
]  # fmt: skip
texts = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=14).map("".join)
valid = texts.map(lambda text: text.encode("utf-8", "replace").decode())


def ids(tokenizer: Any, text: str, special: bool) -> list[int]:
    """Tokenize a whole text, as the tokenizer itself does."""
    found: list[int] = tokenizer(text, add_special_tokens=special)["input_ids"]
    return found


@cache
def encoder_of(kind: str) -> PieceEncoder:
    return PieceEncoder(build(kind))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100, deadline=None)
@given(text=valid, special=st.booleans())
@example("Question: A?\n\nA. x\n/ y\nAnswer: B\n\n\nWhy 12 34?  No.\n \nIt's", True)
@example("yes!\n/a no:\n/b", False)
@example(" the woods\n the fox", True)
@example("</s> the woods <s>the fox</s>\nthe", True)
@example("", True)
@example("\n", False)
def test_cutting_changes_no_token(kind: str, text: str, special: bool) -> None:
    encoder = encoder_of(kind)
    assert encoder.encode([text], special)[text].tolist() == ids(build(kind), text, special)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100, deadline=None)
@given(left=valid, right=valid)
@example("Question\nAnswer:", " A")
@example("the</s>", " fox")
@example("the", "\n\nfox")
def test_a_boundary_that_is_a_cut_parts_the_tokens(kind: str, left: str, right: str) -> None:
    tokenizer, encoder = build(kind), encoder_of(kind)
    cuts = encoder.cuts
    assert cuts is not None
    if left and right and cuts.separate(left, right) and cuts.allow(left + right):
        behind = encoder.encode_rests([right])[right].tolist()
        assert ids(tokenizer, left, False) + behind == ids(tokenizer, left + right, False)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_cut(kind: str) -> None:
    encoder = encoder_of(kind)
    assert encoder.cuts is not None
    text = "One: B\nTwo: C\nThree X"
    assert len(encoder.cuts.split_words(text)) > 1


@pytest.mark.parametrize(
    "kind", [k for k in KINDS if k.startswith(("gpt", "llama 3", "qwen", "tek", "dig"))]
)
def test_lines_are_cut_where_blocks_meet(kind: str) -> None:
    cuts = encoder_of(kind).cuts
    assert cuts is not None
    lines = cuts.split_lines("One B\nX: J\n\nTwo J\nAnswer: X\n\nThree J\nAnswer:")
    assert len(lines) == 6


UNKNOWN: dict[str, Callable[[], Any]] = {
    "another regex": lambda: train(split_by(LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}{1,4}"))),
    "another behaviour": lambda: train(
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(QWEN2), behavior="merged_with_next"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    ),
    "a regex, then GPT-2's": lambda: train(
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(QWEN2), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    ),
    "another normalizer": lambda: gpt2(normalizer=normalizers.Lowercase()),
    "words of a list": lambda: train(pre_tokenizers.Whitespace(), unk_token="<unk>"),
    "an added token with a blank": lambda: gpt2(added=(AddedToken("the fox"),)),
    "an added token over lines": lambda: train(split_by(QWEN2), added=(AddedToken("\n/"),)),
    "a normalized one that takes blanks": lambda: gpt2(
        normalizer=normalizers.NFC(), added=(AddedToken("[N]", rstrip=True, normalized=True),)
    ),
    "dropout": lambda: gpt2(dropout=0.1),
    "merges that are not asked": lambda: sentence_pieces(ignore_merges=True),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_what_is_not_known_is_not_cut(kind: str) -> None:
    assert find_cuts(UNKNOWN[kind]()) is None


def test_other_models_and_other_code_are_not_cut() -> None:
    unigram = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁", -1.0), ("a", -2.0)], unk_id=0))
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    assert find_cuts(PreTrainedTokenizerFast(tokenizer_object=unigram)) is None

    class Own(PreTrainedTokenizerFast):  # type: ignore[misc]
        def _encode_plus(self, *args: Any, **kwargs: Any) -> Any:
            return super()._encode_plus(*args, **kwargs)

    backend = build("gpt2").backend_tokenizer
    assert find_cuts(PreTrainedTokenizerFast(tokenizer_object=backend)) is not None
    assert find_cuts(Own(tokenizer_object=backend)) is None


def members(char_class: str) -> set[str]:
    matcher = regex.compile(f"[{char_class}]")
    return {chr(code) for code in range(0x10000) if matcher.match(chr(code))}


@pytest.mark.parametrize("form", [None, "NFC", "NFKC"])
def test_listed_characters_keep_their_class(form: Any) -> None:
    """By Unicode's own tables: letters end as letters, visible ones begin and end as such."""
    letters, marks = members(cuts_module._LETTERS), members(cuts_module._MARKS)
    assert len(letters) > 30_000
    for char in letters | marks:
        changed = unicodedata.normalize(form, char) if form else char
        assert not changed[0].isspace()
        assert not changed[-1].isspace()
        assert "/" not in (changed[0], changed[-1])
        for end in (changed[0], changed[-1]):
            assert (unicodedata.category(end)[0] in "LN") == (char in letters), hex(ord(char))


TINY = ("gpt2-tokenizer", "stories260K", "tinystories656K")


@pytest.mark.parametrize("name", [*TINY, "pocket"])
@settings(max_examples=100, deadline=None)
@given(text=valid, left=valid, right=valid)
def test_real_tokenizers_too(name: str, text: str, left: str, right: str) -> None:
    tokenizer, encoder = real(name)
    assert encoder.cuts is not None
    assert encoder.encode([text], True)[text].tolist() == ids(tokenizer, text, True)
    if left and right and encoder.cuts.separate(left, right):
        behind = encoder.encode_rests([right])[right].tolist()
        assert ids(tokenizer, left, False) + behind == ids(tokenizer, left + right, False)


@cache
def real(name: str) -> tuple[Any, PieceEncoder]:
    import llmeval.pocket

    pocket = Path(llmeval.pocket.__file__).parent / "model"
    folder = pocket if name == "pocket" else shared_dir("models", name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return tokenizer, PieceEncoder(tokenizer)
