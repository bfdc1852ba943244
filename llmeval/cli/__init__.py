"""The command line: one file a verb. Nothing else in this project prints.

Verbs are imported when they are called, so that ``llmeval --help`` takes no time.
"""

from __future__ import annotations

import atexit
import importlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from llmeval import __version__
from llmeval.cli.parser import Parser
from llmeval.cli.streams import drop_stdout, one_line, open_streams, reader_left, say, say_error
from llmeval.core.errors import Interrupted, LlmevalError, Submitted, UsageError

VERBS = {
    "run": "evaluate a model on tasks and write a run record",
    "runs": "find, read, compare, name and remove run records",
    "rerun": "do a run once more from its manifest, and say whether the same comes out",
    "tasks": "list tasks, or show one",
    "models": "list the kinds of model that can be named",
    "view": "look at runs in a browser: results, slices, calibration, every sample",
    "data": "local data sets: list, add, verify, compare",
    "compare": "compare runs item by item: what differs, how sure that is, what could be seen",
    "slices": "a metric on the parts of a task's samples, of one run or of two",
    "leaderboard": "compare many runs: values with intervals, tiers, averages, cost and speed",
    "regress": "judge a model against its pinned baseline every night, and say why it dropped",
    "init": "make a workspace: a folder with tasks of your own",
    "doctor": "check this installation with the embedded model's known answers",
}

_EPILOG = """examples:
  llmeval run -m pocket -t pocket
  llmeval run -m hf:gpt2 -t hellaswag,arc_easy --limit 200
  llmeval tasks ls mmlu
  llmeval run --help             each verb has its own help, with examples

exit codes: 0 done, 2 wrong use or configuration, 3 a gate failed, 4 invalid result,
130 interrupted (the same command continues), 1 a fault of llmeval itself
"""

INTERNAL_FAULT = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Without ``argv`` this is the whole process, and it ends here: the interpreter would otherwise
    take a second to tear down torch and transformers piece by piece.
    """
    open_streams()
    if argv is not None:
        return _guard(_run_verb, list(argv))
    code = _guard(_run_verb, sys.argv[1:])
    atexit._run_exitfuncs()
    _leave_now(code)


def _run_verb(arguments: Sequence[str]) -> int:
    first = arguments[0] if arguments else "--help"
    if first in VERBS:
        module = importlib.import_module(f"llmeval.cli.{first}")
        return int(module.main(arguments[1:]))
    if first == "--version":
        print(f"llmeval {__version__}")
        return 0
    if first not in ("-h", "--help", "help"):
        raise _unknown_verb(first)
    _build_parser().print_help()
    return 0


def _build_parser() -> Parser:
    """Return the parser that prints the help; the verbs read their own arguments."""
    parser = Parser(
        prog="llmeval",
        description="Evaluate language models, with numbers one can trust.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="store_true", help="show the version")
    verbs = parser.add_subparsers(metavar="VERB", title="verbs")
    for verb, about in VERBS.items():
        verbs.add_parser(verb, help=about, add_help=False)
    return parser


def _unknown_verb(word: str) -> UsageError:
    import difflib

    near = difflib.get_close_matches(word, VERBS, n=1)
    guess = f"did you mean {near[0]}? " if near else ""
    what = f"unknown option {word}" if word.startswith("-") else f"unknown verb {word!r}"
    return UsageError(what, mend=f"{guess}the verbs are {', '.join(VERBS)}")


def _guard(verb: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run a verb; an error becomes one line on stderr and its exit code, never a traceback."""
    try:
        with _signals_interrupt():
            code = verb(arguments)
            sys.stdout.flush()
            return code
    except SystemExit as done:  # argparse, after --help and --version
        return done.code if isinstance(done.code, int) else 0
    except Interrupted as error:
        say_error(str(error))
        _leave_now(error.exit_code)
    except Submitted as news:
        say(one_line(f"llmeval: {news}"))
        return news.exit_code
    except LlmevalError as error:
        say_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        say_error("interrupted; the same command continues")
        _leave_now(Interrupted.exit_code)
    except BrokenPipeError as error:
        return _explain_broken_pipe(error)
    except OSError as error:
        return _explain_os_error(error)
    except MemoryError:
        say_error("out of memory (a smaller --batch-size or --window needs less)")
        return LlmevalError.exit_code
    except Exception as error:
        return _report_fault(error)


def _explain_broken_pipe(error: BrokenPipeError) -> int:
    """Tell the reader of our output that left (``| head``), which is fine, from any other pipe."""
    if reader_left(sys.stdout):
        drop_stdout()
        return 0
    return _report_fault(error)


def _explain_os_error(error: OSError) -> int:
    """Say what the system refused; deeper rooms explain what they know more about."""
    drop_stdout()
    try:
        Path.cwd()
    except OSError:
        say_error("the working folder does not exist any more (cd to one that does)")
        return LlmevalError.exit_code
    where = f"{error.filename}: " if error.filename else ""
    say_error(f"{where}{error.strerror or error}")
    return LlmevalError.exit_code


def _report_fault(error: Exception) -> int:
    """Keep the traceback of a fault of ours in a file, and say where it is."""
    import traceback

    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="llmeval-fault-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            traceback.print_exception(error, file=file)
        mend = f"please report it with {file.name}"
    except OSError:
        mend = "please report it"
    say_error(f"a fault of llmeval itself: {type(error).__name__}: {error} ({mend})")
    return INTERNAL_FAULT


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and a lost terminal end a run as Ctrl-C does; leave what nohup set."""
    kept = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_DFL:
                kept[number] = signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _leave_now(code: int) -> NoReturn:
    """Leave without waiting for threads, such as a model's that is amid a batch.

    Nothing is lost: what was answered is journaled.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            continue
    os._exit(code)
