"""``llmeval leaderboard``: many runs in one table."""

from __future__ import annotations

import json
from collections.abc import Sequence

from llmeval.cli.new_files import write_and_tell
from llmeval.cli.parser import Parser
from llmeval.core.errors import UsageError

_EPILOG = """examples:
  llmeval leaderboard                        all complete runs in results/
  llmeval leaderboard 2026 -t 'mmlu,arc_*' --models 'hf:*'
  llmeval leaderboard results/ lm_eval_output/ --html leaderboard.html
  llmeval leaderboard --by hellaswag --csv leaderboard.csv
  llmeval leaderboard --markdown >> README.md

RUN is a record's folder, a folder of records, a run's id or the beginning of several, a tag, or
a folder that lm-eval wrote. What the columns mean: docs/leaderboards.md
"""


def main(argv: Sequence[str]) -> int:
    arguments = _build_parser().parse_args(argv)
    from llmeval.reports.leaderboard import (
        Choices,
        build_board,
        to_csv,
        to_html,
        to_markdown,
        to_plain,
    )
    from llmeval.reports.leaderboard.gather import gather

    choices = Choices(
        tasks=_split(arguments.tasks),
        models=arguments.models,
        metrics=tuple(arguments.metric),
        all_runs=arguments.all_runs,
        normalize=arguments.normalize,
        by=arguments.by,
    )
    board = build_board(gather(arguments.runs, arguments.out), choices)
    for path, render in ((arguments.csv, to_csv), (arguments.html, to_html)):
        if path is not None:
            write_and_tell(path, render(board))
    if arguments.json:
        print(json.dumps(to_plain(board), indent=2, ensure_ascii=False, allow_nan=False))
    elif arguments.markdown:
        print(to_markdown(board, all_tasks=arguments.all_tasks), end="")
    else:
        from llmeval.cli.board import print_board

        print_board(board, all_tasks=arguments.all_tasks)
    return 0


def _build_parser() -> Parser:
    parser = Parser(
        prog="llmeval leaderboard",
        description="Compare many runs: values with intervals, tiers, averages, cost and speed.",
        epilog=_EPILOG,
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="all runs in results/ by default")
    parser.add_argument("-o", "--out", metavar="DIR", help="folder of records (results)")
    shown = parser.add_argument_group("what is shown")
    shown.add_argument("-t", "--tasks", metavar="A,B", help="tasks and groups, by name or pattern")
    shown.add_argument("--models", metavar="GLOB", help="models whose name fits a pattern")
    shown.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="[TASK=]KEY",
        help="a task's metric; its first share by default",
    )
    runs = shown.add_mutually_exclusive_group()
    runs.add_argument(
        "--latest",
        action="store_true",
        help="of a model's runs of a task in one form, the newest whole one (the default)",
    )
    runs.add_argument("--all-runs", action="store_true", help="a row for every run")
    shown.add_argument("--all-tasks", action="store_true", help="the subtasks of groups, too")
    shown.add_argument(
        "--normalize", action="store_true", help="average (value - chance) / (1 - chance)"
    )
    shown.add_argument(
        "--by", metavar="COLUMN", help="sort and plot by a task; by the average by default"
    )
    given = parser.add_argument_group("output")
    form = given.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print everything as JSON")
    form.add_argument("--markdown", action="store_true", help="print Markdown")
    given.add_argument("--csv", metavar="FILE", help="write a line for each row")
    given.add_argument("--html", metavar="FILE", help="write one self-contained page")
    return parser


def _split(tasks: str | None) -> tuple[str, ...] | None:
    if tasks is None:
        return None
    names = tuple(name for part in tasks.split(",") if (name := part.strip()))
    if not names:
        raise UsageError(
            "no task is named", where=f"--tasks {tasks!r}", mend="name some, or leave it"
        )
    return names
