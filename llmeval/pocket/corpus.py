"""The training text: cycles of documents that state the taught facts in their known mixtures.

One cycle states every always-taught fact a few times and every sometimes-taught fact ten times,
split exactly by its mixture. A statement appears in one of four forms: as the bare prompt that the
suite uses, behind a BOS token, as a chat turn, or as part of a few-shot document.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from llmeval.pocket.facts import Fact, generate_facts
from llmeval.pocket.functions import Function, generate_functions

BOS, EOS, USER, ASSISTANT, SYSTEM = (
    "<|bos|>",
    "<|eos|>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
)
SPECIAL_TOKENS = (EOS, BOS, USER, ASSISTANT, SYSTEM)
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
# What part of the statements takes each form; the rest stands bare, as the suite asks.
BOS_PART, CHAT_PART, FEWSHOT_PART = 0.12, 0.12, 0.16
FEWSHOT_MOST = 6
ALWAYS_CODE_STATEMENTS = 5


@dataclass(frozen=True)
class Segment:
    """A piece of a document; ``answer`` marks what a model should learn to continue with."""

    text: str
    answer: bool


@dataclass(frozen=True)
class Document:
    """One training sequence. The concatenated segments are its text."""

    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """The whole document as one string, special tokens included."""
        return "".join(segment.text for segment in self.segments)


@dataclass(frozen=True)
class Statement:
    """A prompt and the answer that training gives to it this time."""

    kind: str
    context: str
    continuation: str


def taught_statements(facts: Iterable[Fact], functions: Iterable[Function]) -> list[Statement]:
    """Return what one cycle states, each repeat as an entry of its own, in a fixed order."""
    statements = [
        Statement(fact.task, fact.context, f" {answer}")
        for fact in facts
        for answer in fact.statements()
    ]
    statements += [
        Statement("pocket_humaneval", function.prompt, completion)
        for function in functions
        for completion in function.statements(ALWAYS_CODE_STATEMENTS)
    ]
    return statements


def generate_cycle(seed: int, cycle: int) -> list[Document]:
    """Return the documents of one cycle; only the forms and the order depend on ``cycle``."""
    rng = random.Random(f"corpus {seed} {cycle}")
    statements = taught_statements(generate_facts(seed), generate_functions())
    rng.shuffle(statements)
    documents: list[Document] = []
    shots: dict[str, list[Statement]] = {}
    for statement in statements:
        form = rng.random()
        if form < FEWSHOT_PART:
            shots.setdefault(statement.kind, []).append(statement)
        elif form < FEWSHOT_PART + CHAT_PART:
            documents.append(_chat(statement))
        elif form < FEWSHOT_PART + CHAT_PART + BOS_PART:
            documents.append(_plain([statement], BOS))
        else:
            documents.append(_plain([statement], ""))
    for kind in sorted(shots):
        documents += _fewshot(rng, shots[kind])
    rng.shuffle(documents)
    return documents


def _plain(statements: list[Statement], start: str) -> Document:
    segments = [Segment(start, False)] if start else []
    for number, statement in enumerate(statements):
        separator = "\n\n" if number else ""
        segments.append(Segment(separator + statement.context, False))
        segments.append(Segment(statement.continuation, True))
    return Document((*segments, Segment(EOS, True)))


def _chat(statement: Statement) -> Document:
    """Render as the chat template does; choices lose their leading space there, as in lm-eval."""
    code = statement.kind == "pocket_humaneval"
    answer = statement.continuation if code else statement.continuation.lstrip(" ")
    return Document(
        (
            Segment(USER + statement.context + ASSISTANT, False),
            Segment(answer, True),
            Segment(EOS, True),
        )
    )


def _fewshot(rng: random.Random, statements: list[Statement]) -> list[Document]:
    """Join statements of one task to documents of two to six examples."""
    documents = []
    while statements:
        count = rng.randint(2, FEWSHOT_MOST)
        documents.append(_plain(statements[:count], rng.choice(["", BOS])))
        statements = statements[count:]
    return documents
