"""Generation and several steps: what is asked, what is judged, what is unscored."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from llmeval.core import GenerateRequest, Generation, Message, Unscorable, UsageError
from llmeval.tasks.native.templates import TemplateError, compile_text, compile_value
from llmeval.tasks.options import TaskOptions
from tests.tasks.native.support import Conversation, evaluate, load

TASK = """\
task: t
type: generate
data: {path: rows.jsonl}
prompt: "{{ q }}"
answer: a
stop: ["\\n"]
scorers:
  - exact
  - numeric
"""
ROWS = [{"q": "1+1?", "a": "2"}, {"q": "2+2?", "a": "4"}]


def test_settings_reach_the_request_and_the_command_line_overrides_them(tmp_path: Path) -> None:
    options = TaskOptions(
        gen_kwargs={"temperature": 0.5, "max_gen_toks": 9, "until": ["."]}, repeats=2, seed=3
    )
    plain = next(load(tmp_path, TASK, ROWS).samples()).payload.request
    assert plain.sampling.stop == ("\n",)
    assert (plain.sampling.max_tokens, plain.sampling.greedy) == (256, True)
    task = load(tmp_path, TASK, ROWS, options)
    conversation = Conversation(lambda request: "2")
    asyncio.run(task.evaluate(next(task.samples()), conversation))
    (asked,) = conversation.asked
    assert [request.repeat for request in asked] == [0, 1]
    sampling = asked[0].sampling
    assert (sampling.temperature, sampling.max_tokens) == (0.5, 9)
    assert (sampling.stop, sampling.seed) == ((".",), 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (TaskOptions(repeats=3), "3 repeats at temperature 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    tmp_path: Path, options: TaskOptions, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        load(tmp_path, TASK, ROWS, options)


def test_every_scorer_judges_and_an_unreadable_answer_is_unscored(tmp_path: Path) -> None:
    task = load(tmp_path, TASK, ROWS)
    answers = {"1+1?": Generation("It is 2"), "2+2?": Generation("four", "length")}
    first, second = evaluate(task, lambda request: answers[request.prompt])
    assert (first[1]["exact_match"].value, first[1]["numeric_match"].value) == (0.0, 1.0)
    assert second[1]["exact_match"].value == 0.0
    assert second[1]["numeric_match"].status == "unscored"
    reason = second[1]["numeric_match"].reason
    assert reason == "no number in the answer (it was cut at the token limit)"


def test_several_draws_give_their_mean_and_one_unreadable_makes_the_sample_unscored(
    tmp_path: Path,
) -> None:
    options = TaskOptions(repeats=4, gen_kwargs={"temperature": 1.0})
    task = load(tmp_path, TASK, ROWS, options)
    said = ["2", "2", "3", "2"]
    results = evaluate(task, lambda request: said[request.repeat])
    assert results[0][1]["exact_match"].value == 0.75
    said[3] = ""
    results = evaluate(task, lambda request: said[request.repeat])
    assert results[0][1]["exact_match"].value == 0.5
    assert results[0][1]["numeric_match"].status == "unscored"
    assert results[0][1]["numeric_match"].reason == "1 of 4 draws: the answer is empty"


def test_a_silent_model_is_wrong_and_not_left_out(tmp_path: Path) -> None:
    task = load(tmp_path, TASK, ROWS)
    silent = evaluate(task, lambda request: "2" if request.prompt == "1+1?" else "")
    scores = [scores["exact_match"] for _, scores in silent]
    assert [(score.status, score.value) for score in scores] == [("scored", 1.0), ("scored", 0.0)]


def test_a_filtered_answer_is_unscored(tmp_path: Path) -> None:
    task = load(tmp_path, TASK, ROWS)
    results = evaluate(task, lambda request: Generation("", "content_filter"))
    assert "content filter" in str(results[0][1]["exact_match"].reason)


def test_a_chat_without_a_template_here_is_left_to_the_backend(tmp_path: Path) -> None:
    options = TaskOptions(apply_chat_template=True, system_instruction="S", num_fewshot=1)
    task = load(tmp_path, TASK, ROWS, options)
    assert next(task.samples()).payload.request.prompt == (
        Message("system", "S"),
        Message("user", "2+2?"),
        Message("assistant", "4"),
        Message("user", "1+1?"),
    )


def test_a_corpus_metric_takes_one_answer_a_sample(tmp_path: Path) -> None:
    text = TASK.replace("  - exact\n  - numeric", "  - bleu")
    task = load(tmp_path, text, ROWS)
    assert evaluate(task, lambda request: "so 2")[0][1]["bleu"].item == [["2"], "so 2"]
    options = TaskOptions(repeats=2, gen_kwargs={"temperature": 1.0})
    with pytest.raises(UsageError, match="bleu is about one answer a sample"):
        load(tmp_path, text, ROWS, options)


@pytest.mark.parametrize(
    ("answer", "row", "target"),
    [("a", {"a": ["x", "y"]}, "x"), ("a", {"a": 7}, "7"), ("'{{ a }}.'", {"a": "x"}, "x.")],
)
def test_targets_are_texts(tmp_path: Path, answer: str, row: Any, target: str) -> None:
    text = TASK.replace("answer: a", f"answer: {answer}")
    assert next(load(tmp_path, text, [{"q": "?", **row}]).samples()).target == target


STEPS = """\
task: s
type: steps
data: {path: rows.jsonl}
steps:
  - {name: first, prompt: "{{ q }}"}
  - {name: second, prompt: "You said {{ first }}. Sure?"}
answer: a
scorers: [exact]
"""


def test_the_second_question_contains_the_first_answer(tmp_path: Path) -> None:
    task = load(tmp_path, STEPS, ROWS[:1])
    conversation = Conversation(lambda r: "three" if r.prompt == "1+1?" else "2")
    (score,) = asyncio.run(task.evaluate(next(task.samples()), conversation))
    assert [asked[0].prompt for asked in conversation.asked] == ["1+1?", "You said three. Sure?"]
    assert score.value == 1.0


def test_a_conversation_keeps_what_was_said(tmp_path: Path) -> None:
    text = f"{STEPS}conversation: true\nscore: first\n"
    task = load(tmp_path, text, ROWS[:1], TaskOptions(apply_chat_template=True))
    conversation = Conversation(lambda request: "2")
    (score,) = asyncio.run(task.evaluate(next(task.samples()), conversation))
    second = conversation.asked[1][0]
    assert isinstance(second, GenerateRequest)
    assert second.prompt == (
        Message("user", "1+1?"),
        Message("assistant", "2"),
        Message("user", "You said 2. Sure?"),
    )
    assert score.value == 1.0


def test_a_step_that_reads_a_later_answer_is_refused_at_load(tmp_path: Path) -> None:
    text = STEPS.replace('"{{ q }}"', '"{{ second }}"')
    with pytest.raises(UsageError, match="step 'first': 'second' is undefined"):
        load(tmp_path, text, ROWS)


def test_a_step_cannot_have_the_name_of_a_field(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="step 'q' has the name of a field"):
        load(tmp_path, STEPS.replace("name: first", "name: q"), ROWS)


def test_templates_are_strict_and_sandboxed() -> None:
    row = {"a": None, "b": {"c": [1, 2]}}
    assert compile_value("{{ b.c }}", "x")(row) == [1, 2]
    assert compile_value("b.c", "x")(row) == [1, 2]
    assert compile_text("{{ row['b'].c[0] }}\n", "x")(row) == "1"
    for source in ("{{ a }}", "{{ b.d }}", "{{ ''.__class__.__mro__ }}", "{{ 1 / 0 }}"):
        with pytest.raises(TemplateError):
            compile_text(source, "x")(row)


def test_a_response_of_the_wrong_kind_is_no_score(tmp_path: Path) -> None:
    from llmeval.core import Loglikelihood

    task = load(tmp_path, TASK, ROWS)
    with pytest.raises(TypeError):
        evaluate(task, lambda request: Loglikelihood(-1.0, True, 1))


def test_a_defective_row_raises_unscorable(tmp_path: Path) -> None:
    task = load(tmp_path, TASK, [*ROWS, {"q": None, "a": "1"}])
    *_, last = task.samples()
    with pytest.raises(Unscorable, match="row 2: prompt: a null would be printed"):
        asyncio.run(task.evaluate(last, Conversation(lambda request: "x")))


@pytest.mark.parametrize(
    ("given", "temperature"),
    [
        ({"do_sample": True}, 1.0),
        ({"do_sample": False, "temperature": 0.7}, 0.0),
        ({"do_sample": True, "temperature": 0.7}, 0.7),
        ({}, 0.0),
    ],
)
def test_do_sample_means_what_it_means_in_lm_eval(
    tmp_path: Path, given: dict[str, Any], temperature: float
) -> None:
    task = load(tmp_path, TASK, ROWS, TaskOptions(gen_kwargs=given))
    assert next(task.samples()).payload.request.sampling.temperature == temperature
