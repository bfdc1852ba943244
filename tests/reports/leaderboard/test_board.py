"""What is on a leaderboard: rows, columns, averages, and what is left out and why."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import llmeval
from llmeval.core import GroupMetric, Metric, TaskGroup, UsageError
from llmeval.stats import Estimate, estimate_mean
from tests.reports.leaderboard.support import board_of, edit, record, right, row_of
from tests.support.records import Item, items_of, mean

HALF, MOST = [1.0, 0.0] * 50, [1.0, 1.0, 1.0, 0.0] * 25


def test_a_value_is_what_the_run_recorded(tmp_path: Path) -> None:
    record(tmp_path, "a", {"t": MOST})
    cell = row_of(board_of(tmp_path), "a").cells["t acc"]
    assert (cell.measured.value, cell.measured.n, cell.measured.coverage) == (0.75, 100, 1.0)
    assert cell.measured.ci95 == estimate_mean(MOST).ci95


def test_the_average_is_unweighted_and_its_error_that_of_independent_columns(
    tmp_path: Path,
) -> None:
    record(tmp_path, "a", {"small": [1.0, 0.0, 1.0, 1.0], "large": HALF})
    average = row_of(board_of(tmp_path), "a").average
    assert average is not None and average.stderr is not None
    assert average.value == pytest.approx((0.75 + 0.5) / 2)
    # By hand: p (1 - p) / (n - 1) is a column's squared standard error.
    squares = 0.75 * 0.25 / 3 + 0.5 * 0.5 / 99
    assert average.stderr == pytest.approx(math.sqrt(squares) / 2)


def test_a_column_of_five_right_answers_makes_the_average_uncertain(tmp_path: Path) -> None:
    record(tmp_path, "a", {"tiny": [1.0] * 5, "large": right(0.7)})
    record(tmp_path, "baseline:oracle", {"tiny": [1.0] * 5, "large": [1.0] * 400})
    for normalize in (False, True):
        board = board_of(tmp_path, normalize=normalize)
        tiny = row_of(board, "a").cells["tiny acc"].measured.ci95
        assert tiny is not None
        for name in ("a", "baseline:oracle"):
            average = row_of(board, name).average
            assert average is not None and average.ci95 is not None
            assert average.value - average.ci95[0] >= (1 - tiny[0]) / 2


def test_chance_is_0_above_chance(tmp_path: Path) -> None:
    chance = {"acc": Metric("acc", mean, chance=0.25)}
    path = record(tmp_path, "a", {"s": HALF, "t": MOST}, metrics=chance)
    human = {"human": {"value": 1.0, "source": "Doe 2024"}}
    edit(path, "manifest", lambda m: m.update(tasks={t: {"config": human} for t in "st"}))
    board = board_of(tmp_path, normalize=True)
    averages = {row.name: row.average and row.average.value for row in board.rows}
    assert (averages["chance"], averages["human"]) == (0.0, 1.0)


def test_a_row_that_lacks_a_column_has_no_average_and_comes_last(tmp_path: Path) -> None:
    record(tmp_path, "whole", {"s": HALF, "t": HALF})
    record(tmp_path, "part", {"s": MOST})
    board = board_of(tmp_path)
    part = row_of(board, "part")
    assert part.average is None
    assert part.missing == ("t acc",)
    assert [row.name for row in board.models] == ["whole", "part"]
    assert any("part lacks t acc" in note for note in board.notes)


def test_where_nobody_has_all_columns_there_is_no_average(tmp_path: Path) -> None:
    record(tmp_path, "a", {"s": HALF})
    record(tmp_path, "b", {"t": HALF})
    board = board_of(tmp_path)
    assert board.average is None
    assert board.sort == "t acc"  # the newest run's first task
    assert any("no model has all of t acc, s acc" in note for note in board.notes)


def test_above_chance_the_average_is_scaled_and_its_error_too(tmp_path: Path) -> None:
    chance = {"acc": Metric("acc", mean, chance=0.25)}
    record(tmp_path, "a", {"s": HALF, "t": MOST}, metrics=chance)
    average = row_of(board_of(tmp_path, normalize=True), "a").average
    assert average is not None and average.stderr is not None
    assert average.value == pytest.approx(((0.5 - 0.25) / 0.75 + (0.75 - 0.25) / 0.75) / 2)
    plain = row_of(board_of(tmp_path), "a").average
    assert plain is not None and plain.stderr is not None
    assert average.stderr == pytest.approx(plain.stderr / 0.75)


def test_what_is_no_share_is_shown_and_not_averaged(tmp_path: Path) -> None:
    worse = {"brier": Metric("brier", mean, higher_is_better=False)}
    record(
        tmp_path,
        "a",
        {
            "s": HALF,
            "t": HALF,
            "b": items_of([0.1, 0.2], "brier"),
            "w": items_of([30.0, 20.0], "bleu"),
        },
        metrics=worse,
    )
    board = board_of(tmp_path)
    why = {column.key: column.not_averaged for column in board.columns}
    assert why == {
        "s acc": None,
        "t acc": None,
        "b brier": "lower is better",
        "w bleu": "not a share between 0 and 1",
    }
    average = row_of(board, "a").average
    assert average is not None and average.value == 0.5


def test_the_main_metric_is_the_first_share_unless_another_is_wished(tmp_path: Path) -> None:
    scores = {"perplexity": 9.0, "acc": 1.0, "acc_norm": 0.0}
    lower = {"perplexity": Metric("perplexity", mean, higher_is_better=False)}
    items = [Item(f"q{i}", scores) for i in range(4)]
    record(tmp_path, "a", {"s": items, "t": items}, metrics=lower)
    assert [c.key for c in board_of(tmp_path).columns] == ["s acc", "t acc"]
    wished = board_of(tmp_path, metrics=("acc_norm", "t=perplexity"))
    assert [c.key for c in wished.columns] == ["s acc_norm", "t perplexity"]
    with pytest.raises(UsageError, match=r"no run has the metric 'f1'.*perplexity, acc, acc_norm"):
        board_of(tmp_path, metrics=("f1",))


# -- forms -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        ({"num_fewshot": 5}, ["0-shot", "5-shot"]),
        ({"version": "2"}, ["version 1", "version 2"]),
        ({"form": "letters"}, ["letters", "own form"]),
        ({"options": {"apply_chat_template": True}}, ["chat", "no chat"]),
        ({"options": {"system_instruction": "Be brief."}}, ["no system", "system"]),
    ],
)
def test_forms_of_asking_are_columns_of_their_own(
    tmp_path: Path, settings: dict[str, Any], labels: list[str]
) -> None:
    record(tmp_path, "a", {"t": right(0.9)})
    record(tmp_path, "b", {"t": right(0.2)}, **settings)
    board = board_of(tmp_path)
    assert sorted(c.label.partition(" ")[0] for c in board.columns) == [
        label.partition(" ")[0] for label in labels
    ]
    assert all(len(row.cells) == 1 for row in board.models)
    assert not any(cell.standing for row in board.rows for cell in row.cells.values())
    assert [column.averaged for column in board.columns].count(True) == 1


def test_changed_data_are_another_form(tmp_path: Path) -> None:
    for model, digest in (("a", "11" * 16), ("b", "22" * 16)):
        path = record(tmp_path, model, {"t": HALF})

        def change(summary: Any, digest: str = digest) -> None:
            summary["tasks"]["t"]["data"] = {"id": "t", "fingerprint": digest}

        edit(path, "summary", change)
    assert sorted(c.label for c in board_of(tmp_path).columns) == ["data 111111", "data 222222"]


def test_unknown_data_join_the_known_of_the_same_form(tmp_path: Path) -> None:
    path = record(tmp_path, "known", {"t": right(0.9)})
    edit(
        path,
        "summary",
        lambda s: s["tasks"]["t"].update(data={"id": "t", "fingerprint": "11" * 16}),
    )
    record(tmp_path, "unknown", {"t": right(0.5, seed=1)})
    board = board_of(tmp_path)
    assert len(board.columns) == 1
    assert [row.cells["t acc"].standing.tier for row in board.models] == [1, 2]  # type: ignore[union-attr]


def test_groups_that_hold_one_another_are_both_shown(tmp_path: Path) -> None:
    metrics = (GroupMetric("acc"),)
    groups = [TaskGroup("g", ("h", "t"), ("t",), metrics), TaskGroup("h", ("g",), ("t",), metrics)]
    record(tmp_path, "a", {"t": HALF}, groups=groups)
    board = board_of(tmp_path)
    assert {column.key for column in board.top_columns} == {"g acc", "h acc"}


# -- which runs ------------------------------------------------------------------------------------


def test_of_a_models_runs_the_newest_counts_and_the_board_says_so(tmp_path: Path) -> None:
    record(tmp_path, "a", {"t": HALF, "s": HALF}, day=1)
    record(tmp_path, "a", {"t": MOST}, day=2)
    record(tmp_path, "a", {"t": [0.0] * 100}, day=3, status="interrupted")
    board = board_of(tmp_path)
    [row] = board.models
    assert row.cells["t acc"].measured.value == 0.75
    assert row.cells["s acc"].measured.value == 0.5
    assert len(row.runs) == 2
    record(tmp_path, "a", {"t": HALF}, day=4)
    assert any("1 older run is not shown (--all-runs)" in n for n in board_of(tmp_path).notes)


def test_a_trial_with_few_samples_displaces_no_whole_run(tmp_path: Path) -> None:
    record(tmp_path, "a", {"s": HALF, "t": HALF}, day=1)
    record(tmp_path, "a", {"s": MOST[:95], "t": MOST[:95]}, day=2)  # nearly as many: newer counts
    trial = record(tmp_path, "a", {"s": [1.0], "t": [1.0], "u": [1.0]}, day=3)
    board = board_of(tmp_path)
    [row] = board.models
    assert {key: cell.measured.n for key, cell in row.cells.items()} == {
        "s acc": 95,
        "t acc": 95,
        "u acc": 1,  # nothing else is there
    }
    assert {column.key: column.n for column in board.columns}["t acc"] == 95
    told = next(note for note in board.notes if note.startswith("newer and smaller"))
    assert f"a: {trial.name} (n 1 instead of 95 in s acc and 1 more column)" in told
    assert any("1 older run is not shown" in note for note in board.notes)
    assert len(board_of(tmp_path, all_runs=True).models) == 3


def test_a_newer_run_that_could_not_be_scored_is_not_hidden_by_an_older_one(tmp_path: Path) -> None:
    record(tmp_path, "a", {"t": HALF}, day=1)
    path = record(tmp_path, "a", {"t": HALF}, day=2)
    edit(
        path,
        "summary",
        lambda s: s["tasks"]["t"]["metrics"]["acc"].update(
            value=None, stderr=None, ci95=None, n=0, coverage=0.0
        ),
    )
    assert row_of(board_of(tmp_path), "a").cells["t acc"].measured.value is None


def test_all_runs_are_named_by_model_setting_and_moment(tmp_path: Path) -> None:
    for day, dtype in ((1, "float32"), (2, "bfloat16"), (3, "float32")):
        path = record(tmp_path, "m", {"t": HALF}, day=day)
        told = {"fingerprint": dtype[0] * 32, "dtype": dtype}
        for name in ("manifest", "summary"):
            edit(path, name, lambda content, told=told: content["model"].update(told))
    names = {row.name for row in board_of(tmp_path, all_runs=True).models}
    assert names == {
        "m dtype=float32 20260101-000000",
        "m dtype=bfloat16",  # told apart without
        "m dtype=float32 20260103-000000",
    }


def test_all_runs_have_rows_of_their_own_if_wished(tmp_path: Path) -> None:
    record(tmp_path, "a", {"t": HALF}, day=1)
    record(tmp_path, "a", {"t": MOST}, day=2)
    names = [row.name for row in board_of(tmp_path, all_runs=True).models]
    assert len(set(names)) == 2
    assert all(name.startswith("a 2026010") for name in names)


def test_two_models_of_one_name_are_told_apart(tmp_path: Path) -> None:
    record(tmp_path, "a", {"t": HALF})
    other = record(tmp_path, "a", {"t": MOST})
    for name in ("manifest", "summary"):
        edit(other, name, lambda content: content["model"].update(fingerprint="ff" * 16))
    names = {row.name for row in board_of(tmp_path).models}
    assert len(names) == 2
    assert "a ffffff" in names


def test_models_of_one_name_are_called_by_the_setting_in_which_they_differ(
    tmp_path: Path,
) -> None:
    """By what it resolved to; by the fingerprint where they differ in much."""
    settings = [
        {"dtype": "float32", "settings": {"dtype": "auto", "seed": 0}},
        {"dtype": "bfloat16", "settings": {"dtype": "bfloat16", "seed": 0}},
    ]
    paths = [record(tmp_path, "m", {"t": right(0.5)}) for _ in settings]
    for path, setting, digit in zip(paths, settings, "ab", strict=True):
        told = {"fingerprint": digit * 32, **setting}
        for name in ("manifest", "summary"):
            edit(path, name, lambda content, told=told: content["model"].update(told))
    names = {row.name for row in board_of(tmp_path).rows if row.kind == "model"}
    assert names == {"m dtype=float32", "m dtype=bfloat16"}
    many = {f"setting {number}": number for number in range(3)}
    edit(paths[0], "manifest", lambda content: content["model"].update(many))
    names = {row.name for row in board_of(tmp_path).rows if row.kind == "model"}
    assert names == {"m aaaaaa", "m bbbbbb"}


@pytest.mark.parametrize("status", ["interrupted", "invalid"])
def test_a_run_that_is_not_complete_is_left_out_with_its_reason(
    tmp_path: Path, status: str
) -> None:
    record(tmp_path, "a", {"t": HALF})
    bad = record(tmp_path, "b", {"t": MOST}, status=status)
    board = board_of(tmp_path)
    assert [(left.name, left.reason) for left in board.left_out] == [
        (bad.name, f"the run is {status}")
    ]
    assert len(board.models) == 1


def test_a_record_that_cannot_be_read_is_left_out_with_its_reason(tmp_path: Path) -> None:
    record(tmp_path, "a", {"t": HALF})
    for name, content in (("torn", "{"), ("list", "[]"), ("empty", '{"status": "complete"}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(content)
    reasons = {left.name: left.reason for left in board_of(tmp_path).left_out}
    assert set(reasons) == {"torn", "list", "empty"}
    assert "cannot be read" in reasons["torn"]
    assert "not a JSON object" in reasons["list"]


def test_nothing_to_show_is_an_error_that_says_why(tmp_path: Path) -> None:
    record(tmp_path, "b", {"t": MOST}, status="invalid")
    with pytest.raises(UsageError, match=r"no run is complete.*the run is invalid"):
        board_of(tmp_path)


@pytest.mark.parametrize(
    ("choice", "complaint"),
    [
        ({"tasks": ("arc",)}, "no run has such a task.*did you mean arcs"),
        ({"models": "gpt*"}, "no run's model has such a name.*there are a"),
        ({"by": "nothing"}, "there is no such column.*arcs acc"),
    ],
)
def test_a_choice_that_fits_nothing_is_an_error(
    tmp_path: Path, choice: dict[str, Any], complaint: str
) -> None:
    record(tmp_path, "a", {"arcs": HALF})
    with pytest.raises(UsageError, match=complaint):
        board_of(tmp_path, **choice)


def test_python_names_runs_as_the_command_line_does(tmp_path: Path) -> None:
    one = record(tmp_path, "a", {"s": HALF, "t": HALF})
    record(tmp_path, "b", {"s": MOST, "t": MOST})
    assert [row.name for row in llmeval.leaderboard(tmp_path).models] == ["b", "a"]
    assert [row.name for row in llmeval.leaderboard(out=tmp_path).models] == ["b", "a"]
    board = llmeval.leaderboard(llmeval.load_run(one), one, tasks=["t"], by="t")
    assert [(row.name, list(row.cells)) for row in board.models] == [("a", ["t acc"])]


# -- baselines and references ----------------------------------------------------------------------


def test_baselines_and_chance_stand_below_and_are_not_ranked(tmp_path: Path) -> None:
    chance = {"acc": Metric("acc", mean, chance=0.25)}
    record(tmp_path, "a", {"t": HALF}, metrics=chance)
    record(tmp_path, "b", {"t": MOST}, metrics=chance)
    record(tmp_path, "baseline:oracle", {"t": [1.0] * 100}, metrics=chance)
    record(tmp_path, "baseline:random", {"t": right(0.25, 100)}, metrics=chance)
    board = board_of(tmp_path)
    assert [(row.name, row.kind) for row in board.rows] == [
        ("b", "model"),
        ("a", "model"),
        ("baseline:oracle", "baseline"),
        ("baseline:random", "baseline"),
        ("chance", "reference"),
    ]
    cell = row_of(board, "chance").cells["t acc"]
    assert (cell.measured.value, cell.measured.ci95) == (0.25, None)
    assert row_of(board, "baseline:oracle").cells["t acc"].standing is None
    standings = [row.cells["t acc"].standing for row in board.models]
    assert [one and one.ranks for one in standings] == ["1", "2"]  # of the models alone


def test_a_number_that_may_be_chance_is_marked(tmp_path: Path) -> None:
    chance = {"acc": Metric("acc", mean, chance=0.5)}
    record(tmp_path, "a", {"t": HALF, "s": MOST}, metrics=chance)
    cells = row_of(board_of(tmp_path), "a").cells
    assert (cells["t acc"].at_chance, cells["s acc"].at_chance) == (True, False)


def test_human_values_are_those_that_tasks_state_with_their_source(tmp_path: Path) -> None:
    path = record(tmp_path, "a", {"t": HALF})
    human = {"value": 0.9, "source": "Doe 2024, table 3"}
    edit(path, "manifest", lambda m: m.update(tasks={"t": {"config": {"human": human}}}))
    board = board_of(tmp_path)
    assert row_of(board, "human").cells["t acc"].measured.value == 0.9
    assert any("t: Doe 2024, table 3" in note for note in board.notes)
    human["metric"] = "f1"
    edit(path, "manifest", lambda m: m.update(tasks={"t": {"config": {"human": human}}}))
    assert all(row.name != "human" for row in board_of(tmp_path).rows)


# -- what it took ----------------------------------------------------------------------------------


def took(path: Path, *, usd: float | None, seconds: float, cached: int = 0, wall: int = 10) -> None:
    """Say what a run of one task of 100 samples took."""
    edit(
        path,
        "summary",
        lambda s: (
            s["tasks"]["t"].update(usage={"usd": usd}),
            s.update(
                usage={
                    "requests": 400,
                    "cached": cached,
                    "prompt_tokens": 9000,
                    "completion_tokens": 1000,
                },
                seconds={"model": seconds, "total": 10.0},
            ),
        ),
    )
    edit(path, "manifest", lambda m: m.update(written=f"2026-01-01T00:00:{wall:02d}+00:00"))


def test_cost_and_speed_by_hand(tmp_path: Path) -> None:
    took(record(tmp_path, "a", {"t": HALF}), usd=0.5, seconds=4.0)
    figures = row_of(board_of(tmp_path), "a").figures
    assert (figures.usd, figures.usd_per_1000) == (0.5, 5.0)
    assert figures.tokens_per_second == 2500
    assert figures.seconds_per_sample == 0.04


def test_answers_of_the_journal_make_no_run_fast(tmp_path: Path) -> None:
    took(record(tmp_path, "a", {"t": HALF}), usd=None, seconds=4.0, cached=200)
    assert row_of(board_of(tmp_path), "a").figures.seconds_per_sample == 0.08
    took(record(tmp_path, "b", {"t": HALF}), usd=0.5, seconds=0.0, cached=400)
    figures = row_of(board_of(tmp_path), "b").figures
    assert (figures.seconds_per_sample, figures.tokens_per_second) == (None, None)
    assert figures.usd == 0.5  # what its answers cost, whenever they were given


def test_the_last_attempts_seconds_are_not_the_whole_runs(tmp_path: Path) -> None:
    took(record(tmp_path, "a", {"t": HALF}), usd=None, seconds=4.0, wall=40)
    figures = row_of(board_of(tmp_path), "a").figures
    assert (figures.seconds_per_sample, figures.tokens_per_second) == (None, None)


def test_what_was_not_recorded_is_unknown(tmp_path: Path) -> None:
    def estimate(items: Any, clusters: Any) -> Estimate:
        return estimate_mean(items)

    record(tmp_path, "a", {"t": HALF}, metrics={"acc": Metric("acc", estimate)})
    figures = row_of(board_of(tmp_path), "a").figures
    assert (figures.usd, figures.latency, figures.memory, figures.parameters) == (None,) * 4


def test_nothing_is_above_a_chance_of_one(tmp_path: Path) -> None:
    """A task whose items have one choice each: an average above chance has no value."""
    sure = {"acc": Metric("acc", mean, chance=1.0)}
    for name, share in (("a", 0.5), ("b", 0.9)):
        record(tmp_path, name, {"t": right(share)}, metrics=sure)
    board = board_of(tmp_path, normalize=True)
    assert [row.average for row in board.models] == [None, None]
    assert board_of(tmp_path).models
