"""Prompts that were cut, or that show the item itself with its answer."""

from __future__ import annotations

import random
from typing import Any

from tests.health.rows import LETTERS, chat, choice, completion, examine

QUESTIONS = [f"Which river of the {i}th province flows to the north?" for i in range(60)]


def test_cut_prompts() -> None:
    rows = [completion(i, f"a{i}", truncated=9 if i % 5 == 0 else 0) for i in range(50)]
    finding = examine(rows)["cut prompts"]
    assert finding["what"].startswith("10 of 50 samples had prompts too long")
    assert finding["severity"] == "error"


def few_shot(i: int, shown: list[int], **more: Any) -> tuple[Any, ...]:
    examples = "".join(f"Q: {QUESTIONS[k]}\nA: river {k}\n\n" for k in shown)
    fields = {"question": QUESTIONS[i], "answer": f"river {i}", "number": i}
    prompt = more.pop("wrap", str)(f"{examples}Q: {QUESTIONS[i]}\nA:")
    return completion(i, f"river {i}", f"river {i}", prompt=prompt, fields=fields, **more)


def test_items_among_their_own_examples() -> None:
    """The first rows of the evaluated split are shown to all, themselves included."""
    rows = [few_shot(i, [0, 1, 2]) for i in range(60)]
    finding = examine(rows, num_fewshot=3)["item among its examples"]
    assert (finding["count"], finding["n"]) == (3, 60)
    assert finding["examples"] == ["0", "1", "2"]
    assert finding["severity"] == "error"


def test_items_among_their_own_examples_in_a_chat() -> None:
    rows = [few_shot(i, [0, 1, 2], wrap=chat) for i in range(60)]
    assert examine(rows, num_fewshot=3)["item among its examples"]["count"] == 3


def test_examples_of_other_rows_are_no_leak() -> None:
    draw = random.Random(0)
    others = [[k for k in draw.sample(range(60), 6) if k != i][:5] for i in range(60)]
    found = examine([few_shot(i, others[i]) for i in range(60)], num_fewshot=5)
    assert "item among its examples" not in found


def test_a_passage_with_several_questions_is_no_leak() -> None:
    passage = "Long ago a ferry crossed the lake between two towns every morning."
    rows = [
        completion(
            i,
            f"a{i}",
            prompt=f"{passage}\nQ: {QUESTIONS[59 - i]}\nA: yes\n\n{passage}\nQ: {QUESTIONS[i]}\nA:",
            fields={"passage": passage, "question": QUESTIONS[i]},
        )
        for i in range(30)
    ]
    assert "item among its examples" not in examine(rows, num_fewshot=1)


def test_an_instruction_that_all_rows_share_is_no_leak() -> None:
    order = "Add the two numbers and say nothing else."
    rows = [
        completion(i, f"{i}", prompt=f"{order} 1+1 = 2\n{order} {i}+{i + 1} =",
                   fields={"instruction": order, "sum": f"{i}+{i + 1}"})
        for i in range(3, 43)
    ]  # fmt: skip
    assert "item among its examples" not in examine(rows, num_fewshot=1)


def test_a_question_that_comes_with_other_choices_is_no_leak() -> None:
    question = "Which of the following statements is true?"
    rows = []
    for i in range(40):
        own, other = ([f"statement {k} {letter}" for letter in LETTERS] for k in (i, i + 100))
        prompt = "\n\n".join("\n".join([question, *shown, "Answer:"]) for shown in (other, own))
        fields = {"question": question, "choices": own, "number": i}
        rows.append(choice(i, i % 4, (i // 2) % 4, prompt=prompt, fields=fields))
    assert "item among its examples" not in examine(rows, num_fewshot=1)


def test_without_examples_nothing_can_leak() -> None:
    rows = [few_shot(i, [0, 1, 2]) for i in range(60)]
    assert "item among its examples" not in examine(rows, num_fewshot=0)
