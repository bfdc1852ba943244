"""``llmeval runs track``: log a record to a tracker."""

from __future__ import annotations

from argparse import Namespace

from llmeval.cli.streams import one_line
from llmeval.runs.find import find_run
from llmeval.tracking import parse_target, track_run


def main(arguments: Namespace) -> int:
    target = parse_target(arguments.target)
    run = find_run(arguments.run, arguments.out)
    seen = track_run(run, target, tables=arguments.tables)
    print(one_line(f"logged to {target}: {seen}"))
    return 0
