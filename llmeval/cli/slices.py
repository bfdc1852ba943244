"""``llmeval slices``: a task's metric on the parts of its samples, of one run or of two."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmeval.cli.parser import Parser
from llmeval.cli.selection import add_selection, read_selection

if TYPE_CHECKING:
    from llmeval.cli.page import Page
    from llmeval.reports.compare import Options
    from llmeval.reports.compare.slices import Cut, SliceComparison
    from llmeval.reports.slices import Slice
    from llmeval.runs import Run

_EPILOG = """examples:
  llmeval slices latest
  llmeval slices latest --tasks pocket_mmlu --key subject
  llmeval slices RUN_A RUN_B --key language      where does the difference come from?

Slices are cut by what a task keeps of each sample: `metadata` in its YAML. With two runs, the
p-values of one cut are adjusted together by Holm. docs/comparing.md tells what the columns mean.
"""

ONE_AMONG_MANY = (
    "Slices are looked at together: a small one that stands out by itself is seldom a finding."
)


@dataclass(frozen=True, slots=True)
class _Table:
    """One task's slices by one key, of one run."""

    task: str
    metric: str
    higher_is_better: bool
    key: str
    slices: list[Slice]


def main(argv: Sequence[str]) -> int:
    arguments = _build_parser().parse_args(argv)
    from llmeval.runs.find import find_run

    options = read_selection(arguments)
    run = find_run(arguments.run, arguments.out)
    if arguments.other is None:
        _show_one(run, options, arguments)
    else:
        _show_two((run, find_run(arguments.other, arguments.out)), options, arguments)
    return 0


def _build_parser() -> Parser:
    parser = Parser(
        prog="llmeval slices",
        description="Show a metric on the parts of a task's samples, of one run or two.",
        epilog=_EPILOG,
    )
    parser.add_argument("run", metavar="RUN", help="the run, or the baseline")
    parser.add_argument("other", metavar="RUN2", nargs="?", help="a run to compare with it")
    parser.add_argument(
        "--key", metavar="KEY", action="append", help="cut by this key; may be repeated"
    )
    add_selection(parser)
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print JSON")
    shape.add_argument("--markdown", action="store_true", help="print Markdown")
    return parser


# -- one run ---------------------------------------------------------------------------------------


def _show_one(run: Run, options: Options, arguments: Any) -> None:
    tables = list(_cut(run, options, arguments.key))
    if not tables:
        from llmeval.reports.compare.slices import no_slices

        raise no_slices(run, arguments.key)
    if arguments.json:
        _print_json("slices", run_id=run.id, status=run.status, cuts=[_plain(t) for t in tables])
        return
    if arguments.markdown:
        print("\n".join(_mark_down_one(run, tables)))
        return
    from llmeval.cli.columns import print_lines

    page = _page()
    lines = page.wrap(f"{run.summary['model']['name']}  {run.id}  ({run.status})")
    for table in tables:
        lines += ["", *_render_one(table, page)]
    print_lines([*lines, "", *page.wrap(ONE_AMONG_MANY)], sys.stdout)


def _cut(run: Run, options: Options, keys: Sequence[str] | None) -> Iterator[_Table]:
    from llmeval.reports.compare.selection import select
    from llmeval.reports.items import read_items
    from llmeval.reports.slices import read_labels, slice_scores

    entries, _ = select(run, run, options.wanted)
    for entry in entries:
        if entry.is_group or not run.summary["tasks"][entry.name]["n"]:
            continue  # a run that was stopped may not have come to it
        labels = read_labels(run, entry.name)
        chosen = labels.find_keys() if keys is None else keys
        scored = {metric: read_items(run, entry.name, metric) for metric in entry.metrics}
        for key in (key for key in chosen if key in labels.by_key):
            for metric in entry.metrics:
                higher = run.summary["tasks"][entry.name]["metrics"][metric]["higher_is_better"]
                slices = slice_scores(labels, scored[metric], key)
                yield _Table(entry.name, metric, higher, key, slices)


def _render_one(table: _Table, page: Page) -> list[str]:
    from llmeval.cli.columns import lay_out
    from llmeval.cli.streams import BOLD, paint

    head, rows = _tabulate(table)
    lines = lay_out(head, rows, width=page.width, color=page.color)
    return [paint(page.crop(_title(table)), BOLD, page.color), "", *lines]


def _mark_down_one(run: Run, tables: Sequence[_Table]) -> Iterator[str]:
    from llmeval.reports.formats import code_span, escape_markdown, to_markdown

    name = escape_markdown(run.summary["model"]["name"])
    yield f"{name}, run {code_span(run.id)} ({run.status})"
    for table in tables:
        yield f"\n### {escape_markdown(_title(table))}\n"
        yield to_markdown(*_tabulate(table))
    yield f"\n<sub>{ONE_AMONG_MANY}</sub>"


def _title(table: _Table) -> str:
    arrow = "↑" if table.higher_is_better else "↓"
    return f"{table.task}: {table.metric} {arrow} by {table.key}"


def _tabulate(table: _Table) -> tuple[tuple[str, ...], list[list[str]]]:
    from llmeval.reports.formats import format_interval, format_value

    rows = [
        [
            one.value,
            f"{one.samples:,}",
            f"{one.estimate.n:,}",
            format_value(one.estimate.value),
            format_interval(one.estimate.ci95),
        ]
        for one in table.slices
    ]
    return (table.key, "samples", "n", table.metric, "95% interval"), rows


def _plain(table: _Table) -> dict[str, Any]:
    from llmeval.reports.compare.plain import estimate_to_plain

    return {
        "task": table.task,
        "metric": table.metric,
        "higher_is_better": table.higher_is_better,
        "key": table.key,
        "slices": [
            {
                "value": one.value,
                "samples": one.samples,
                "estimate": estimate_to_plain(one.estimate),
            }
            for one in table.slices
        ],
    }


# -- two runs --------------------------------------------------------------------------------------


def _show_two(runs: tuple[Run, Run], options: Options, arguments: Any) -> None:
    from llmeval.reports.compare.slices import compare_slices

    found = compare_slices(runs, options, arguments.key)
    if arguments.json:
        from llmeval.reports.compare.plain import contestant_to_plain, cut_to_plain

        _print_json(
            "slice comparison",
            baseline=contestant_to_plain(found.baseline),
            challenger=contestant_to_plain(found.challenger),
            cuts=[cut_to_plain(cut) for cut in found.cuts],
        )
        return
    if arguments.markdown:
        print("\n".join(_mark_down_two(found)))
        return
    from llmeval.cli.columns import print_lines

    page = _page()
    lines = [line for told in _introduce(found) for line in page.wrap(told)]
    for cut in found.cuts:
        lines += ["", *_render_two(cut, found, page)]
    lines.append("")
    for note in _fine_print():
        lines += page.wrap(note)
    print_lines([line.rstrip() for line in lines], sys.stdout)


def _introduce(found: SliceComparison) -> Iterator[str]:
    for letter, one in (("A", found.baseline), ("B", found.challenger)):
        status = "" if one.status == "complete" else f"  ({one.status})"
        yield f"{letter}  {one.model}  {one.run_id}{status}"


def _fine_print() -> tuple[str, ...]:
    from llmeval.reports.compare.comparison import POPULATION
    from llmeval.reports.compare.words import MDE, TESTS

    holm = "p is adjusted by Holm over the slices of one table."
    return ONE_AMONG_MANY, f"{holm} {TESTS}", MDE, POPULATION


def _mark_down_two(found: SliceComparison) -> Iterator[str]:
    from llmeval.reports.compare.markdown import tabulate_rows
    from llmeval.reports.formats import escape_markdown

    for told in _introduce(found):
        yield f"- {escape_markdown(told)}"
    for cut in found.cuts:
        yield f"\n### {escape_markdown(_title_of(cut))}\n"
        yield tabulate_rows(cut.rows, (found.baseline.label, found.challenger.label), cut.key)
        for note in _tell_of_rows(cut):
            yield f"\n{escape_markdown(note)}"
    yield f"\n<sub>{escape_markdown(' '.join(_fine_print()))}</sub>"


def _title_of(cut: Cut) -> str:
    left_out = sum(one.count for one in cut.excluded)
    without = f", {left_out:,} not compared (`llmeval compare` names them)" if left_out else ""
    return f"{cut.task}: {cut.metric} by {cut.key}{without}"


def _tell_of_rows(cut: Cut) -> Iterator[str]:
    from llmeval.reports.compare.words import FORM_MARK

    if any(row.across for row in cut.rows):
        yield f"{FORM_MARK} asked in different forms"
    yield from (f"{row.name}: {row.why}" for row in cut.rows if row.verdict == "not estimable")


def _render_two(cut: Cut, found: SliceComparison, page: Page) -> list[str]:
    from llmeval.cli.row_tables import tabulate_rows
    from llmeval.cli.streams import BOLD, paint

    names = found.baseline.label, found.challenger.label
    lines = [paint(page.crop(_title_of(cut)), BOLD, page.color)]
    lines += tabulate_rows(cut.rows, ("A", "B"), names, page, cut.key)
    return lines + [line for told in _tell_of_rows(cut) for line in page.wrap(told)]


def _print_json(kind: str, **content: Any) -> None:
    told = {"format": 1, "kind": kind, **content}
    print(json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False))


def _page() -> Page:
    from llmeval.cli.columns import terminal_width
    from llmeval.cli.page import Page
    from llmeval.cli.streams import has_color

    return Page(terminal_width(sys.stdout), has_color(sys.stdout))
