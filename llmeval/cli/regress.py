"""``llmeval regress``: the nightly gate."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmeval.cli.new_files import write_and_tell
from llmeval.cli.parser import Parser
from llmeval.cli.streams import drop_stdout, one_line, say
from llmeval.core.errors import StorageError, UsageError

if TYPE_CHECKING:
    from llmeval.nightly import Nightly, Plan
    from llmeval.reports.regress.night import Night
    from llmeval.reports.regress.settings import GateSettings
    from llmeval.run_spec import RunSpec

_EPILOG = """examples:
  llmeval regress --init                       writes nightly.yaml and a GitHub Actions workflow
  llmeval regress nightly.yaml --plan          what a night can tell and costs; asks nothing
  llmeval regress nightly.yaml                 asks the models anew and judges them
  llmeval regress nightly.yaml --set-baseline latest
  llmeval regress nightly.yaml --run RUN       judges a record that is there already
  llmeval regress --baseline RUN --run RUN     compares two records; no model, no file

verdicts: PASS, REGRESSED, INCONCLUSIVE (with the number of items that would decide), INVALID
exit codes: 0 PASS, 3 REGRESSED, 3 or 0 INCONCLUSIVE (by policy), 4 INVALID, 2 wrong use,
130 interrupted (the same command continues the night)
"""

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
_ACTS = ("run", "plan", "fresh", "set_baseline", "forget_nights")
_GATE = ("tolerance", "alpha", "inconclusive", "unscored", "max_errors", "max_coverage_drop")


def main(argv: Sequence[str]) -> int:
    arguments = _build_parser().parse_args(argv)
    if arguments.init is not None:
        from llmeval.cli.regress_files import write_files

        return write_files(Path(arguments.init))
    _check_use(arguments)
    if arguments.file is None:
        return _report(_compare(arguments), arguments)
    from llmeval.nightly import read_nightly

    nightly = read_nightly(arguments.file)
    if arguments.set_baseline is not None:
        return _set_baseline(nightly, arguments)
    if arguments.forget_nights:
        return _forget(nightly, arguments)
    if arguments.plan:
        return _plan(nightly, arguments)
    return _report(_judge(nightly, arguments), arguments)


def _build_parser() -> Parser:
    parser = Parser(
        prog="llmeval regress",
        usage="llmeval regress NIGHTLY.yaml [--plan] [options]\n"
        "       llmeval regress --baseline RUN --run RUN [options]\n"
        "       llmeval regress --init [DIR]",
        description="Judge whether a model is worse than its pinned baseline, and say why.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("file", nargs="?", metavar="NIGHTLY.yaml", help="models, tasks, baselines, tolerances")
    add("--run", action="append", metavar="RUN", help="judge this record; ask no model")
    add("--baseline", metavar="RUN|FILE", help="the record to compare with (or a file of it)")
    add("--plan", action="store_true", help="say what a night can tell and costs; ask nothing")
    add("--fresh", action="store_true", help="ask anew although tonight has its verdict")
    add(
        "--set-baseline",
        metavar="RUN",
        help="pin a record, a night or `latest` in the nightly file, with its digest",
    )
    add("--forget-nights", action="store_true", help="let the evidence over nights begin anew")
    add("--init", nargs="?", const=".", metavar="DIR", help="write a nightly file and a workflow")
    add("-o", "--out", metavar="DIR", help="folder of records (results)")
    add("--quiet", "-q", action="store_true", help="no progress, no plan and no warnings")
    _add_gate_options(parser)
    _add_outputs(parser)
    return parser


def _add_gate_options(parser: Parser) -> None:
    add = parser.add_argument_group("two records without a nightly file").add_argument
    add("-t", "--tasks", metavar="TASK,...", help="judge only these tasks or groups")
    add("--tolerance", type=float, metavar="X", help="how much worse is still good (0.02)")
    add("--alpha", type=float, metavar="P", help="chance of any wrong verdict (0.05)")
    add("--inconclusive", choices=("fail", "pass"), help="what an undecided task does (fail)")
    add("--unscored", choices=("invalid", "wrong"), help="answers that cannot be judged (invalid)")
    add("--max-errors", type=float, metavar="SHARE", help="more errored items: invalid (0.05)")
    add("--max-coverage-drop", type=float, metavar="SHARE", help="more unscored: invalid (0.01)")
    add("--data", metavar="DIR", help="local mirror of data sets (LLMEVAL_DATA)")


def _add_outputs(parser: Parser) -> None:
    add = parser.add_argument_group("output").add_argument
    add("--json", action="store_true", help="print the result as JSON, and nothing else")
    add("--markdown", nargs="?", const="-", metavar="FILE", help="Markdown, to a file or stdout")
    add("--junit", metavar="FILE", help="JUnit XML: a test case for each task")
    add("--html", metavar="FILE", help="one self-contained page")


def _check_use(arguments: Any) -> None:
    given = [name for name in _GATE if getattr(arguments, name) is not None]
    acts = [name for name in _ACTS if getattr(arguments, name)]
    if len(acts) > 1:
        options = " and ".join(f"--{name.replace('_', '-')}" for name in acts)
        raise UsageError(f"{options} exclude each other", mend="one at a time")
    if arguments.json and arguments.markdown == "-":
        raise UsageError("--json and --markdown share stdout", mend="--markdown FILE")
    if arguments.file is None:
        if not (arguments.baseline and arguments.run):
            mend = "NIGHTLY.yaml, or --baseline RUN --run RUN; --init writes a file to begin with"
            raise UsageError("nothing to judge", where="llmeval regress", mend=mend)
        if len(arguments.run) > 1:
            raise UsageError("one record is compared with the baseline", where="--run")
        return
    if not arguments.file.endswith((".yaml", ".yml")):
        mend = "a nightly file ends with .yaml; a record is named with --run"
        raise UsageError(f"unexpected {arguments.file!r}", mend=mend)
    if arguments.baseline:
        mend = "pin it in the file: --set-baseline RUN"
        raise UsageError("the file names the baseline", where="--baseline", mend=mend)
    if given or arguments.tasks or arguments.data:
        name = (given or ["tasks" if arguments.tasks else "data"])[0]
        option = "--" + name.replace("_", "-")
        raise UsageError("the nightly file says this", where=option, mend=f"set {name}: there")


def _compare(arguments: Any) -> Night:
    from llmeval.cli.run_options import split_names
    from llmeval.nightly import compare_records
    from llmeval.runs.find import find_run

    baseline = find_run(_record_of(arguments.baseline), arguments.out)
    run = find_run(_record_of(arguments.run[0]), arguments.out)
    data = arguments.data or os.environ.get("LLMEVAL_DATA")
    only = split_names(arguments.tasks) if arguments.tasks else ()
    return compare_records(baseline, run, _read_gate(arguments), only=only, data=data)


def _record_of(name: str) -> str:
    """Return the record that a file of it belongs to."""
    path = Path(name)
    return (
        str(path.parent) if path.is_file() and (path.parent / "manifest.json").is_file() else name
    )


def _read_gate(arguments: Any) -> GateSettings:
    from llmeval.reports.regress.settings import GateSettings

    given = {name: getattr(arguments, name) for name in _GATE}
    limits = {"tolerance": (0.0, None), "alpha": (0.0, 0.5)}
    for name, value in given.items():
        low, high = limits.get(name, (None, None))
        too_low = low is not None and value is not None and not value > low
        if too_low or (high is not None and value is not None and not value < high):
            raise UsageError(f"out of range: {value}", where=f"--{name.replace('_', '-')}")
    return GateSettings(**{name: value for name, value in given.items() if value is not None})


def _judge(nightly: Nightly, arguments: Any) -> Night:
    """Ask and judge, or judge the records that are named."""
    from llmeval.cli.console import set_up_logging

    set_up_logging(arguments.quiet)
    if arguments.run:
        from llmeval.nightly import judge_records
        from llmeval.runs.find import find_run

        runs = [find_run(_record_of(name), arguments.out) for name in arguments.run]
        return judge_records(nightly, runs, out=arguments.out)
    from llmeval.cli.collector import WakeCollector, resting_collector
    from llmeval.cli.run import _begin
    from llmeval.nightly import run_night

    with resting_collector():
        return run_night(
            nightly,
            out=arguments.out,
            fresh=arguments.fresh,
            progress=lambda spec: WakeCollector(
                _begin(spec, arguments.quiet, _part_of(spec, nightly))
            ),
            tell=None if arguments.quiet else _tell_plan,
        )


def _part_of(spec: RunSpec, nightly: Nightly) -> str:
    """Return which of the sentinel's repeats a run is; nothing for the night's own run."""
    from llmeval.nightly.folder import draw_of

    draw, sentinel = draw_of(spec.out), nightly.file.sentinel
    return f"sentinel {draw} of {sentinel.repeats}: " if draw and sentinel else ""


def _tell_plan(plan: Plan) -> None:
    """Say what the night can tell before anything is asked."""
    from llmeval.cli.columns import print_lines
    from llmeval.cli.night_table import lay_out_plan

    print_lines(lay_out_plan(plan, sys.stderr), sys.stderr)


def _plan(nightly: Nightly, arguments: Any) -> int:
    from dataclasses import asdict

    from llmeval.cli.columns import print_lines
    from llmeval.cli.console import set_up_logging
    from llmeval.cli.night_table import lay_out_plan
    from llmeval.nightly import plan_night

    set_up_logging(arguments.quiet)
    plan = plan_night(nightly, arguments.out)
    if arguments.json:
        print(json.dumps(asdict(plan), indent=2))
    else:
        print_lines(lay_out_plan(plan, sys.stdout), sys.stdout)
    return plan.exit_code


def _set_baseline(nightly: Nightly, arguments: Any) -> int:
    from llmeval.nightly import doubt_pins, set_baselines

    pinned = set_baselines(nightly, arguments.set_baseline, arguments.out)
    for label, run, digest in pinned:
        print(one_line(f"{nightly.path}: baseline of {label}: {run.path} ({digest})"))
    for doubt in doubt_pins(nightly, [run for _, run, _ in pinned]):
        say(one_line(f"llmeval: warning: {doubt}"))
    return 0


def _forget(nightly: Nightly, arguments: Any) -> int:
    from llmeval.nightly import forget

    count = forget(nightly, arguments.out)
    nights = "1 night" if count == 1 else f"{count} nights"
    print(f"{nightly.name}: {nights} forgotten; the evidence begins anew")
    return 0


def _report(night: Night, arguments: Any) -> int:
    """Show a night in every way that is asked for; its verdict decides the exit code."""
    try:
        _print(night, arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        drop_stdout()
    _write_files(night, arguments)  # last: what cannot be written hides no verdict
    return night.exit_code


def _print(night: Night, arguments: Any) -> None:
    if arguments.json:
        from llmeval.reports.regress.plain import to_plain

        print(json.dumps(to_plain(night), indent=2))
    elif arguments.markdown == "-":
        from llmeval.reports.regress.markdown import render_markdown

        print(render_markdown(night), end="")
    else:
        from llmeval.cli.columns import print_lines
        from llmeval.cli.night_table import lay_out_night

        print_lines(lay_out_night(night, sys.stdout), sys.stdout)


def _write_files(night: Night, arguments: Any) -> None:
    from llmeval.reports.regress.markdown import render_markdown

    written: dict[str, str] = {}
    if arguments.junit:
        from llmeval.reports.regress.junit import render_junit

        written[arguments.junit] = render_junit(night)
    if arguments.markdown not in (None, "-"):
        written[arguments.markdown] = render_markdown(night)
    if arguments.html:
        from llmeval.reports.regress.page import render_night

        written[arguments.html] = render_night(night)
    for path, text in written.items():
        write_and_tell(path, text)
    if summary := os.environ.get(SUMMARY_VARIABLE):
        _append_summary(Path(summary), render_markdown(night))


def _append_summary(path: Path, text: str) -> None:
    """Add to the summary of a job on GitHub; that it cannot be written changes no verdict."""
    try:
        with path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(text + "\n")
    except OSError as error:
        what = StorageError(f"cannot be written: {error.strerror}", where=str(path))
        say(one_line(f"llmeval: warning: {SUMMARY_VARIABLE}: {what}"))
