"""Multiple choice for models that only chat: the choices get letters, the answer is one of them.

It is another form of the task: its numbers are not comparable with those of log-probabilities, so
the record and every table name it.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import math
import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llmeval.core import (
    Ask,
    GenerateRequest,
    Generation,
    LoglikelihoodRequest,
    Message,
    Metric,
    Request,
    Response,
    RollingRequest,
    Sample,
    Sampling,
    Score,
    Task,
    Unscorable,
    fingerprint,
)
from llmeval.tasks.chat import decode_chat
from llmeval.tasks.generation import require_whole
from llmeval.tasks.native.scorers import Answer, letter_finder, mean
from llmeval.tasks.wrapped import WrappedTask

Form = Literal["letters by first-token log-probabilities", "letters by generation"]
BY_LOGPROBS: Form = "letters by first-token log-probabilities"
BY_GENERATION: Form = "letters by generation"

_INSTRUCTION = "Reply with the letter of the right answer, and nothing else."
_MOST_TOKENS = 256
_LOOKED_AT = 20  # samples, for the first one that asks something
_ALTERNATIVES = 20
_SINGLE_LETTER = re.compile(r"\s*[(\[]?([A-Z])[)\].:]?\s*")
_ANSWER_CUE = re.compile(r"\s*(?:(?<!\S)Answer|(?:\A|\n)[^\S\n]*A)\s*:\s*\Z")


async def ask_first(task: Task, sample: Sample) -> list[Request]:
    """Return what a task asks first of a sample, without asking it; nothing where it asks nothing.

    The evaluation is left where it asks, whatever stands around that. One that breaks before has
    no questions; where it is evaluated, its sample is errored.
    """
    asked: list[Request] = []
    first = asyncio.get_running_loop().create_future()

    async def note(requests: Sequence[Request]) -> list[Response]:
        asked.extend(requests)
        if requests and not first.done():
            first.set_result(None)
        never: asyncio.Future[list[Response]] = asyncio.get_running_loop().create_future()
        return await never

    evaluation = asyncio.ensure_future(task.evaluate(sample, note))
    await asyncio.wait({evaluation, first}, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0)  # what it asks at the same time
    evaluation.cancel()
    await asyncio.gather(evaluation, return_exceptions=True)
    return asked


def first_questions(task: Task, samples: Sequence[Sample]) -> list[list[Request]]:
    """Return what a task asks first of each of some samples; see :func:`ask_first`."""

    async def ask_all() -> list[list[Request]]:
        return [await ask_first(task, sample) for sample in samples]

    return asyncio.run(ask_all())


def kinds_of(task: Task) -> set[str]:
    """Return the kinds of a task's questions: ``choice``, ``loglikelihood``, ``generate``.

    ``choice`` is a log-probability for each of several continuations. Read off the first sample
    that asks something: one may be defective.
    """
    samples = list(itertools.islice(task.samples(), _LOOKED_AT))
    asked = zip(samples, first_questions(task, samples), strict=True)
    sample, requests = next(((s, r) for s, r in asked if r), (None, []))
    kinds = {"generate" for r in requests if isinstance(r, GenerateRequest)}
    scored = [r for r in requests if isinstance(r, LoglikelihoodRequest)]
    if any(isinstance(r, RollingRequest) for r in requests) or len(scored) == 1:
        kinds.add("loglikelihood")
    elif scored and sample is not None:
        several = sample.gold is not None and len(sample.gold.choices) > 1
        kinds.add("choice" if several else "loglikelihood")
    return kinds


@dataclass(frozen=True, slots=True)
class Question:
    """A choice put as a chat.

    Args:
        turns: of the chat.
        letters: one for each choice, in the order shown.
        places: which choice of the sample each letter stands for.
    """

    turns: tuple[Message, ...]
    letters: str
    places: tuple[int, ...]


class LetterTask(WrappedTask):
    """A choice task whose choices are asked for by letter.

    Its one metric is ``acc``: the share of samples whose letter is that of a right choice. Where
    answers come with alternatives, the most probable letter counts, and no text has to be read.

    Args:
        task: asks for log-probabilities of choices.
        form: how the letter is read.
        max_tokens: new tokens of an answer in which the letter is read; None for some that leave
            room for a model that explains itself all the same.
        grade_cut: read the letter even in an answer that ended at the limit.
    """

    def __init__(
        self, task: Task, form: Form, max_tokens: int | None = None, *, grade_cut: bool = False
    ) -> None:
        super().__init__(task)
        self._max_tokens = max_tokens or _MOST_TOKENS
        self._grade_cut = grade_cut
        self.form = form

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return {"acc": Metric("acc", mean, chance="choices")}

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "form": self.form}

    async def evaluate(self, sample: Sample, ask: Ask) -> list[Score]:
        question = self._put(sample, await ask_first(self._task, sample))
        by_logprobs = self.form == BY_LOGPROBS
        request = GenerateRequest(
            question.turns,
            Sampling(max_tokens=1 if by_logprobs else self._max_tokens),
            top_logprobs=_ALTERNATIVES if by_logprobs else 0,
        )
        (answer,) = await ask([request])
        if not isinstance(answer, Generation):
            raise TypeError(f"expected a completion, got {answer.kind}")
        require_whole(request, answer, self._grade_cut)
        letter, item = self._read(question, answer)
        right = sample.gold.right if sample.gold is not None else ()
        value = float(question.places[question.letters.index(letter)] in right)
        return [Score("acc", value, extracted=letter, item=item)]

    def _read(self, question: Question, answer: Generation) -> tuple[str, dict[str, float] | None]:
        if self.form == BY_GENERATION:
            find = _finder(question.letters)
            return find(Answer(answer.text, answer.finish_reason == "length")), None
        shares = read_letters(answer.top_logprobs, question.letters)
        return max(shares, key=shares.__getitem__), shares

    def _put(self, sample: Sample, requests: Sequence[Request]) -> Question:
        """Put a sample's question as a chat.

        Raises:
            Unscorable: it is not a choice between two and 26 texts, one of them right.
        """
        asked = [r for r in requests if isinstance(r, LoglikelihoodRequest)]
        gold = sample.gold
        count = len(gold.choices) if gold is not None else 0
        choices = asked[:count]
        if gold is None or not gold.right or len(choices) != count:
            raise Unscorable("the sample is no choice with a right answer")
        if not 2 <= count <= len(string.ascii_uppercase):
            raise Unscorable(f"{count} choices have no letters")
        return put_question(choices)


@functools.lru_cache(maxsize=32)
def _finder(letters: str) -> Callable[[Answer], str]:
    return letter_finder(letters)


def put_question(choices: Sequence[LoglikelihoodRequest]) -> Question:
    """Return choices as a chat question whose answer is a letter.

    Choices that are letters already, which the prompt explains (MMLU), keep them. Where the
    choices differ in their contexts (WinoGrande), whole sentences are what is chosen from.
    """
    if len({choice.context for choice in choices}) > 1:
        chats = [_turns(choice.context) for choice in choices]
        texts = [
            chat[-1].content + choice.continuation
            for chat, choice in zip(chats, choices, strict=True)
        ]
        before = chats[0][:-1] if all(chat[:-1] == chats[0][:-1] for chat in chats) else ()
        return _ask_for_letter((*before, Message("user", "Which of these is right?")), texts)
    turns = _turns(choices[0].context)
    texts = [choice.continuation.strip() for choice in choices]
    named = [match[1] for text in texts if (match := _SINGLE_LETTER.fullmatch(text))]
    if len(named) == len(texts) == len(set(named)):
        return Question(_append(turns, _INSTRUCTION), "".join(named), tuple(range(len(named))))
    return _ask_for_letter(turns, texts)


def _turns(context: str) -> tuple[Message, ...]:
    turns = decode_chat(context)
    if isinstance(turns, str):
        return (Message("user", turns),)
    if len(turns) > 1 and turns[-1].role == "assistant":  # an answer begun, which a letter is not
        return turns[:-1]
    return turns


def _ask_for_letter(turns: tuple[Message, ...], texts: Sequence[str]) -> Question:
    letters = string.ascii_uppercase[: len(texts)]
    places = shuffle(texts)
    listed = "\n".join(
        f"{letter}. {texts[place]}" for letter, place in zip(letters, places, strict=True)
    )
    last = turns[-1]
    question = _ANSWER_CUE.sub("", last.content)
    turns = (*turns[:-1], Message(last.role, f"{question}\n\n{listed}"))
    return Question(_append(turns, _INSTRUCTION), letters, places)


def shuffle(texts: Sequence[str]) -> tuple[int, ...]:
    """Return an order of choices that depends on their texts alone.

    Data sets may have the right one always first (TruthfulQA): in their order, a model that always
    says A would be right.
    """
    return tuple(sorted(range(len(texts)), key=lambda i: (fingerprint([*texts, i], 8), i)))


def _append(turns: tuple[Message, ...], text: str) -> tuple[Message, ...]:
    last = turns[-1]
    return (*turns[:-1], Message(last.role, f"{last.content}\n\n{text}"))


def read_letters(alternatives: Mapping[str, float] | None, letters: str) -> dict[str, float]:
    """Return each letter's probability among the letters, from a first token's alternatives.

    Spellings of one letter (`` B``, ``(B``, ``b``) count together; a letter that is not among the
    alternatives has probability 0.

    Raises:
        Unscorable: the answer came without alternatives, or no letter is among them.
    """
    if not alternatives:
        raise Unscorable("the answer came without alternatives of its first token")
    shares = dict.fromkeys(letters, 0.0)
    for token, logprob in alternatives.items():
        letter = token.strip(" \t\n()[]*.:\"'▁Ġ").upper()
        if letter in shares:
            shares[letter] += math.exp(logprob)
    total = math.fsum(shares.values())
    if total <= 0:
        raise Unscorable("no letter is among the alternatives of the first token")
    return {letter: share / total for letter, share in shares.items()}
