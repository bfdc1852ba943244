"""``llmeval data``: local data sets."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmeval.cli.parser import Parser
from llmeval.cli.streams import one_line, say
from llmeval.core.errors import GateFailed, UsageError

if TYPE_CHECKING:
    from llmeval.data.catalog import SplitDiff
    from llmeval.data.diff import NumberedRow

_EPILOG = """examples:
  llmeval data add cais/mmlu --config anatomy --data mirror   from the hub
  llmeval data add questions.jsonl --as me/questions --data mirror
  llmeval data ls --data mirror
  llmeval data verify --data mirror            exit code 3 where something changed
  llmeval data diff old.jsonl new.jsonl        exit code 3 where they differ

DIR is --data or LLMEVAL_DATA. The folder is what `llmeval run --data DIR` reads.
"""

_SHOWN = 10


def main(argv: Sequence[str]) -> int:
    arguments = _build_parser().parse_args(argv)
    verbs = {"add": _add, "ls": _ls, "verify": _verify, "diff": _diff}
    return verbs[arguments.verb](arguments)


def _build_parser() -> Parser:
    parser = Parser(
        prog="llmeval data",
        description="Keep data sets in a local mirror, and tell what changed.",
        epilog=_EPILOG,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="add|ls|verify|diff", required=True)
    add = verbs.add_parser("add", help="copy a data set into the mirror")
    add.add_argument("name", help="hub id, or a local file or folder")
    add.add_argument("--config", help="one config only")
    add.add_argument("--as", dest="as_id", metavar="ORG/NAME", help="the id in the mirror")
    add.add_argument("--revision", help="branch, tag or commit on the hub")
    ls = verbs.add_parser("ls", help="list the mirror")
    verify = verbs.add_parser("verify", help="compare every row with the recorded fingerprints")
    verify.add_argument("name", nargs="?", help="one data set; all by default")
    for one in (add, ls, verify):
        one.add_argument("--data", metavar="DIR", help="the mirror (LLMEVAL_DATA)")
    diff = verbs.add_parser("diff", help="list added, removed and changed rows")
    diff.add_argument("before", help="folder, file or hub id")
    diff.add_argument("after", help="folder, file or hub id")
    diff.add_argument("--config", help="one config only")
    diff.add_argument("--key", metavar="COLUMN", help="the column that names a row")
    diff.add_argument("--all", action="store_true", help=f"every row, not the first {_SHOWN}")
    return parser


def _mirror(arguments: argparse.Namespace) -> Path:
    given = arguments.data or os.environ.get("LLMEVAL_DATA")
    if not given:
        raise UsageError("no mirror was named", where="--data", mend="--data DIR or LLMEVAL_DATA")
    return Path(given)


def _add(arguments: argparse.Namespace) -> int:
    from llmeval.data import catalog

    added = catalog.add(
        arguments.name,
        _mirror(arguments),
        config=arguments.config,
        as_id=arguments.as_id,
        revision=arguments.revision,
    )
    for row in added:
        print(f"{row.id}  {row.config}  {row.split}  {row.rows} rows  {row.digest}")
    return 0


def _ls(arguments: argparse.Namespace) -> int:
    from llmeval.data import catalog

    mirror = _mirror(arguments)
    if not mirror.is_dir():
        raise UsageError("no such folder", where=str(mirror), mend="llmeval data add makes it")
    rows = catalog.ls(mirror)
    width = max((len(row.id) for row in rows), default=0)
    for row in rows:
        digest = row.digest or "not recorded"
        print(f"{row.id.ljust(width)}  {row.config}  {row.split}  {row.rows} rows  {digest}")
    say(f"{len({row.id for row in rows})} data sets")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from llmeval.data import catalog

    mirror = _mirror(arguments)
    if not mirror.is_dir():
        raise UsageError("no such folder", where=str(mirror))
    verdicts = catalog.verify(mirror, arguments.name)
    for v in verdicts:
        problem = f"  {one_line(v.problem)}" if v.problem else ""
        rows = "" if v.rows is None else f"  {v.rows} rows"
        print(f"{v.state:10}  {v.id}  {v.config}  {v.split}{rows}{problem}")
    bad = [v for v in verdicts if v.state in ("changed", "corrupt", "missing")]
    if bad:
        raise GateFailed(f"{len(bad)} of {len(verdicts)} splits are not as recorded")
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    from llmeval.data import catalog

    found = catalog.diff(
        arguments.before, arguments.after, config=arguments.config, key=arguments.key
    )
    bound = None if arguments.all else _SHOWN
    for split in found:
        _print_split(split, bound)
    return 0 if all(split.state == "same" for split in found) else GateFailed.exit_code


def _print_split(split: SplitDiff, bound: int | None) -> None:
    name = f"{split.config} {split.split}"
    if split.rows is None or split.state == "same":
        print(f"{name}: {split.state}")
        return
    rows = split.rows
    print(
        f"{name}: {rows.rows_before} -> {rows.rows_after} rows; {len(rows.added)} added,"
        f" {len(rows.removed)} removed, {len(rows.changed)} changed, {rows.unchanged} unchanged"
        f"{', reordered' if rows.reordered else ''} (changed rows: {rows.rule})"
    )
    _print_rows("+", rows.added, bound)
    _print_rows("-", rows.removed, bound)
    for change in rows.changed[:bound]:
        print(f"  ~ {change.key}: {', '.join(change.columns)}")
        for column in change.columns:
            print(f"      - {_short(change.before.row.get(column))}")
            print(f"      + {_short(change.after.row.get(column))}")
    _print_rest(len(rows.changed), bound)


def _print_rows(sign: str, rows: Sequence[NumberedRow], bound: int | None) -> None:
    for row in rows[:bound]:
        print(f"  {sign} row {row.index}: {_short(dict(row.row))}")
    _print_rest(len(rows), bound)


def _print_rest(count: int, bound: int | None) -> None:
    if bound is not None and count > bound:
        print(f"    and {count - bound} more (--all)")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 160 else f"{text[:157]}..."
