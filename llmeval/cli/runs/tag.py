"""``llmeval runs tag``: names for runs."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from llmeval.cli.columns import print_table
from llmeval.cli.streams import one_line, say
from llmeval.core.errors import UsageError
from llmeval.runs.find import find_run, records_folder
from llmeval.runs.tags import read_tags, remove_tags, set_tag

_USES = "`llmeval runs tag RUN NAME`, `runs tag -d NAME` or `runs tag --ls`"


def main(arguments: Namespace) -> int:
    folder = records_folder(arguments.out)
    if arguments.out is not None and not folder.is_dir():
        raise UsageError("no such folder", where=str(folder))
    chosen = [bool(arguments.run), arguments.delete is not None, arguments.ls]
    if sum(chosen) != 1 or (arguments.run and not arguments.name):
        raise UsageError("it is not clear what to do with which tag", mend=_USES)
    if arguments.ls:
        return _list(folder)
    if arguments.delete is not None:
        remove_tags(folder, arguments.delete)
        return 0
    return _tag(folder, arguments)


def _list(folder: Path) -> int:
    tags = read_tags(folder)
    rows = [
        (tag, run_id, "" if (folder / run_id / "manifest.json").is_file() else "its run is gone")
        for tag, run_id in sorted(tags.items())
    ]
    if rows:
        print_table(("tag", "run", "problem"), rows, sys.stdout, text=("run", "problem"))
    say(one_line(f"{len(rows)} {'tag' if len(rows) == 1 else 'tags'} in {folder}"))
    return 0


def _tag(folder: Path, arguments: Namespace) -> int:
    path = find_run(arguments.run, arguments.out).path.resolve()
    if path.parent != folder.resolve():
        raise UsageError(
            f"its record is not in {folder}, where tags are kept",
            where=arguments.run,
            mend=f"--out {path.parent}",
        )
    before = set_tag(folder, arguments.name, path.name, move=arguments.move)
    moved = f" (before: {before})" if before not in (None, path.name) else ""
    print(one_line(f"{arguments.name}: {path.name}{moved}"))
    return 0
