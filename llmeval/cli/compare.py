"""``llmeval compare``: a baseline and its challengers, item by item."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmeval.cli.new_files import write_and_tell
from llmeval.cli.parser import Parser
from llmeval.cli.selection import add_selection, read_selection
from llmeval.cli.streams import one_line, say
from llmeval.core.errors import GateFailed, InvalidResult, UsageError

if TYPE_CHECKING:
    from llmeval.reports.compare import Comparison
    from llmeval.reports.compare.comparison import Verdict

_EPILOG = """examples:
  llmeval compare RUN_A RUN_B
  llmeval compare RUN_A latest --all-metrics
  llmeval compare RUN_A RUN_B RUN_C --markdown > comment.md
  llmeval compare RUN_A RUN_B --html compare.html --fail-on-worse

A run is named by its folder, its id or the beginning of it, a tag, or `latest`. The first one is
the baseline. Only items that both runs were asked in the same words are compared; docs/comparing.md
tells how, and what the numbers mean.

exit codes: 0 compared, 2 not comparable; with --fail-on-worse 3 a challenger is worse, 4 nothing
could be tested
"""

_EXAMPLES = 1
_EXAMPLES_KEPT = 5  # in JSON and on pages


def main(argv: Sequence[str]) -> int:
    arguments = _build_parser().parse_args(argv)
    if arguments.flips is not None and arguments.flips < 0:
        raise UsageError(f"must be 0 or more, not {arguments.flips}", where="--flips")
    from llmeval.reports.compare import compare_runs
    from llmeval.runs.find import find_run

    options = read_selection(arguments, examples=_count_examples(arguments))
    runs = [find_run(name, arguments.out) for name in (arguments.baseline, *arguments.challenger)]
    comparison = compare_runs(runs, options)
    _write(comparison, arguments)
    if arguments.fail_on_worse:
        _check_gate(comparison)
    return 0


def _build_parser() -> Parser:
    parser = Parser(
        prog="llmeval compare",
        description="Compare runs item by item: differences with intervals, exact tests, flips.",
        epilog=_EPILOG,
    )
    parser.add_argument("baseline", metavar="A", help="the baseline")
    parser.add_argument("challenger", metavar="B", nargs="+", help="what is compared with it")
    add_selection(parser)
    parser.add_argument(
        "--flips", type=int, metavar="N", help="examples of each task in each direction"
    )
    parser.add_argument("--all-tasks", action="store_true", help="show every subtask of a group")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print JSON")
    shape.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--html", metavar="FILE", help="write a page as well")
    parser.add_argument(
        "--fail-on-worse", action="store_true", help="exit code 3 where a challenger is worse"
    )
    return parser


def _count_examples(arguments: Any) -> int:
    if arguments.flips is not None:
        return int(arguments.flips)
    return _EXAMPLES_KEPT if arguments.json or arguments.html else _EXAMPLES


def _write(comparison: Comparison, arguments: Any) -> None:
    from llmeval.reports.compare import to_html, to_markdown, to_plain

    if arguments.html is not None:
        write_and_tell(arguments.html, to_html(comparison))
    if arguments.json:
        print(json.dumps(to_plain(comparison), indent=2, ensure_ascii=False, allow_nan=False))
    elif arguments.markdown:
        print(to_markdown(comparison))
    else:
        _print_text(comparison, arguments)


def _print_text(comparison: Comparison, arguments: Any) -> None:
    from llmeval.cli.columns import print_lines, terminal_width
    from llmeval.cli.comparison import render
    from llmeval.cli.streams import has_color

    stream = sys.stdout
    most = _EXAMPLES if arguments.flips is None else arguments.flips
    lines = render(
        comparison,
        terminal_width(stream),
        color=has_color(stream),
        all_tasks=arguments.all_tasks,
        examples=most,
    )
    print_lines(lines, stream)


def _check_gate(comparison: Comparison) -> None:
    """Pass only what was tested; what could not be is told.

    Raises:
        GateFailed: a challenger is worse.
        InvalidResult: of one, nothing could be tested.
    """
    if comparison.is_worse:
        what = f"worse than the baseline: {_name(comparison, 'worse')}"
        raise GateFailed(what, where="--fail-on-worse")
    for pair in comparison.pairs:
        if pair.count("not estimable") == pair.family_size("headline"):
            what = f"nothing could be tested of {pair.challenger.label}"
            raise InvalidResult(what, where="--fail-on-worse", mend="see why above")
    if untested := _name(comparison, "not estimable"):
        say(one_line(f"--fail-on-worse: not tested: {untested}"))


def _name(comparison: Comparison, verdict: Verdict) -> str:
    """Return the headlines with this verdict in words."""
    found = [
        f"{pair.challenger.label}: {row.name} {row.metric}"
        for pair in comparison.pairs
        for row in pair.rows
        if row.is_headline and row.verdict == verdict
    ]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"{'; '.join(found[:3])}{more}"
