"""``llmeval run``: evaluate a model on tasks and write a run record."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmeval.cli.run_options import (
    LIMITS,
    OPTIONS,
    SETTINGS,
    build_parser,
    parse_pairs,
    split_names,
)
from llmeval.cli.streams import drop_stdout, one_line, say
from llmeval.core.errors import InvalidResult, LlmevalError, StorageError, UsageError

if TYPE_CHECKING:
    from llmeval.engine import Progress
    from llmeval.run_file import RunFile
    from llmeval.run_spec import RunSpec
    from llmeval.runs import Run
    from llmeval.tracking import Target


def main(argv: Sequence[str]) -> int:
    arguments, command = _read(argv)
    from llmeval.cli.collector import WakeCollector, resting_collector
    from llmeval.cli.console import set_up_logging
    from llmeval.session import execute

    set_up_logging(arguments.quiet)
    file = _read_file(arguments.file)
    spec = _make_spec(arguments, file, command)
    targets = _find_targets(arguments, file)
    if arguments.dry_run:
        return _estimate(spec, arguments)
    with resting_collector():
        run = execute(spec, WakeCollector(_begin(spec, arguments.quiet)))
    try:
        _show(run, arguments)
    except BrokenPipeError:  # the verdict below still decides the exit code
        drop_stdout()
    except OSError as error:
        drop_stdout()
        what = f"the result cannot be printed: {error.strerror}"
        raise StorageError(what, where="stdout", mend=f"the record is {run.path}") from error
    _track(run, targets, arguments, file)
    if run.status == "invalid":
        raise InvalidResult(
            "the result is invalid: too many samples errored, or nothing was measured",
            where=str(run.path),
            mend="see `not_scored` in summary.json; the same command asks errored samples again",
        )
    return 0


def _read(argv: Sequence[str]) -> tuple[Any, Sequence[str]]:
    """Read the arguments; ``--resume`` takes those of the run that is to go on, and adds to them.

    Returns:
        the arguments, and the command that says the same without ``--resume``.
    """
    arguments = build_parser().parse_args(argv)
    if arguments.resume is None:
        return arguments, argv
    from llmeval.cli.resume import find_command, merge, without_resume

    found = find_command(arguments.resume, arguments.out)
    say(f"llmeval: going on with: llmeval run {shlex.join(found)}")
    command = merge(found, without_resume(argv))
    return build_parser().parse_args(command), command


def _estimate(spec: RunSpec, arguments: Any) -> int:
    """Say what a run would take, and ask nothing."""
    from llmeval.cli.forecast import print_forecast
    from llmeval.forecast import forecast

    expected = forecast(spec)
    if arguments.json:
        print(json.dumps(expected.to_plain(), indent=2))
    else:
        print_forecast(expected)
    return 0


def _begin(spec: RunSpec, quiet: bool, part: str = "") -> Progress:
    """Say what starts, for loading a model can take long, and return what shows the progress.

    Args:
        part: which of several runs it is.
    """
    from llmeval.cli.console import make_progress
    from llmeval.engine import Silent

    if quiet:
        return Silent()
    names = [task if isinstance(task, str) else task.name for task in spec.tasks]
    line = one_line(f"llmeval: {part}{spec.model} on {', '.join(names)}")
    say(line if len(line) <= 200 else f"{line[:197]}...")
    return make_progress()


def _show(run: Run, arguments: Any) -> None:
    """Print the result: the summary's JSON and nothing else, or the table for people."""
    if arguments.json:
        # ASCII: valid JSON whatever the encoding of stdout.
        print(json.dumps(run.summary, indent=2))
        if not arguments.quiet:
            say(f"llmeval: record: {run.path}")
    else:
        from llmeval.cli.table import print_results

        performance = run.manifest.get("performance")
        print_results(run.summary, performance, all_tasks=arguments.all_tasks)
        print(f"record: {run.path}")
    sys.stdout.flush()


def _read_file(name: str | None) -> RunFile:
    from llmeval.run_file import RunFile, read_run_file

    _check_file_name(name)
    return read_run_file(name) if name else RunFile()


def _find_targets(arguments: Any, file: RunFile) -> list[Target]:
    """Return the trackers that a run is to be logged to, found to be usable before it starts."""
    from llmeval.tracking import parse_target, require_target

    targets = [parse_target(text) for text in _first(arguments.track, file.track)]
    for target in targets:
        require_target(target)
    return targets


def _track(run: Run, targets: Sequence[Target], arguments: Any, file: RunFile) -> None:
    """Log a run; a tracker that fails costs a line, never the run."""
    from llmeval.tracking import track_run

    tables = bool(_first(arguments.track_tables, file.track_tables))
    for target in targets:
        try:
            seen = track_run(run, target, tables=tables)
        except (LlmevalError, KeyboardInterrupt) as error:
            later = f"later: llmeval runs track {shlex.quote(str(run.path))} {target}"
            what = str(error) or f"{target}: not logged: interrupted"
            say(one_line(f"llmeval: warning: {what} ({later})"))
        else:
            if not arguments.quiet:
                say(one_line(f"llmeval: logged to {target}: {seen}"))


def _make_spec(arguments: Any, file: RunFile, command: Sequence[str]) -> RunSpec:
    """Put together the run file, the options that override it, and lm-eval's spelling."""
    from llmeval.run_spec import make_spec

    model, settings = _choose_model(arguments, file)
    options = {**file.set_options(), **_given(arguments, OPTIONS)}
    if arguments.gen_kwargs is not None:
        options["gen_kwargs"] = parse_pairs(arguments.gen_kwargs, "--gen-kwargs")
    tasks = split_names(arguments.tasks) if arguments.tasks is not None else file.tasks
    run_options = {
        name: value
        for name in ("data", "out", "window", "max_errors", "allow_unsafe_code", *LIMITS)
        if (value := _first(getattr(arguments, name), getattr(file, name))) is not None
    }
    return make_spec(
        model,
        tasks,
        model_settings=settings,
        options=options,
        batch=arguments.batch or bool(file.batch),
        batch_wait=arguments.wait or bool(file.batch_wait),
        command=command,
        **run_options,
    )


def _check_file_name(name: str | None) -> None:
    """Tell a run file from the second of two names that blanks separate."""
    if name is not None and not name.endswith((".yaml", ".yml")):
        raise UsageError(
            f"unexpected {name!r}",
            mend="a run file ends with .yaml; several tasks are separated by commas, -t a,b",
        )


def _choose_model(arguments: Any, file: RunFile) -> tuple[str, Any]:
    from llmeval.models import from_model_args, read_settings

    model = arguments.model if arguments.model is not None else file.model
    settings = {**file.model_settings, **_given(arguments, SETTINGS)}
    if arguments.model_args is not None:
        return from_model_args(arguments.model_args, model or "hf", **settings)
    if not model:
        raise UsageError("no model was named", where="-m", mend="e.g. -m pocket or -m hf:gpt2")
    return model, read_settings(model, settings)


def _given(arguments: Any, names: Sequence[str]) -> dict[str, Any]:
    values: Mapping[str, Any] = vars(arguments)
    return {name: values[name] for name in names if values[name] is not None}


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
