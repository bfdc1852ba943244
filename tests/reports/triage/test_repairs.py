"""What a right answer may be wrapped in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.reports.triage.refusals import is_refusal
from llmeval.reports.triage.repairs import unwrap


@pytest.mark.parametrize(
    ("answer", "name", "inner"),
    [
        ("```python\nreturn 1\n```", "code fences", "return 1\n"),
        ("Here:\n```\na\n```\nand\n```\nb\n```", "code fences", "b\n"),
        ("<think>B or C?</think>\n\nC", "a thought before it", "C"),
        ("B or C?</think>C", "a thought before it", "C"),
        ("**B**", "Markdown", "B"),
        ("# Answer\n- `B`", "Markdown", "Answer\nB"),
        ("Sure! Here you go:\nB", "a polite opening", "B"),
        ("1,234,567", "thousands separators", "1234567"),
        ("so it is $\\boxed{\\frac{1}{2}}$.", "a box", "\\frac{1}{2}"),
        ("<answer>B</answer>", "tags", "B"),
        ('{"reasoning": "x", "Answer": "B"}', "JSON", "B"),
        ("It is late, so the answer is: 42.", "a phrase such as 'the answer is'", "42"),
        ("Die Antwort ist 42", "a phrase such as 'the answer is'", "42"),
        ("答案是42。", "a phrase such as 'the answer is'", "42"),
        ("Long story.\n\n42", "text before the last line", "42"),
        ('"Paris."', "quotes or a full stop", "Paris"),
        ("It comes to 42 apples", "other words around it", "The answer is 42.\n#### 42"),
        ("<think>x</think>**B**", "a thought before it and Markdown", "B"),
    ],
)
def test_a_wrapping_is_taken_off(answer: str, name: str, inner: str) -> None:
    assert (name, inner) in list(unwrap(answer))


def test_an_answer_without_wrapping_is_left_alone() -> None:
    assert [name for name, _ in unwrap("B")] == ["other words around it"]
    assert list(unwrap("x" * 70)) == []


@given(st.text(max_size=200))
def test_any_text_can_be_unwrapped_and_never_comes_back_itself(text: str) -> None:
    found = [inner.strip() for _, inner in unwrap(text)]
    assert text.strip() not in found
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can\u2019t assist with that request.",
        "I cannot help with this.",
        "As an AI language model, I am not able to give opinions.",
        "I must decline to answer that.",
        "That would be against my guidelines.",
        "Es tut mir leid, aber diese Frage kann ich leider nicht beantworten.",
        "Je suis désolé, mais je ne peux pas répondre à cette question.",
        "Lo siento, pero no puedo ayudar con eso.",
        "Desculpe, mas não posso ajudar com isso.",
        "Mi dispiace, ma non posso rispondere.",
        "Извините, но я не могу ответить на этот вопрос.",
        "抱歉\uff0c我无法回答这个问题。",
        "申し訳ありませんが、その質問にはお答えできません。",
        "죄송하지만 그 질문에는 답변할 수 없습니다.",
    ],
)
def test_refusals(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "B",
        "The answer is B.",
        "He said that he cannot help.",
        "I'm sorry for the delay. The answer is B.",
        "We cannot divide by zero, so there is no solution.",
        "The AI assistant market grew.",
        "x" * 500 + " I'm sorry, but I can't help with that.",
    ],
)
def test_answers_are_no_refusals(text: str) -> None:
    assert not is_refusal(text)
