"""A board as text, Markdown, CSV, JSON and a page: the same numbers; foreign names do no harm."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser
from typing import Any

import pytest

from llmeval.cli.board import render
from llmeval.cli.columns import width_of
from llmeval.core import GroupMetric, Metric, TaskGroup
from llmeval.reports.leaderboard import Board, to_csv, to_html, to_markdown, to_plain
from tests.reports.leaderboard.support import board_of, edit, record, right
from tests.support.records import mean

CHANCE = {"acc": Metric("acc", mean, chance=0.25)}
HOSTILE = "=cmd|'/c calc'!A1\n| <script>alert(1)</script> \x1b[31m"


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    folder = tmp_path_factory.mktemp("records")
    groups = [TaskGroup("g", ("s", "t"), ("s", "t"), (GroupMetric("acc"),))]
    for seed, (name, share) in enumerate((("good", 0.8), ("fair", 0.6), ("poor", 0.3))):
        tasks = {task: right(share, 120, seed * 5 + k) for k, task in enumerate(("s", "t", "u"))}
        path = record(folder, name, tasks, groups=groups, metrics=CHANCE)
        size = 10**9 * (1 + seed)
        edit(path, "manifest", lambda m, size=size: m["model"].update(parameters=size))
        if name == "poor":
            part = {"n": 96, "coverage": 0.8}
            edit(path, "summary", lambda s, p=part: s["tasks"]["u"]["metrics"]["acc"].update(p))
    tasks = {"s": right(0.9, 120), "t": right(0.9, 120)}
    record(folder, HOSTILE, tasks, groups=groups, metrics=CHANCE)
    record(folder, "baseline:random", {"u": right(0.25, 120)}, metrics=CHANCE)
    record(folder, "broken", {"u": right(0.25, 120)}, status="invalid")
    return board_of(folder)


def test_json_holds_every_number(board: Board) -> None:
    plain = json.loads(json.dumps(to_plain(board), allow_nan=False))
    rows = {row["name"]: row for row in plain["rows"]}
    for row in board.rows:
        for key, cell in row.cells.items():
            told = rows[row.name]["cells"][key]
            assert told["value"] == cell.measured.value
            assert told["ci95"] == (cell.measured.ci95 and list(cell.measured.ci95))
            assert told["tier"] == (cell.standing and cell.standing.tier)
    assert rows["good"]["kind"] == "model"
    assert rows["chance"]["runs"] == []
    assert plain["left_out"][0]["reason"] == "the run is invalid"
    assert plain["columns"][0]["weighted_by_size"] is True


def test_csv_reads_back_to_the_same_numbers(board: Board) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert len(lines) == len(board.rows)
    for line, row in zip(lines, board.rows, strict=True):
        for column in board.columns:
            cell = row.cells.get(column.key)
            text = line[column.key]
            assert (float(text) if text else None) == (cell and cell.measured.value)
            low = cell.measured.ci95[0] if cell and cell.measured.ci95 else None
            assert (float(line[f"{column.key} low"]) if line[f"{column.key} low"] else None) == low
        assert (line["average"] == "") == (row.average is None)


def test_no_name_is_a_formula_in_a_spreadsheet(board: Board) -> None:
    for line in csv.reader(io.StringIO(to_csv(board))):
        assert not any(cell.startswith(("=", "@", "+")) for cell in line)


def test_markdown_is_a_table_whatever_the_names(board: Board) -> None:
    lines = to_markdown(board).splitlines()
    table = [line for line in lines if line.startswith("|")]
    bars = {line.replace("\\|", "").count("|") for line in table[: len(board.rows) + 2]}
    assert len(bars) == 1
    assert "<script" not in to_markdown(board).replace("\\<script", "")
    assert any(line.startswith("| good | 1 |") for line in table)


@pytest.mark.parametrize("width", [60, 80, 120, 250])
def test_text_fits_the_terminal(board: Board, width: int) -> None:
    lines = render(board, width)
    assert max(map(width_of, lines)) <= max(width, 80)
    text = "\n".join(lines)
    assert "\x1b" not in text
    assert "2 subtasks are folded" in text
    assert "left out" in text
    assert "invalid" in text


def test_text_says_where_a_row_has_other_samples(board: Board) -> None:
    rows = [line for line in render(board, 250) if line.lstrip().startswith("poor")]
    assert "n 96  80.0%" in rows[0]


def test_subtasks_are_shown_if_wished(board: Board) -> None:
    assert not any(" t " in line for line in render(board, 250)[:5])
    heads = render(board, 250, all_tasks=True)[2]
    assert [word for word in ("g", "s", "t", "u") if word in heads.split()] == ["g", "s", "t", "u"]


class _Tags(HTMLParser):
    """Collects scripts, addresses, and the text of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts = 0
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        given: dict[str, Any] = dict(attrs)
        self.links += [given[name] for name in ("src", "href") if given.get(name)]


def test_the_page_is_self_contained_and_runs_nothing_foreign(board: Board) -> None:
    html = to_html(board)
    tags = _Tags()
    tags.feed(html)
    assert tags.scripts == 1  # the shell's own
    assert [link for link in tags.links if not link.startswith("data:")] == []
    assert "alert(1)" in html  # as text
    assert "<script>alert" not in html
    assert "\x1b" not in html


def test_the_page_has_every_row_and_plots_what_costs(board: Board) -> None:
    html = to_html(board)
    for row in board.rows:
        assert f'data-sort="{row.name}"' in html or row.name == HOSTILE
    assert html.count("<svg") > 3
    assert "parameters, billions" in html
    assert "the run is invalid" in html
