"""``llmeval models``: the kinds of model that can be named."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="llmeval models",
        description="List the kinds of model that `llmeval run -m` takes.",
        epilog="example:\n  llmeval models",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(argv)
    from llmeval.models import list_models

    rows = list_models()
    width = max(len(row.spec) for row in rows)
    for row in rows:
        note = "" if row.ready else f" ({row.mend})"
        print(f"{row.spec.ljust(width)}  {row.about}{note}")
    return 0
