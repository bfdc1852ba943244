"""``llmeval rerun``: a run once more, from its manifest, and whether the same comes out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from llmeval.cli.parser import Parser
from llmeval.cli.streams import one_line, say
from llmeval.core.errors import GateFailed

if TYPE_CHECKING:
    from llmeval.rerun import Rerun
    from llmeval.runs import Run
    from llmeval.runs.agreement import Agreement

_EPILOG = """examples:
  llmeval rerun latest
  llmeval rerun 20260101-12 --epsilon 1e-3     what counts as equivalent
  llmeval rerun baseline -a device=cuda        with another setting of the model
  llmeval rerun latest --from-journal          score the journaled answers anew; asks nothing

The model is asked anew; a rerun that was broken off continues with the same command.
Exit codes: 0 byte-identical or equivalent, 3 something differs, 4 the result is invalid.
"""

_NAMED = 5  # items
_KINDS = {
    "missing": ("item is", "items are", "not there any more"),
    "added": ("item is", "items are", "new"),
    "data": ("item has", "items have", "another data row or target"),
    "prompt": ("item was", "items were", "asked in other words"),
    "answer": ("item has", "items have", "another answer"),
    "score": ("item has", "items have", "another score for the same answer"),
}


def main(argv: Sequence[str]) -> int:
    arguments = _build_parser().parse_args(argv)
    from llmeval.cli.collector import WakeCollector, resting_collector
    from llmeval.cli.console import make_progress, set_up_logging
    from llmeval.engine import Silent
    from llmeval.rerun import EPSILON, rerun
    from llmeval.runs.agreement import DIFFERENT
    from llmeval.runs.find import find_run

    set_up_logging(arguments.quiet)
    run = find_run(arguments.run, arguments.records)
    progress = Silent() if arguments.quiet else make_progress()
    with resting_collector():
        done = rerun(
            run,
            out=arguments.out,
            settings=arguments.model_args,
            from_journal=arguments.from_journal,
            fresh=arguments.fresh,
            epsilon=EPSILON if arguments.epsilon is None else arguments.epsilon,
            progress=WakeCollector(progress),
            begin=None if arguments.quiet else lambda: say(_announce(run)),
        )
    if arguments.json:
        print(json.dumps(done.to_plain(), indent=2))
    else:
        _print(done)
    return GateFailed.exit_code if done.agreement.verdict == DIFFERENT else 0


def _announce(run: Run) -> str:
    return one_line(f"llmeval: {run.path.name} once more")


def _build_parser() -> Parser:
    parser = Parser(
        prog="llmeval rerun",
        description="Do a run once more, from its manifest, and say whether the same comes out.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="folder, id, beginning of an id, tag, or latest")
    add("--records", metavar="DIR", help="the folder of records that RUN is in (results)")
    add("-o", "--out", metavar="DIR", help="folder for the new record (that of RUN)")
    add("-a", "--model-args", metavar="K=V,...", help="model settings that are to be others")
    add("--epsilon", type=float, metavar="E", help="numbers so close count as equivalent (1e-4)")
    add("--from-journal", action="store_true", help="score journaled answers anew")
    add("--fresh", action="store_true", help="begin again, where a rerun was broken off")
    add("--json", action="store_true", help="print the comparison as JSON, and nothing else")
    add("--quiet", "-q", action="store_true", help="no progress and no warnings")
    return parser


def _print(done: Rerun) -> None:
    from llmeval.cli.columns import print_lines
    from llmeval.cli.runs.diff import print_differences

    print_lines(list(_verdict(done)), sys.stdout)
    if done.results:
        print_differences(done.results)
    if done.differences:
        changed = done.agreement.verdict != "byte-identical"
        print("\nwhat differs, and may be why:" if changed else "\nalthough these differ:")
    print_differences(done.differences)
    print_lines([*_notes(done), "", one_line(f"record: {done.again.path}")], sys.stdout)


def _verdict(done: Rerun) -> Iterator[str]:
    agreement = done.agreement
    yield one_line(f"{done.again.path.name} re-creates {done.original.path.name}")
    n, changed = f"{agreement.items:,}", agreement.num_changed
    if agreement.verdict == "byte-identical":
        yield f"byte-identical: answers and scores of all {n} items are equal to the last bit"
        return
    if agreement.verdict == "equivalent":
        yield (
            f"equivalent within {agreement.epsilon:g}: {agreement.within:,} of {n} items differ"
            " in their last digits"
        )
    else:
        yield f"different: {changed:,} of {n} items changed"
        yield from _changes(agreement)
        if agreement.within:
            yield f"  {agreement.within:,} more differ by no more than {agreement.epsilon:g}"
    yield (
        f"largest difference: {agreement.max_logprob:.3g} of a log-probability,"
        f" {agreement.max_value:.3g} of a score"
    )


def _changes(agreement: Agreement) -> Iterator[str]:
    for kind, items in agreement.changed.items():
        if not items:
            continue
        one, many, what = _KINDS[kind]
        named = ", ".join(f"{task} {sample}" for task, sample in items[:_NAMED])
        more = f" and {len(items) - _NAMED:,} more" if len(items) > _NAMED else ""
        count = f"{len(items):,} {one if len(items) == 1 else many}"
        yield "  " + one_line(f"{count} {what}: {named}{more}")


def _notes(done: Rerun) -> list[str]:
    """Return what may be the cause where answers differ, beside what was listed."""
    if done.agreement.verdict == "byte-identical":
        return []
    if not (done.differences or done.notes):
        return ["", "nothing that the manifests record differs: the model answers otherwise"]
    return ["", *map(one_line, done.notes)] if done.notes else []
