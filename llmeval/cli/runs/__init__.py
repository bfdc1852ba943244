"""``llmeval runs``: find, read, compare, name and remove run records. One file a verb."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from llmeval.cli.parser import Parser

_EPILOG = """examples:
  llmeval runs ls                        newest first
  llmeval runs ls --model qwen --task mmlu --status complete --limit 5
  llmeval runs show latest               what a run was, in words, and its results
  llmeval runs diff 20260101-12 latest   exit code 3 where they differ
  llmeval runs tag latest baseline       the tag then names the run wherever RUN stands
  llmeval runs rm 20260101-12 --dry-run
  llmeval runs import lm_eval_output/    lm-eval's results and samples as records
  llmeval runs track latest mlflow:sqlite:///mlflow.db

RUN is the folder of a record, a run's id, the beginning of one, a tag, or latest.
"""

_MODULES = {"import": "imports"}  # a keyword is no module's name
_RUN = "folder, id, beginning of an id, tag, or latest"


def main(argv: Sequence[str]) -> int:
    arguments = _build_parser().parse_args(argv)
    name = _MODULES.get(arguments.verb, arguments.verb)
    module = importlib.import_module(f"llmeval.cli.runs.{name}")
    return int(module.main(arguments))


def _build_parser() -> Parser:
    parser = Parser(
        prog="llmeval runs",
        description="Find, read, compare, name and remove run records.",
        epilog=_EPILOG,
    )
    verbs = parser.add_subparsers(
        dest="verb", metavar="ls|show|diff|tag|rm|import|track", title="verbs", required=True
    )
    ls = _add_ls(verbs.add_parser("ls", help="list runs, newest first"))
    show = verbs.add_parser("show", help="say what a run was, and its results")
    show.add_argument("run", metavar="RUN", help=_RUN)
    show.add_argument("--json", action="store_true", help="the manifest and the summary as JSON")
    show.add_argument("--all-tasks", action="store_true", help="every subtask of large groups")
    diff = verbs.add_parser("diff", help="what differs between two runs: exit code 3 if anything")
    diff.add_argument("before", metavar="A", help=_RUN)
    diff.add_argument("after", metavar="B", help=_RUN)
    diff.add_argument("--json", action="store_true", help="as JSON, values in full")
    tag = _add_tag(verbs.add_parser("tag", help="give a run a name, list the names, remove one"))
    rm = _add_rm(verbs.add_parser("rm", help="remove records; answers stay in the journal"))
    imported = verbs.add_parser("import", help="make records of what lm-eval wrote")
    imported.add_argument(
        "paths", nargs="+", metavar="PATH", help="--output_path or results_*.json"
    )
    track = verbs.add_parser("track", help="log a record to MLflow or Weights & Biases")
    track.add_argument("run", metavar="RUN", help=_RUN)
    track.add_argument("target", metavar="TOOL:WHERE", help="mlflow:URI or wandb:[ENTITY/]PROJECT")
    track.add_argument("--tables", action="store_true", help="upload the Parquet files, too")
    for one in (ls, show, diff, tag, rm, imported, track):
        one.add_argument("-o", "--out", metavar="DIR", help="the folder of records (results)")
    return parser


def _add_ls(ls: Parser) -> Parser:
    ls.add_argument("--tag", help="the run that has this tag")
    ls.add_argument("--model", metavar="NAME", help="part of a model's name, or a pattern with *")
    ls.add_argument("--task", metavar="NAME", help="part of a task's name, or a pattern with *")
    ls.add_argument("--status", help="complete, interrupted, invalid, running or broken")
    ls.add_argument("--limit", type=int, metavar="N", help="only the newest N of them")
    ls.add_argument("--json", action="store_true", help="as a JSON list")
    return ls


def _add_tag(tag: Parser) -> Parser:
    tag.add_argument("run", nargs="?", metavar="RUN", help=_RUN)
    tag.add_argument("name", nargs="?", metavar="NAME", help="begins with a letter")
    tag.add_argument("--move", action="store_true", help="take the tag from the run that has it")
    tag.add_argument("-d", "--delete", metavar="NAME", help="remove a tag; its run stays")
    tag.add_argument("--ls", action="store_true", help="list the tags and their runs")
    return tag


def _add_rm(rm: Parser) -> Parser:
    rm.add_argument("runs", nargs="+", metavar="RUN", help=_RUN)
    rm.add_argument("--yes", "-y", action="store_true", help="do not ask")
    rm.add_argument("--dry-run", action="store_true", help="say what would go, and remove nothing")
    rm.add_argument("--force", action="store_true", help="also runs that have a tag, which goes")
    return rm
