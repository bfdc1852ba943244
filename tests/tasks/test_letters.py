"""Choices asked for by letter: how a question is put, and how its answer is read."""

from __future__ import annotations

import asyncio
import gc
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.core import (
    Ask,
    GenerateRequest,
    Generation,
    Gold,
    LoglikelihoodRequest,
    Message,
    Request,
    Response,
    RollingRequest,
    Sample,
    Score,
    Task,
    Unscorable,
)
from llmeval.tasks.chat import encode_chat
from llmeval.tasks.letters import (
    BY_GENERATION,
    BY_LOGPROBS,
    Form,
    LetterTask,
    first_questions,
    kinds_of,
    put_question,
    read_letters,
    shuffle,
)
from tests.support.fakes import FakeTask

INSTRUCTION = "Reply with the letter of the right answer, and nothing else."


@pytest.fixture(autouse=True)
def _as_listed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Choices in the order of the data, so that a test can be read; not where that is tested."""
    with pytest.MonkeyPatch.context() as patch:
        if "shuffled" not in request.node.name:
            patch.setattr("llmeval.tasks.letters.shuffle", lambda texts: tuple(range(len(texts))))
        yield


def test_shuffled_choices_have_no_favourite_place() -> None:
    """TruthfulQA has the right choice first: always saying A must not be right."""
    firsts = Counter(shuffle([f"right {i}", "x", "y", "z"]).index(0) for i in range(800))
    assert set(firsts) == {0, 1, 2, 3}
    assert all(150 < count < 250 for count in firsts.values())
    assert shuffle(["a", "b", "c"]) == shuffle(["a", "b", "c"])


def test_shuffled_choices_are_scored_by_what_they_stand_for() -> None:
    places = set()
    for number in range(8):
        texts = [f"right {number}", f"wrong {number}"]
        question = put_question([LoglikelihoodRequest("Q", f" {text}") for text in texts])
        shown = question.turns[-1].content.split("\n\n")[1].split("\n")
        for letter, place, line in zip(question.letters, question.places, shown, strict=True):
            assert line == f"{letter}. {texts[place]}"
        places.add(question.places)
    assert places == {(0, 1), (1, 0)}


def choices(context: str, *continuations: str) -> list[LoglikelihoodRequest]:
    return [LoglikelihoodRequest(context, text) for text in continuations]


# -- how a question is put -------------------------------------------------------------------

MMLU = "What is 2 + 2?\nA. 3\nB. 4\nC. 5\nD. 6\nAnswer:"


def test_letters_that_the_prompt_explains_are_kept() -> None:
    """MMLU."""
    question = put_question(choices(MMLU, " A", " B", " C", " D"))
    assert question.letters == "ABCD"
    (turn,) = question.turns
    assert turn == Message("user", f"{MMLU}\n\n{INSTRUCTION}")


@pytest.mark.parametrize(
    ("texts", "letters"),
    [
        ((" (A)", " (B)"), "AB"),
        ((" A.", " B."), "AB"),
        (("C", "D", "E"), "CDE"),
        ((" [A]", " [B]"), "AB"),
        ((" B", " A"), "BA"),  # in the order of the choices
    ],
)
def test_letters_may_be_written_in_several_ways(texts: tuple[str, ...], letters: str) -> None:
    assert put_question(choices("Q", *texts)).letters == letters


@pytest.mark.parametrize(
    "texts", [(" A", " A"), (" A", " dog"), (" a", " b"), (" I am", " B"), (" AB", " CD")]
)
def test_what_is_no_set_of_letters_is_listed(texts: tuple[str, ...]) -> None:
    question = put_question(choices("Q", *texts))
    assert question.letters == "AB"
    (turn,) = question.turns
    listed = f"A. {texts[0].strip()}\nB. {texts[1].strip()}"
    assert turn.content == f"Q\n\n{listed}\n\n{INSTRUCTION}"


def test_choices_are_listed_behind_the_question_without_its_cue() -> None:
    """ARC, HellaSwag: the continuation stood behind ``Answer:``."""
    question = put_question(
        choices("Question: Which gas do plants take in?\nAnswer:", " oxygen", " carbon dioxide")
    )
    (turn,) = question.turns
    assert turn.role == "user"
    assert turn.content == (
        "Question: Which gas do plants take in?\n\nA. oxygen\nB. carbon dioxide\n\n" + INSTRUCTION
    )


@pytest.mark.parametrize("cue", ["\nAnswer:", "\nAnswer: ", "\n\nA:", "\nA :\n", " Answer:"])
def test_cues_for_an_answer_go(cue: str) -> None:
    (turn,) = put_question(choices(f"Q: Why?{cue}", " x", " y")).turns
    assert turn.content.startswith("Q: Why?\n\nA. x\n")


@pytest.mark.parametrize(
    "context",
    ["The molecule that holds the genes is DNA:", "Carrots are rich in vitamin A:", "In the USA:"],
)
def test_words_that_end_like_a_cue_stay(context: str) -> None:
    (turn,) = put_question(choices(context, " x", " y")).turns
    assert turn.content.startswith(f"{context.rstrip(':')}")


def test_whole_sentences_are_chosen_from_where_contexts_differ() -> None:
    """WinoGrande."""
    asked = [
        LoglikelihoodRequest("The trophy does not fit because the trophy", " is too big."),
        LoglikelihoodRequest("The trophy does not fit because the case", " is too big."),
    ]
    question = put_question(asked)
    assert question.letters == "AB"
    (turn,) = question.turns
    assert turn.content == (
        "Which of these is right?\n\n"
        "A. The trophy does not fit because the trophy is too big.\n"
        "B. The trophy does not fit because the case is too big.\n\n" + INSTRUCTION
    )


def chat(*turns: tuple[str, str]) -> str:
    return encode_chat([{"role": role, "content": content} for role, content in turns], True)


def test_a_chat_stays_one_and_its_last_turn_is_the_question() -> None:
    context = chat(("system", "s"), ("user", "q1"), ("assistant", "A"), ("user", "q2\nAnswer:"))
    question = put_question(choices(context, " x", " y"))
    assert question.turns[:3] == (
        Message("system", "s"),
        Message("user", "q1"),
        Message("assistant", "A"),
    )
    assert question.turns[3] == Message("user", f"q2\n\nA. x\nB. y\n\n{INSTRUCTION}")


def test_an_answer_begun_is_left_out() -> None:
    context = chat(("user", "q\nA. x\nB. y"), ("assistant", "The answer is"))
    question = put_question(choices(context, " A", " B"))
    assert question.turns == (Message("user", f"q\nA. x\nB. y\n\n{INSTRUCTION}"),)


def test_chats_that_differ_are_no_texts() -> None:
    asked = [
        LoglikelihoodRequest(chat(("user", f"The {who}")), " is too big.")
        for who in ("trophy", "case")
    ]
    for turn in put_question(asked).turns:
        assert "\x02" not in turn.content
        assert '[["user"' not in turn.content


@given(st.lists(st.text(min_size=2, max_size=8).filter(str.strip), min_size=2, max_size=26))
def test_every_choice_has_its_letter_in_its_order(texts: list[str]) -> None:
    question = put_question(choices("Q", *texts))
    named = [t.strip() for t in texts]
    if all(len(t.strip("()[]:. ")) == 1 for t in named):
        return
    assert question.letters == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(texts)]
    content = question.turns[-1].content
    for letter, text in zip(question.letters, named, strict=True):
        assert f"{letter}. {text}" in content


# -- how alternatives are read ---------------------------------------------------------------


@pytest.mark.parametrize(
    "token", ["B", " B", "b", "(B", "B.", "B)", "ĠB", "▁B", "**B**", '"B"', "\nB", "[B]", ": B"]
)
def test_spellings_of_a_letter_count_together(token: str) -> None:
    shares = read_letters({"A": math.log(0.5), token: math.log(0.25)}, "ABCD")
    assert shares == pytest.approx({"A": 2 / 3, "B": 1 / 3, "C": 0.0, "D": 0.0})
    both = read_letters({"B": math.log(0.2), f" {token}": math.log(0.1), "A": math.log(0.3)}, "AB")
    assert both == pytest.approx({"A": 0.5, "B": 0.5})


@pytest.mark.parametrize("token", ["The", "AB", "E", "", "Because", "Â", "1"])
def test_other_tokens_count_for_none(token: str) -> None:
    shares = read_letters({token: -0.01, "C": -9.0}, "ABCD")
    assert shares == {"A": 0.0, "B": 0.0, "C": 1.0, "D": 0.0}


@pytest.mark.parametrize("alternatives", [None, {}, {"The": -0.1}, {"A": -9999.0, "B": -9999.0}])
def test_without_a_letter_there_is_nothing_to_read(alternatives: Any) -> None:
    with pytest.raises(Unscorable):
        read_letters(alternatives, "AB")


@given(
    st.dictionaries(
        st.sampled_from(["A", " A", "(a", "B", "ĠB", "C.", "D", "The", "E", "▁D", "**C"]),
        st.floats(-700, 0),
        max_size=11,
    )
)
def test_shares_are_probabilities_among_the_letters(alternatives: dict[str, float]) -> None:
    try:
        shares = read_letters(alternatives, "ABCD")
    except Unscorable:
        assert not {t.strip(" (.*Ġ▁").upper() for t in alternatives} & set("ABCD")
        return
    assert list(shares) == list("ABCD")
    assert math.fsum(shares.values()) == pytest.approx(1.0)
    assert all(0 <= share <= 1 for share in shares.values())


# -- what a task asks ------------------------------------------------------------------------


def asking(*requests: Request, gold: Gold | None = None) -> FakeTask:
    """A task whose samples ask these questions."""

    async def evaluate(sample: Sample, ask: Ask) -> list[Score]:
        await ask(list(requests))
        return [Score("acc", 1.0)]

    class Asking(FakeTask):
        def samples(self) -> Any:
            yield Sample("0", {}, gold=gold or Gold(choices=("a", "b"), right=(1,)))

    return Asking(n=1, evaluate=evaluate)


TWO = choices("c", " x", " y")
NO_GOLD = Gold()


@pytest.mark.parametrize(
    ("task", "kinds"),
    [
        (asking(*TWO), {"choice"}),
        (asking(TWO[0]), {"loglikelihood"}),  # LAMBADA
        (asking(*TWO, gold=NO_GOLD), {"loglikelihood"}),
        (asking(RollingRequest("text")), {"loglikelihood"}),
        (asking(GenerateRequest("q")), {"generate"}),
        (asking(GenerateRequest("q"), *TWO), {"generate", "choice"}),
        (FakeTask(kind="choice"), {"choice"}),
        (FakeTask(kind="generate"), {"generate"}),
        (FakeTask(n=0), set()),
    ],
)
def test_the_kinds_of_a_tasks_questions_are_read_off_its_first_sample(
    task: Task, kinds: set[str]
) -> None:
    assert kinds_of(task) == kinds


def evaluating(evaluate: Any) -> FakeTask:
    return FakeTask(n=1, evaluate=evaluate)


def first_of(task: Task) -> Sample:
    return next(iter(task.samples()))


async def ends(sample: Sample, ask: Ask) -> list[Score]:
    return [Score("acc", 1.0)]


async def unscorable(sample: Sample, ask: Ask) -> list[Score]:
    raise Unscorable("no question in the row")


async def waits(sample: Sample, ask: Ask) -> list[Score]:
    await asyncio.sleep(0)
    await ask(TWO)
    return [Score("acc", 1.0)]


async def breaks(sample: Sample, ask: Ask) -> list[Score]:
    raise KeyError("question")


async def asks_at_once(sample: Sample, ask: Ask) -> list[Score]:
    await asyncio.gather(ask(TWO[:1]), ask(TWO[1:]))
    return [Score("acc", 1.0)]


async def guards_itself(sample: Sample, ask: Ask) -> list[Score]:
    try:
        await ask(TWO)
    except Exception:
        return [Score("acc", 0.0)]
    return [Score("acc", 1.0)]


@pytest.mark.parametrize("evaluate", [ends, unscorable])
def test_an_evaluation_that_asks_nothing_has_no_questions(evaluate: Any) -> None:
    task = evaluating(evaluate)
    assert first_questions(task, [first_of(task)]) == [[]]


@pytest.mark.parametrize("evaluate", [breaks])
def test_an_evaluation_that_breaks_has_no_questions_either(evaluate: Any) -> None:
    """Its sample may still be errored, or asked, where it is evaluated."""
    task = evaluating(evaluate)
    first_questions(task, [first_of(task)])
    kinds_of(task)


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize("evaluate", [guards_itself, waits, asks_at_once])
def test_questions_are_found_whatever_stands_around_them(evaluate: Any) -> None:
    task = evaluating(evaluate)
    try:
        assert first_questions(task, [first_of(task)]) == [TWO]
    finally:
        gc.collect()  # what is left behind unawaited is said here, not in another test


# -- how a sample is scored ------------------------------------------------------------------


def evaluate(
    answer: Generation, form: Form, gold: Gold | None = None, asked: Sequence[Request] = TWO
) -> tuple[list[Score], list[Request]]:
    """Return the scores of a sample by an answer, and what was asked."""
    questions: list[Request] = []

    async def ask(requests: Sequence[Request]) -> list[Response]:
        questions.extend(requests)
        return [answer]

    inner = asking(*asked, gold=gold)
    task = LetterTask(inner, form)
    return asyncio.run(task.evaluate(first_of(inner), ask)), questions


def test_by_log_probabilities_the_most_probable_letter_counts() -> None:
    answer = Generation("A", "length", top_logprobs={"A": -1.2, " B": -0.9, "The": -0.1})
    ((score,), (request,)) = evaluate(answer, BY_LOGPROBS)
    assert (score.metric, score.value, score.extracted) == ("acc", 1.0, "B")
    assert sum(score.item.values()) == pytest.approx(1.0)
    assert isinstance(request, GenerateRequest)
    assert (request.sampling.max_tokens, request.sampling.greedy) == (1, True)
    assert request.top_logprobs == 20
    assert request.prompt == put_question(TWO).turns
    wrong = Generation("A", "length", top_logprobs={"A": -0.1, "B": -2.0})
    assert evaluate(wrong, BY_LOGPROBS)[0][0].value == 0.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("B", 1.0),
        (" (B)", 1.0),
        ("A", 0.0),
        ("The answer is B.", 1.0),
        ("A. x", 0.0),
        ("Answer: A", 0.0),
    ],
)
def test_by_generation_the_letter_is_read_out_of_the_text(text: str, value: float) -> None:
    ((score,), (request,)) = evaluate(Generation(text), BY_GENERATION)
    assert score.value == value
    assert isinstance(request, GenerateRequest)
    assert request.top_logprobs == 0
    assert request.sampling.greedy


@pytest.mark.parametrize(
    ("answer", "form", "said"),
    [
        (Generation("I cannot say."), BY_GENERATION, "no letter"),
        (Generation("It is (A) or (B)"), BY_GENERATION, "several letters"),
        (Generation("B", "content_filter"), BY_GENERATION, "content filter"),
        (Generation("", "tool_call"), BY_GENERATION, "tool"),
        (Generation("Well, B", "length"), BY_GENERATION, "was cut"),
        (Generation("", "length", reasoning="hm"), BY_LOGPROBS, "had thought"),
        (Generation("A"), BY_LOGPROBS, "without alternatives"),
    ],
)
def test_an_answer_without_a_letter_is_unscored_and_not_wrong(
    answer: Generation, form: Form, said: str
) -> None:
    with pytest.raises(Unscorable, match=said):
        evaluate(answer, form)


def test_any_right_choice_is_right() -> None:
    gold = Gold(choices=("x", "y", "z"), right=(0, 2))
    asked = choices("c", " x", " y", " z")
    values = [
        evaluate(Generation(letter), BY_GENERATION, gold, asked)[0][0].value for letter in "ABC"
    ]
    assert values == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("gold", "asked"),
    [
        (Gold(), TWO),
        (Gold(choices=("a", "b")), TWO),  # none is right
        (Gold(choices=("a", "b", "c"), right=(0,)), TWO),
        (Gold(choices=("a",), right=(0,)), TWO[:1]),
        (Gold(choices=("a",) * 27, right=(0,)), choices("c", *(f" {i}" for i in range(27)))),
    ],
)
def test_a_sample_that_is_no_choice_is_unscored(gold: Gold, asked: list[Request]) -> None:
    with pytest.raises(Unscorable):
        evaluate(Generation("A"), BY_GENERATION, gold, asked)


def test_the_task_is_the_same_but_for_its_form_and_metric() -> None:
    inner = FakeTask("arc", 7)
    task = LetterTask(inner, BY_LOGPROBS)
    assert isinstance(task, Task)
    assert (task.name, task.version, task.num_fewshot, len(task)) == ("arc", "1", 0, 7)
    assert [s.id for s in task.samples()] == [s.id for s in inner.samples()]
    assert task.data() == inner.data()
    assert task.describe() == {**inner.describe(), "form": BY_LOGPROBS}
    assert list(task.metrics) == ["acc"]
    assert task.metrics["acc"].chance == "choices"
    assert kinds_of(task) == {"generate"}


def test_its_metric_is_the_share_of_right_letters() -> None:
    metric = LetterTask(FakeTask(), BY_GENERATION).metrics["acc"]
    # an item stands for its value in the record only: what counts are the letters' values
    assert metric.estimate([1.0, 0.0, 1.0, 1.0], None).value == 0.75
