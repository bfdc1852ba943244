"""``llmeval view``: look at runs and their samples in a browser."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmeval.cli.new_files import write_and_tell
from llmeval.cli.parser import Parser
from llmeval.cli.streams import one_line, say
from llmeval.core.errors import UsageError

if TYPE_CHECKING:
    from llmeval.runs import Run

_EPILOG = """examples:
  llmeval view                          the latest run, as <run-id>.html
  llmeval view latest --html run.html --open
  llmeval view RUN_A RUN_B              side by side, with what changed
  llmeval view --serve                  a local server for all runs of results/
  llmeval view --serve RUN --port 8800

A run is a folder, an id, the beginning of one, a tag, or `latest`. A page holds everything: it
needs no server and no network. Runs of some 50,000 samples or more are better served.
"""


def main(argv: Sequence[str]) -> int:
    arguments = _build_parser().parse_args(argv)
    return _serve(arguments) if arguments.serve else _write(arguments)


def _build_parser() -> Parser:
    parser = Parser(
        prog="llmeval view",
        description="Look at runs: results, slices, calibration, and every sample.",
        epilog=_EPILOG,
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="the latest by default")
    parser.add_argument("--html", metavar="FILE", help="write this file; <run-id>.html by default")
    parser.add_argument("--serve", action="store_true", help="serve on this machine, read-only")
    parser.add_argument("--port", type=int, metavar="N", help="of --serve; a free one by default")
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    parser.add_argument(
        "--across-forms", action="store_true", help="compare two runs that were asked differently"
    )
    parser.add_argument("-o", "--out", metavar="DIR", help="the folder of records (results)")
    return parser


def _find(arguments: argparse.Namespace, names: Sequence[str]) -> list[Run]:
    from llmeval.runs.find import find_run

    runs = [find_run(name, arguments.out) for name in names]
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise UsageError("a run is named twice", where=", ".join(names))
    return runs


def _write(arguments: argparse.Namespace) -> int:
    from llmeval.reports.view import LARGE_PAGE, write_page

    if arguments.port is not None:
        raise UsageError("a page has no port", where="--port", mend="it goes with --serve")
    runs = _find(arguments, arguments.runs or ["latest"])
    pages = [runs] if len(runs) <= 2 else [[run] for run in runs]
    if arguments.html and len(pages) > 1:
        what = f"{len(pages)} runs make a page each"
        raise UsageError(what, where="--html", mend="name one run, or two to compare")
    for shown in pages:
        name = arguments.html or f"{'-vs-'.join(run.id for run in shown)}.html"
        path = write_and_tell(name, write_page(shown, across_forms=arguments.across_forms))
        if path.stat().st_size > LARGE_PAGE:
            ids = " ".join(run.id for run in shown)
            say(one_line(f"a page of this size opens slowly: llmeval view --serve {ids}"))
        if arguments.open:
            _open(path.resolve().as_uri())
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    from llmeval.reports.view.serve import Library, ViewServer
    from llmeval.runs.find import records_folder

    if arguments.html:
        raise UsageError("a server writes no page", where="--html", mend="leave --serve out")
    port = arguments.port or 0
    if not 0 <= port <= 65535:
        raise UsageError(f"{port} is no port", where="--port", mend="0 to 65535")
    runs = _find(arguments, arguments.runs)
    folder = records_folder(arguments.out)
    if not runs and not folder.is_dir():
        raise UsageError("no such folder", where=str(folder), mend="name a run, or --out DIR")
    library = Library(runs, folder, across_forms=arguments.across_forms)
    with ViewServer(library, port) as server:
        url = server.url_of(runs)
        print(url, flush=True)
        say("Ctrl-C ends the server")
        if arguments.open:
            _open(url)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            say("")
    return 0


def _open(url: str) -> None:
    import webbrowser

    if not webbrowser.open(url):
        say(one_line(f"no browser could be opened: open {url}"))
