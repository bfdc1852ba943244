"""Many runs in one table: values with intervals, tiers instead of ranks, and what they cost."""

from llmeval.reports.leaderboard.board import Board
from llmeval.reports.leaderboard.build import Choices, build_board
from llmeval.reports.leaderboard.html import to_html
from llmeval.reports.leaderboard.markdown import to_markdown
from llmeval.reports.leaderboard.plain import to_plain
from llmeval.reports.leaderboard.sheet import to_csv

__all__ = [
    "Board",
    "Choices",
    "build_board",
    "to_csv",
    "to_html",
    "to_markdown",
    "to_plain",
]
