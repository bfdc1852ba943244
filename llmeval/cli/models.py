"""``llmeval models``: the kinds of model that can be named."""

from __future__ import annotations

from collections.abc import Sequence

from llmeval.cli.parser import Parser


def main(argv: Sequence[str]) -> int:
    parser = Parser(
        prog="llmeval models",
        description="List the kinds of model that `llmeval run -m` takes.",
        epilog="example:\n  llmeval models\n  llmeval run -m baseline:random -t pocket",
    )
    parser.parse_args(argv)
    from llmeval.models import list_models

    rows = list_models()
    width = max(len(row.spec) for row in rows)
    for row in rows:
        state = "ready" if row.ready else "-"
        note = "" if row.ready else f" ({row.mend})"
        print(f"{row.spec.ljust(width)}  {state:5}  {row.about}{note}")
    return 0
