"""``llmeval tasks``: what can be asked."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Sequence

from llmeval.cli.parser import Parser
from llmeval.cli.streams import one_line, say

_EPILOG = """examples:
  llmeval tasks ls              everything: native tasks and suites, then lm-eval's
  llmeval tasks ls 'mmlu*'      by pattern; a plain word matches anywhere in the name
  llmeval tasks show gsm8k      its configuration
"""


def main(argv: Sequence[str]) -> int:
    parser = Parser(
        prog="llmeval tasks",
        description="List the tasks that `llmeval run -t` knows, or show one.",
        epilog=_EPILOG,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="ls|show")
    ls = verbs.add_parser("ls", help="list tasks")
    ls.add_argument("pattern", nargs="?", help="part of a name, or a pattern with * and ?")
    ls.add_argument("--json", action="store_true", help="as JSON lines")
    show = verbs.add_parser("show", help="show a task's configuration")
    show.add_argument("name")
    arguments = parser.parse_args(argv)
    from llmeval.cli.console import set_up_logging

    set_up_logging()
    if arguments.verb == "show":
        return _show(arguments.name)
    return _list(getattr(arguments, "pattern", None), getattr(arguments, "json", False))


def _list(pattern: str | None, as_json: bool) -> int:
    from llmeval.home import find_workspace
    from llmeval.tasks.registry import list_tasks

    wanted = pattern if pattern and any(c in pattern for c in "*?[") else f"*{pattern or ''}*"
    wanted = wanted.lower()
    rows = [r for r in list_tasks(find_workspace()) if fnmatch.fnmatchcase(r.name.lower(), wanted)]
    if as_json:
        for row in rows:
            line = {"name": row.name, "kind": row.kind, "source": row.source}
            print(json.dumps({**line, "about": row.description}))
        return 0
    widths = [max((len(getattr(r, c)) for r in rows), default=0) for c in ("name", "kind")]
    for row in rows:
        name, kind = row.name.ljust(min(widths[0], 48)), row.kind.ljust(widths[1])
        print(f"{name}  {kind}  {row.source:9}  {one_line(row.description)}".rstrip())
    say(f"{len(rows)} tasks, groups and suites")
    return 0


def _show(name: str) -> int:
    from llmeval.home import find_workspace
    from llmeval.tasks.registry import show_task

    print(show_task(name, find_workspace()), end="")
    return 0
