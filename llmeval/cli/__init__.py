"""The command line: one file a verb. Nothing else in this project prints.

Verbs are imported when they are called, so that ``llmeval --help`` takes no time.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from llmeval import __version__
from llmeval.core.errors import Interrupted, LlmevalError

VERBS = {
    "run": "evaluate a model on tasks and write a run record",
    "tasks": "list tasks, or show one",
    "models": "list the kinds of model that can be named",
    "data": "local data sets: list, add, verify, compare",
    "init": "make a workspace: a folder with tasks of your own",
    "doctor": "check this installation with the embedded model's known answers",
}

_EPILOG = """examples:
  llmeval run -m pocket -t pocket
  llmeval run -m hf:gpt2 -t hellaswag,arc_easy --limit 200
  llmeval tasks ls mmlu

exit codes: 0 done, 2 wrong use or configuration, 3 a gate failed, 4 invalid result,
130 interrupted (the same command continues)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="llmeval",
        description="Evaluate language models, with numbers one can trust.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"llmeval {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for verb, about in VERBS.items():
        verbs.add_parser(verb, help=about, add_help=False)
    chosen, rest = parser.parse_known_args(arguments)
    if chosen.verb is None:
        parser.print_help()
        return 2 if rest else 0
    module = importlib.import_module(f"llmeval.cli.{chosen.verb}")
    return _guard(module.main, arguments[arguments.index(chosen.verb) + 1 :])


def _guard(verb: object, arguments: Sequence[str]) -> int:
    """Run a verb; an error becomes one line on stderr and its exit code."""
    assert callable(verb)
    try:
        return int(verb(arguments))
    except LlmevalError as error:
        print(f"llmeval: {error}", file=sys.stderr)
        if isinstance(error, Interrupted):
            _leave_now(error.exit_code)
        return error.exit_code
    except KeyboardInterrupt:
        print("llmeval: interrupted", file=sys.stderr)
        _leave_now(130)
        return 130
    except BrokenPipeError:  # the reader of our output left, e.g. `| head`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
        return 0


def _leave_now(code: int) -> None:
    """Leave without waiting for the model's thread to finish its batch; the journal is safe."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
