"""The results table at any width: groups first, nothing without its n, interval and coverage."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from llmeval.cli.table import render


def metric(value: float | None = 0.5, **more: Any) -> dict[str, Any]:
    row = {
        "value": value,
        "ci95": None if value is None else [value - 0.1, value + 0.1],
        "n": 10,
        "coverage": 1.0,
        "higher_is_better": True,
        "chance": 0.25,
    }
    return {**row, **more}


def task(**metrics: Any) -> dict[str, Any]:
    return {"n": 10, "coverage": 1.0, "num_fewshot": 5, "metrics": metrics or {"acc": metric()}}


def group(*members: str, **metrics: Any) -> dict[str, Any]:
    return {"tasks": list(members), "metrics": metrics}


def summary(tasks: dict[str, Any], groups: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "model": {"name": "hf:a/model"},
        "status": "complete",
        "tasks": tasks,
        "groups": groups or {},
        "usage": {
            "requests": 1234,
            "cached": 34,
            "prompt_tokens": 5000,
            "completion_tokens": 600,
            "truncated": 0,
        },
        "seconds": {"startup": 0.5, "model": 1.5, "scoring": 8.0, "total": 10.0},
    }


def mmlu(subjects: int = 57) -> dict[str, Any]:
    names = [f"mmlu_a_subject_with_a_long_name_{i}" for i in range(subjects)]
    groups = {
        "mmlu": group("mmlu_stem", "mmlu_other", acc=metric(0.4, n=570)),
        "mmlu_stem": group(*names[: subjects // 2], acc=metric(0.3, n=280)),
        "mmlu_other": group(*names[subjects // 2 :], acc=metric(0.2, n=290)),
    }
    return summary({"first": task(), **{name: task() for name in names}}, groups)


def body(lines: list[str]) -> list[str]:
    """Return the lines between the rule and the first empty line after it."""
    start = next(i for i, line in enumerate(lines) if line.strip().startswith("──")) + 1
    return lines[start : lines.index("", start)]


def test_groups_stand_first_and_many_subtasks_are_folded() -> None:
    lines = body(render(mmlu(), 120))
    assert [line.split()[0] for line in lines[:4]] == ["mmlu", "mmlu_stem", "mmlu_other", "first"]
    assert lines[4:] == ["57 subtasks are folded: --all-tasks shows them, summary.json holds them"]


def test_all_subtasks_stand_below_their_group() -> None:
    lines = body(render(mmlu(), 120, all_tasks=True))
    assert len(lines) == 61
    assert lines[1].startswith("  mmlu_stem ")
    assert lines[2].startswith("    mmlu_a_subject_with_a_long_name_0 ")


def test_few_subtasks_are_not_folded() -> None:
    assert len(body(render(mmlu(8), 120))) == 12


def test_a_group_without_numbers_folds_nothing() -> None:
    names = [f"t{i}" for i in range(20)]
    lines = body(render(summary({n: task() for n in names}, {"tag": group(*names)}), 120))
    assert [line.split()[0] for line in lines] == names


def test_groups_that_hold_each_other_end() -> None:
    groups = {"a": group("b", acc=metric()), "b": group("a", "t", acc=metric())}
    assert len(body(render(summary({"t": task()}, groups), 120))) == 3


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_no_row_is_wider_than_the_terminal(width: int) -> None:
    long = task(**{"exact_match,flexible-extract": metric(), "acc": metric(12345.0)})
    tasks = mmlu()["tasks"] | {"gsm8k": long, "任务" * 30: task()}
    for line in body(render(summary(tasks), width, all_tasks=True)):
        assert cell_len(line) <= width


@pytest.mark.parametrize("width", [80, 200])
def test_every_value_has_its_interval_n_and_coverage_beside_it(width: int) -> None:
    (row,) = [
        line
        for line in render(summary({"a_task_with_quite_a_long_name": task()}), width)
        if "acc ↑" in line
    ]
    assert "0.500  0.400 … 0.600  10    100%   0.250" in row


def test_a_number_that_cannot_be_had_is_said() -> None:
    empty = metric(None, n=0, coverage=0.0, chance=None, higher_is_better=False)
    (row,) = body(render(summary({"t": task(acc=empty)}), 100))
    assert row.split() == ["t", "acc", "↓", "none", "unknown", "0", "0.0%", "5"]


def test_almost_all_is_not_all() -> None:
    (row,) = body(render(summary({"t": task(acc=metric(coverage=0.99999))}), 100))
    assert "99.9%" in row


def test_what_is_missing_is_told_with_its_reasons() -> None:
    why = {"unscored: no number in the answer": 3, "errored: out of\nmemory": 1}
    partial = metric(n=6, coverage=0.6, not_scored=why)
    lines = render(summary({"t": task(acc=partial)}), 100)
    assert (
        "not scored: t: 4 of 10: 3 unscored: no number in the answer; 1 errored: out of memory"
        in lines
    )


def test_usage_and_cut_prompts_stand_below() -> None:
    told = summary({"t": task()})
    told["usage"]["truncated"] = 7
    lines = render(told, 120)
    assert "7 prompts were too long for the model and were cut from the left" in lines
    assert lines[-2:] == [
        "time    10.0 s (startup 0.5, model 1.5, scoring 8.0)",
        "asked   1,234 questions, 34 of them repeated or from the journal; 5,600 tokens, 600 of"
        " them generated",
    ]


def test_how_fast_the_model_computed_stands_at_the_end() -> None:
    figures = {
        "scorer": "packed",
        "computed_tokens": 152_340,
        "distinct_tokens": 150_832,
        "tokens_per_second": 4119.6,
        "matmul_share": 0.714,
        "fallback": None,
    }
    told = summary({"t": task()})
    assert render(told, 120, performance=figures) == [
        *render(told, 120),
        "speed   computed 152,340 tokens (1.01 x distinct), 4,120 tokens/s,"
        " 71% of this machine's matrix rate",
    ]


@pytest.mark.parametrize(
    ("figures", "lines"),
    [
        ({}, []),
        ({"computed_tokens": 0, "distinct_tokens": 0, "tokens_per_second": 0.0}, []),
        (
            {"computed_tokens": 70, "distinct_tokens": 0, "fallback": "positions\nare ALiBi"},
            ["speed   computed 70 tokens", "note    scored in plain batches: positions are ALiBi"],
        ),
    ],
)
def test_figures_that_a_model_does_not_tell_are_left_out(
    figures: dict[str, Any], lines: list[str]
) -> None:
    told = summary({"t": task()})
    assert render(told, 100, performance=figures) == [*render(told, 100), *lines]


def test_color_is_only_added_never_needed() -> None:
    import re

    told = mmlu()
    told["status"] = "invalid"
    colored = render(told, 120, color=True)
    assert "\x1b[31minvalid\x1b[0m" in colored[0]
    plain = [re.sub(r"\x1b\[\d*m", "", line).rstrip() for line in colored]
    assert plain == render(told, 120)


def test_names_cannot_smuggle_control_characters() -> None:
    assert not any("\x1b" in line for line in render(summary({"t\x1b[2J\n": task()}), 100))
