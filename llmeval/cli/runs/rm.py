"""``llmeval runs rm``: remove records."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

from llmeval.cli.streams import one_line, say
from llmeval.core.errors import UsageError
from llmeval.home import find_workspace
from llmeval.reports.formats import format_bytes
from llmeval.runs.find import find_run
from llmeval.runs.removal import Removal, plan_removal, remove


def main(arguments: Namespace) -> int:
    workspace = find_workspace()
    runs = {run.path.resolve(): run for run in (find_run(r, arguments.out) for r in arguments.runs)}
    plans = [plan_removal(run, workspace, force=arguments.force) for run in runs.values()]
    if arguments.dry_run:
        _print(plans, "would be removed")
        return 0
    if not arguments.yes and not _confirm(plans):
        say("llmeval: nothing was removed")
        return 0
    for plan in plans:
        remove(plan, workspace)
        _print([plan], "removed")
    say("llmeval: answers stay in the journal: the same command gets them without the model")
    return 0


def _print(plans: Sequence[Removal], what: str) -> None:
    for plan in plans:
        tags = f", with the tag {', '.join(plan.tags)}" if plan.tags else ""
        kept = f"; not a record's and left there: {', '.join(plan.foreign)}" if plan.foreign else ""
        print(one_line(f"{plan.path.name}: {what}{tags}{kept}"))


def _confirm(plans: Sequence[Removal]) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("there is nobody to ask", mend="--yes removes without asking")
    for plan in plans:
        print(one_line(f"  {plan.path}"), file=sys.stderr)
    size = format_bytes(sum(plan.size for plan in plans))
    records = "1 record" if len(plans) == 1 else f"{len(plans)} records"
    print(f"remove {records}, {size}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
