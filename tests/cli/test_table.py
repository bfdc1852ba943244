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


def finding(check: str = "cut answers", severity: str = "warning", **more: Any) -> dict[str, Any]:
    row = {
        "check": check,
        "severity": severity,
        "what": "7 of 10 answers ended at the token limit",
        "mend": "allow more",
        "share": 0.7,
    }
    return {**row, **more}


def with_health(*findings: dict[str, Any], run: Any = (), **tasks: Any) -> dict[str, Any]:
    told = summary({"t": {**task(), "health": list(findings)}, **tasks})
    return {**told, "health": list(run)}


def test_a_task_with_findings_is_marked_and_the_findings_say_what_to_do() -> None:
    lines = render(with_health(finding(), finding("empty answers", "error", what="all empty")), 100)
    (row,) = body(lines)
    assert row.endswith("!!2")
    at = lines.index("!! t: all empty")
    assert lines[at : at + 4] == [
        "!! t: all empty",
        "   -> allow more",
        "!  t: 7 of 10 answers ended at the token limit",
        "   -> allow more",
    ]


def test_one_warning_is_one_mark() -> None:
    (row,) = body(render(with_health(finding()), 100))
    assert row.endswith("  !")


def test_a_healthy_run_says_so_and_has_no_column_for_it() -> None:
    lines = render(with_health(), 100)
    assert "health  nothing found" in lines
    assert not lines[2].endswith("health")


def test_where_nothing_is_scored_nothing_could_be_checked() -> None:
    told = with_health()
    for about in told["tasks"].values():
        for metric in about["metrics"].values():
            metric["n"] = 0
    assert "health  nothing could be checked: no sample was scored" in render(told, 100)
    for about in told["tasks"].values():
        about["n"] = 0
    assert "health  nothing could be checked: no sample is done" in render(told, 100)


def test_of_an_interrupted_run_the_samples_that_are_done_are_healthy() -> None:
    told = with_health()
    done = sum(about["n"] for about in told["tasks"].values())
    told["status"] = "interrupted"
    assert f"health  nothing found in the {done} samples that are done" in render(told, 100)


def test_a_record_from_before_the_checks_says_nothing() -> None:
    assert not any("health" in line for line in render(summary({"t": task()}), 100))


def test_the_same_in_many_tasks_is_said_once_with_the_worst() -> None:
    told = mmlu()
    for i, entry in enumerate(told["tasks"].values()):
        entry["health"] = [finding(what=f"{i} of 100", share=i / 100)]
    told["health"] = []
    lines = render(told, 200)
    assert "!  mmlu_a_subject_with_a_long_name_56: 57 of 100 (the worst of 58 tasks with cut" in (
        " ".join(lines)
    )
    assert [line.split()[-1] for line in body(lines)[:4]] == ["!57", "!28", "!29", "!"]


def test_the_run_has_findings_of_its_own() -> None:
    lines = render(with_health(run=[finding("chat template missing", what="it chats")]), 100)
    assert "!  it chats" in lines
    assert not any("nothing found" in line for line in lines)


def test_of_many_kinds_of_findings_six_are_shown() -> None:
    many = [finding(f"check {i}", "error" if i == 9 else "warning") for i in range(10)]
    lines = render(with_health(*many), 100)
    assert sum(line.startswith(("! ", "!!")) for line in lines) == 6
    assert "   and 4 more findings of other kinds" in lines


@pytest.mark.parametrize("width", [60, 80, 120])
def test_findings_and_figures_fit_the_terminal(width: int) -> None:
    long = finding(what="任务 word " * 40, mend="do this " * 40)
    figures = {"computed_tokens": 10**9, "distinct_tokens": 10**9, "fallback": "because " * 30}
    told = with_health(long, run=[long])
    lines = render(told, width, performance=figures)
    start = next(i for i, line in enumerate(lines) if line.startswith("! "))
    assert max(map(cell_len, lines[start:])) <= width


def test_text_of_models_in_findings_cannot_move_the_cursor() -> None:
    lines = render(with_health(finding(what="the answer '\x1b[2J\n' was given")), 100)
    assert not any("\x1b" in line for line in lines)


def test_what_tasks_cost_stands_beside_them_and_the_whole_below() -> None:
    told = summary(
        {
            "a": {**task(), "usage": {"usd": 0.25}},
            "b": {**task(), "usage": {"usd": 0.5}},
            "c": task(),
        },
        {"both": group("a", "b", acc=metric())},
    )
    told["usage"]["usd"] = 0.75
    lines = render(told, 120)
    rows = {line.split()[0]: line.split()[-1] for line in body(lines)}
    assert rows["both"] == "$0.7500"
    assert rows["a"] == "$0.2500"
    assert rows["c"] == "5"  # no price is known: its shots are the last column
    assert "cost    $0.7500" in lines


def test_answers_of_the_journal_cost_nothing_again() -> None:
    told = summary({"t": {**task(), "usage": {"usd": 0.5}}})
    told["usage"]["usd"] = None
    lines = render(told, 120)
    assert "cost    $0.0000, $0.5000 without the journal and repeated questions" in lines


def test_a_count_of_what_was_cut_is_left_to_the_finding() -> None:
    told = with_health(finding())
    told["usage"]["cut"] = 7
    assert sum("ended at the token limit" in line for line in render(told, 100)) == 1


def test_a_rate_beyond_the_machines_own_is_not_told() -> None:
    """Its matrix rate was measured while others used the machine."""
    figures = {"computed_tokens": 10, "tokens_per_second": 5.0, "matmul_share": 46.5}
    lines = render(summary({"t": task()}), 120, performance=figures)
    assert lines[-1] == "speed   computed 10 tokens, 5 tokens/s"
