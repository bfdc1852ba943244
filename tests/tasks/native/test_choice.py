"""Choice tasks: prompts, metrics against lm-eval's own code, and rows that do not fit."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmeval.core import Loglikelihood, LoglikelihoodRequest, Message, Request, UsageError
from llmeval.tasks.chat import decode_chat
from llmeval.tasks.native.choice import _MEASURES, Choices, Measured, normalise
from llmeval.tasks.options import TaskOptions, Workbench
from tests.tasks.native.support import Conversation, evaluate, load

TASK = """\
task: t
type: choice
data: {path: rows.jsonl}
prompt: "Q: {{ q }}\\nA:"
choices: options
answer: right
"""
ROWS = [{"q": f"q{i}", "options": ["no", "maybe so"], "right": i % 2} for i in range(6)]


def loglikelihoods(values: dict[str, float]) -> Any:
    return lambda request: values[request.continuation]


def lm_eval_results(texts: list[str], gold: int, logprobs: list[float]) -> dict[str, float]:
    """What lm-eval's own ConfigurableTask.process_results says."""
    from lm_eval.api import metrics, task

    stub = SimpleNamespace(
        config=SimpleNamespace(process_results=None),
        _metric_fn_list={"acc": None, "acc_norm": None, "brier_score": None},
        OUTPUT_TYPE="multiple_choice",
        multiple_input=0,
        multiple_target=0,
        doc_to_choice=lambda doc: texts,
        doc_to_target=lambda doc: gold,
    )
    results = [(value, False) for value in logprobs]
    found: dict[str, Any] = task.ConfigurableTask.process_results(stub, {}, results)
    gold_and_probabilities = found.pop("brier_score")
    return {**found, "brier_score": metrics.brier_score([gold_and_probabilities])}


@settings(deadline=None)  # the first example imports lm-eval
@given(
    st.lists(st.tuples(st.text("abé ", min_size=1), st.floats(-50, -0.01)), min_size=2, max_size=6),
    st.integers(0, 5),
)
def test_acc_acc_norm_and_brier_are_lm_evals(pairs: list[tuple[str, float]], gold: int) -> None:
    texts, logprobs = [t for t, _ in pairs], [x for _, x in pairs]
    gold %= len(texts)
    measured = Measured(Choices(tuple(texts), (gold,)), logprobs)
    for name, expected in lm_eval_results(texts, gold, logprobs).items():
        assert _MEASURES[name](measured)[0] == pytest.approx(expected, abs=1e-9), name


@settings(deadline=None)  # the first example imports lm-eval
@given(st.lists(st.tuples(st.booleans(), st.floats(-40, -0.01)), min_size=2, max_size=8))
def test_mc2_is_lm_evals(pairs: list[tuple[bool, float]]) -> None:
    from lm_eval.tasks.truthfulqa import utils

    labels = [int(label) for label, _ in pairs]
    doc = {"mc2_targets": {"labels": labels}}
    expected = utils.process_results_mc2(doc, [(x, False) for _, x in pairs])["acc"]
    right = tuple(i for i, label in enumerate(labels) if label)
    texts = tuple(f"c{i}" for i in range(len(labels)))
    measured = Measured(Choices(texts, right), [x for _, x in pairs])
    assert _MEASURES["mc2"](measured)[0] == pytest.approx(expected, abs=1e-12)


def test_probabilities_survive_log_probabilities_that_underflow() -> None:
    assert normalise([-5000.0, -5000.0]) == [0.5, 0.5]


def test_the_question_is_context_and_the_delimiter_leads_the_choice(tmp_path: Path) -> None:
    task = load(tmp_path, TASK, ROWS)
    sample = next(task.samples())
    assert sample.payload.context == "Q: q0\nA:"
    assert (sample.gold.choices, sample.gold.right) == (("no", "maybe so"), (0,))
    asked: list[Request] = []

    def remember(request: Request) -> float:
        asked.append(request)
        return -1.0

    evaluate(load(tmp_path, TASK, ROWS[:1]), remember)
    assert asked == [
        LoglikelihoodRequest("Q: q0\nA:", " no"),
        LoglikelihoodRequest("Q: q0\nA:", " maybe so"),
    ]


def test_accuracies_differ_where_length_decides(tmp_path: Path) -> None:
    task = load(tmp_path, TASK, ROWS)
    # Per character: -3/2 against -4/8.
    results = evaluate(task, loglikelihoods({" no": -3.0, " maybe so": -4.0}))
    assert [scores["acc"].value for _, scores in results] == [1, 0, 1, 0, 1, 0]
    assert [scores["acc_norm"].value for _, scores in results] == [0, 1, 0, 1, 0, 1]
    estimate = task.metrics["acc"].estimate([1, 0, 1, 0, 1, 0], None)
    assert (estimate.value, estimate.n) == (0.5, 6)
    assert task.metrics["acc"].chance == "choices"


def test_two_choice_sets_share_one_ask_and_know_their_own_chance(tmp_path: Path) -> None:
    rows = [
        {
            "q": "?",
            "mc1": {"choices": ["a", "b"], "labels": [1, 0]},
            "mc2": {"choices": ["a", "aa", "b", "bb", "bbb"], "labels": [1, 1, 0, 0, 0]},
        }
    ]
    task = load(
        tmp_path,
        """\
        task: t
        type: choice
        data: {path: rows.jsonl}
        prompt: "{{ q }}"
        choices: mc1.choices
        labels: mc1.labels
        metrics:
          - {type: acc, name: mc1}
          - {type: mc2, choices: mc2.choices, labels: mc2.labels}
        """,
        rows,
    )
    probabilities = {" a": 0.1, " aa": 0.2, " b": 0.05, " bb": 0.1, " bbb": 0.05}
    ((sample, scores),) = evaluate(task, lambda r: math.log(probabilities[r.continuation]))
    assert scores["mc1"].value == 1.0
    assert scores["mc2"].value == pytest.approx(0.3 / 0.5)
    assert sample.payload.asked == ("a", "b", "aa", "bb", "bbb")
    assert sample.gold.right == (0, 2)
    assert (task.metrics["mc1"].chance, task.metrics["mc2"].chance) == (0.5, 0.4)


@pytest.mark.parametrize(
    ("answer", "rows", "right"),
    [
        ("right", [{"right": 1}], (1,)),
        ("right", [{"right": "y"}], (1,)),
        ("'{{ right | int }}'", [{"right": "1"}], (1,)),
        ("'{{ \"AB\".index(right) }}'", [{"right": "B"}], (1,)),
        ("right", [{"right": [0, 1]}], (0, 1)),
        ("1", [{"right": None}], (1,)),
    ],
)
def test_the_right_choice_is_an_index_or_a_text(
    tmp_path: Path, answer: str, rows: list[dict[str, Any]], right: tuple[int, ...]
) -> None:
    text = TASK.replace("answer: right", f"answer: {answer}")
    full = [{"q": "?", "options": ["x", "y"], **row} for row in rows]
    assert next(load(tmp_path, text, full).samples()).gold.right == right


def test_choices_may_be_templates(tmp_path: Path) -> None:
    text = TASK.replace("options", '["{{ q }}!", "plain"]')
    sample = next(load(tmp_path, text, ROWS).samples())
    assert sample.gold.choices == ("q0!", "plain")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"right": "2"},
            "'2' is none of the choices; for an index in a text write {{ field | int }}",
        ),
        ({"right": 2}, "index 2 is outside the 2 choices"),
        ({"right": -1}, "index -1 is outside"),
        ({"right": True}, "must be an index or a text"),
        ({"options": "no"}, "choices must be a list of texts"),
        ({"options": ["no"]}, "needs two texts or more"),
    ],
)
def test_a_first_row_that_does_not_fit_stops_the_load(
    tmp_path: Path, row: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, TASK, [{**ROWS[0], **row}])
    assert "row 0: " in str(caught.value)
    assert said in str(caught.value)


def test_a_later_row_that_does_not_fit_is_unscored(tmp_path: Path) -> None:
    task = load(tmp_path, TASK, [ROWS[0], {**ROWS[1], "right": 7}])
    results = evaluate(task, loglikelihoods({" no": -1.0, " maybe so": -2.0}))
    assert [scores["acc"].status for _, scores in results] == ["scored", "unscored"]
    assert results[1][1]["acc"].reason == "row 1: answer: index 7 is outside the 2 choices"


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_log_probabilities_that_say_nothing_are_unscored(tmp_path: Path, value: float) -> None:
    task = load(tmp_path, TASK, ROWS[:1])
    ((_, scores),) = evaluate(task, lambda request: Loglikelihood(value, False, 1))
    assert {score.status for score in scores.values()} == {"unscored"}


def test_an_empty_choice_has_no_length_to_divide_by(tmp_path: Path) -> None:
    task = load(tmp_path, TASK, [{"q": "?", "options": ["", "x"], "right": 0}])
    ((_, scores),) = evaluate(task, loglikelihoods({" ": -1.0, " x": -2.0}))
    assert scores["acc"].value == 1.0
    assert scores["acc_norm"].status == "unscored"


def test_a_chat_template_takes_the_place_of_the_delimiter(tmp_path: Path) -> None:
    def template(messages: Any, add_generation_prompt: bool) -> str:
        turns = "".join(f"<{m['role']}>{m['content']}" for m in messages)
        return turns + ("<assistant>" if add_generation_prompt else "")

    options = TaskOptions(num_fewshot=1, apply_chat_template=True, system_instruction="Be brief.")
    text = TASK.replace("answer: right", "answer: right\nfewshot: {sampler: first}")
    task = load(tmp_path, text, ROWS, options, Workbench(chat_template=template))
    sample = next(task.samples())
    assert sample.payload.context == (
        "<system>Be brief.<user>Q: q1\nA:<assistant>maybe so<user>Q: q0\nA:<assistant>"
    )
    conversation = Conversation(lambda request: -1.0)
    asyncio.run(task.evaluate(sample, conversation))
    assert [r.continuation for r in conversation.asked[0]] == ["no", "maybe so"]


def test_a_chat_that_the_backend_renders_keeps_its_turns(tmp_path: Path) -> None:
    task = load(tmp_path, TASK, ROWS, TaskOptions(apply_chat_template=True))
    turns = decode_chat(next(task.samples()).payload.context)
    assert turns == (Message("user", "Q: q0\nA:"),)


def test_clusters_metadata_and_ids_come_from_the_row(tmp_path: Path) -> None:
    text = f"{TASK}id: q\ncluster: '{{{{ right }}}}'\nmetadata: [right]\n"
    samples = list(load(tmp_path, text, ROWS).samples())
    assert [sample.id for sample in samples] == [f"q{i}" for i in range(6)]
    assert [sample.cluster for sample in samples] == ["0", "1"] * 3
    assert samples[1].metadata == {"right": 1}
    estimate = load(tmp_path, text, ROWS).metrics["acc"].estimate([1, 0] * 3, ["0", "1"] * 3)
    assert "clustered" in estimate.method


def test_two_rows_with_one_id_are_refused(tmp_path: Path) -> None:
    task = load(tmp_path, f"{TASK}id: right\n", ROWS)
    with pytest.raises(UsageError, match="rows 0 and 2 have the same id '0'"):
        list(task.samples())
