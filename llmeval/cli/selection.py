"""Options of the verbs that compare runs: what is compared, and which runs may be."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from llmeval.core.errors import UsageError

if TYPE_CHECKING:
    from llmeval.reports.compare import Options


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the options that `read_selection` reads, and the folder of records."""
    parser.add_argument(
        "-t", "--tasks", metavar="TASK,..", help="only these tasks and groups, by name or pattern"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--metric", metavar="KEY", action="append", help="only this metric; may be repeated"
    )
    which.add_argument(
        "--all-metrics", action="store_true", help="every metric, not just each task's first"
    )
    parser.add_argument(
        "--across-forms", action="store_true", help="compare what was asked in different forms"
    )
    parser.add_argument("--partial", action="store_true", help="take interrupted runs, too")
    parser.add_argument("-o", "--out", metavar="DIR", help="folder of records (results)")


def read_selection(arguments: argparse.Namespace, *, examples: int = 0) -> Options:
    """Return how to compare.

    Raises:
        UsageError: ``--tasks`` names none.
    """
    from llmeval.reports.compare import Options, Wanted

    wanted = Wanted(
        tasks=None if arguments.tasks is None else _split(arguments.tasks),
        metrics=tuple(arguments.metric) if arguments.metric else None,
        all_metrics=arguments.all_metrics,
    )
    return Options(wanted, arguments.across_forms, arguments.partial, examples)


def _split(names: str) -> tuple[str, ...]:
    found = tuple(name.strip() for name in names.split(",") if name.strip())
    if not found:
        raise UsageError("no task was named", where="--tasks")
    return found
