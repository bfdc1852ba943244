"""Many runs in one table: values with intervals, tiers instead of ranks, and what they cost."""

from llmeval.reports.leaderboard.board import Board
from llmeval.reports.leaderboard.build import Choices, build_board

__all__ = ["Board", "Choices", "build_board"]
