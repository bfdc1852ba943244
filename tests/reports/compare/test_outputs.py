"""Every output says the same, marks what is marked, and lets no foreign text out of its place."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from llmeval.cli.columns import width_of
from llmeval.cli.comparison import render
from llmeval.core import GroupMetric, TaskGroup
from llmeval.reports.compare import (
    Comparison,
    Options,
    Wanted,
    compare_runs,
    to_html,
    to_markdown,
    to_plain,
)
from llmeval.reports.compare.comparison import POPULATION
from tests.support.records import Item, items_of, write_record

A = [1] * 40 + [1] * 2 + [0] * 18 + [0] * 40
B = [1] * 40 + [0] * 2 + [1] * 18 + [0] * 40


def outputs(comparison: Comparison) -> dict[str, str]:
    return {
        "text": "\n".join(render(comparison, 120)),
        "markdown": to_markdown(comparison),
        "html": to_html(comparison),
        "json": json.dumps(to_plain(comparison), allow_nan=False, ensure_ascii=False),
    }


@pytest.fixture
def plain(tmp_path: Path) -> Comparison:
    usage = {"requests": 1234, "prompt_tokens": 56789, "usd": 1.5}
    a = write_record(tmp_path / "a", {"t": items_of(A)}, model="first", usage=usage)
    b = write_record(tmp_path / "b", {"t": items_of(B)}, model="second")
    return compare_runs([a, b])


def test_every_output_holds_the_numbers_the_verdict_and_the_costs(plain: Comparison) -> None:
    for name, text in outputs(plain).items():
        for expected in ("first", "second", "better", "McNemar"):
            assert expected in text, (name, expected)
        assert "0.16" in text, name
        assert re.search(r"56,?789", text), name
        assert POPULATION[:40] in text, name
    assert "$1.50" in outputs(plain)["text"]


@pytest.mark.parametrize("width", [80, 120])
def test_text_fits(tmp_path: Path, width: int) -> None:
    long = "a_task_with_a_name_that_is_much_longer_than_others"
    tasks_a = {long: items_of(A, "a_metric,with-a-filter"), "u": items_of([0.5, 0.25] * 40)}
    tasks_b = {long: items_of(B, "a_metric,with-a-filter"), "u": items_of([0.5, 0.75] * 40)}
    a = write_record(tmp_path / "a", tasks_a, model="organisation/a-model-7B-instruct-v3")
    b = write_record(tmp_path / "b", tasks_b, model="organisation/b-model-7B-instruct-v3")
    lines = render(compare_runs([a, b]), width)
    assert max(map(width_of, lines)) <= width
    assert any("+0.160" in line for line in lines)


def test_a_line_of_the_table_reads_from_left_to_right(plain: Comparison) -> None:
    (line,) = (line for line in render(plain, 120) if re.match(r"t +acc ↑ +100 ", line))
    low, high = plain.pairs[0].rows[0].difference.ci95 or (0, 0)
    assert re.split(r"  +", line) == [
        *("t", "acc ↑", "100", "0.420", "0.328 … 0.518", "0.580", "0.482 … 0.672"),
        *("+0.160", f"{low:+.3f} … {high:+.3f}", "4e-04", "better"),
    ]


def test_json_says_of_every_number_its_n_interval_and_status(plain: Comparison) -> None:
    told = to_plain(plain)
    assert (told["format"], told["kind"]) == (1, "comparison")
    assert told["population"] == POPULATION
    (row,) = told["challengers"][0]["rows"]
    for side in ("baseline", "challenger", "difference"):
        assert set(row[side]) == {
            *("value", "stderr", "ci95", "n"),
            *("method", "clusters", "status"),
        }
        assert row[side]["n"] == 100 and row[side]["status"] == "ok"
    assert row["flips"]["lost"] == {"count": 2, "sample_ids": ["q40", "q41"]}
    example = row["flips"]["examples"][0]
    assert (example["sample_id"], example["prompt"], example["target"]) == (
        *("q40", "q40?", "the target"),
    )
    assert example["baseline"] == {"score": 1.0, "extracted": "an answer", "answer": "an answer"}


def test_a_comparison_across_forms_is_marked_everywhere(tmp_path: Path) -> None:
    a = write_record(tmp_path / "a", {"t": items_of(A)})
    b = write_record(tmp_path / "b", {"t": items_of(B)}, num_fewshot=5)
    comparison = compare_runs([a, b], Options(across_forms=True))
    for name, text in outputs(comparison).items():
        if name != "json":
            assert "asked in different forms: 0-shot against 5-shot" in text.replace("\\", ""), name
            assert re.search(r"\bt \\?\*", text), name
    told = to_plain(comparison)
    assert told["across_forms"] and told["challengers"][0]["rows"][0]["across_forms"]
    assert told["challengers"][0]["forms"][0]["challenger"] == "5-shot"


def test_excluded_items_are_named_and_shortened(tmp_path: Path) -> None:
    a = write_record(tmp_path / "a", {"t": items_of(A)})
    b = write_record(tmp_path / "b", {"t": items_of(B[:60])})
    comparison = compare_runs([a, b])
    found = outputs(comparison)
    assert "not compared: t: 40 not in B (q60, q61, q62 and 37 more)" in found["text"]
    assert "q60, q61, q62 and 37 more" in found["markdown"]
    assert "q60, q61, q62 and 37 more" in found["html"]
    assert len(to_plain(comparison)["challengers"][0]["rows"][0]["excluded"][0]["sample_ids"]) == 40


def test_many_subtasks_are_folded_but_findings_are_shown(tmp_path: Path) -> None:
    names = [f"s{i}" for i in range(12)]
    group = TaskGroup("g", tuple(names), tuple(names), (GroupMetric("acc"),))
    alike = {name: items_of([1, 0] * 20) for name in names}
    a = write_record(tmp_path / "a", alike | {"s5": items_of(A)}, groups=[group])
    b = write_record(tmp_path / "b", alike | {"s5": items_of(B)}, groups=[group])
    comparison = compare_runs([a, b])
    text = "\n".join(render(comparison, 120))
    assert "11 subtasks without a finding are folded" in text
    assert re.search(r"^  s5 .* better", text, re.MULTILINE)
    assert not re.search(r"^  s4 ", text, re.MULTILINE)
    assert re.search(r"^  s4 ", "\n".join(render(comparison, 120, all_tasks=True)), re.MULTILINE)


HOSTILE = (
    "<script>alert(1)</script>\n</details>\n| a | b |\n# `code` ``x`` @octocat [x](http://evil)"
    "\x1b[31m\u202e\u2028\x00 <img src=x onerror=alert(2)>"
)


def test_foreign_text_does_nothing(tmp_path: Path) -> None:
    def tasks(values: list[int]) -> dict[str, list[Item]]:
        items = [
            Item(
                f"q{i} {HOSTILE}",
                {f"acc {HOSTILE}": v},
                prompt=f"{i} {HOSTILE}",
                answer=f"{HOSTILE} \ud800",
            )
            for i, v in enumerate(values)
        ]
        return {f"t {HOSTILE}": [*items[:-1], Item("last", {f"acc {HOSTILE}": 1}, answer="[[")]}

    a = write_record(tmp_path / "a", tasks(A), model=f"a {HOSTILE}")
    b = write_record(tmp_path / "b", tasks(B), model=f"b {HOSTILE}")
    comparison = compare_runs([a, b], Options(Wanted(all_metrics=True)))
    found = outputs(comparison)
    for line in found["text"].splitlines():
        assert line.isprintable()
    assert json.loads(found["json"])
    assert "<script>alert" not in found["html"] and "<img" not in found["html"]
    assert "\x1b" not in found["markdown"] and "\u202e" not in found["markdown"]
    outside = re.sub(r"(`+) ?.*?[^`]\1(?!`)", "", found["markdown"])  # of code spans
    assert "<script>" not in outside.replace(r"\<script\>", "")
    assert "<img" not in outside.replace(r"\<img", "")
    assert outside.count("</details>") == outside.count("<details>") > 0


def test_a_prompt_that_looks_like_a_chat_is_shown_as_one(tmp_path: Path) -> None:
    chat = json.dumps([["system", "Be brief."], ["user", "What is 2+2?"]])
    a = write_record(tmp_path / "a", {"t": [Item("q", {"acc": 1}, prompt=chat)] * 1})
    b = write_record(tmp_path / "b", {"t": [Item("q", {"acc": 0}, prompt=chat)]})
    text = "\n".join(render(compare_runs([a, b]), 120))
    assert "asked   system: Be brief. user: What is 2+2?" in text


def test_the_end_of_a_long_prompt_is_shown(tmp_path: Path) -> None:
    def items(value: int) -> list[Item]:
        return [Item("q", {"acc": value}, prompt="word " * 500 + "the question?")]

    a, b = (write_record(tmp_path / str(v), {"t": items(v)}) for v in (1, 0))
    (asked,) = (line for line in render(compare_runs([a, b]), 80) if line.startswith("    asked "))
    assert asked.endswith("the question?") and "…" in asked and len(asked) <= 80
