"""``llmeval run``: evaluate a model on tasks and write a run record."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmeval.core.errors import InvalidResult, UsageError

if TYPE_CHECKING:
    from llmeval.session import RunSpec

_EPILOG = """examples:
  llmeval run -m pocket -t pocket
  llmeval run -m hf:./my-model -t mmlu --num-fewshot 5 --limit 20 --data mirror/
  llmeval run -m hf:Qwen/Qwen3-0.6B -t capability --dtype bfloat16
  llmeval run nightly.yaml
  llmeval run --model hf --model_args pretrained=gpt2,dtype=float32 --tasks hellaswag   (as lm-eval)

A killed or interrupted run continues when the same command is given again.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``llmeval run``; underscores are lm-eval's spelling."""
    parser = argparse.ArgumentParser(
        prog="llmeval run",
        description="Evaluate a model on tasks and write a run record.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("file", nargs="?", type=Path, metavar="RUN.yaml", help="a run file; options override it")
    add("-m", "--model", help="hf:ID_OR_DIR, pocket, baseline:random, ...: see `llmeval models`")
    add("-t", "--tasks", help="tasks, groups, suites or YAML files, separated by commas")
    add("--num-fewshot", "--num_fewshot", "-f", type=int, metavar="N", help="solved examples")
    add("--limit", "-L", type=int, metavar="N", help="only the first N samples of each task")
    add("--data", metavar="DIR", help="local mirror of data sets (LLMEVAL_DATA)")
    add("--out", "--output_path", "-o", metavar="DIR", help="folder for records (results)")
    add("--seed", type=int, metavar="N", help="few-shot draws and sampling (1234)")
    add("--apply-chat-template", "--apply_chat_template", action="store_true", default=None)
    add("--system-instruction", "--system_instruction", metavar="TEXT")
    add(
        "--fewshot-as-multiturn",
        "--fewshot_as_multiturn",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="with a chat template, examples as turns (the default)",
    )
    add("--gen-kwargs", "--gen_kwargs", metavar="K=V,...", help="e.g. temperature=0.7,top_p=0.9")
    add("--repeats", type=int, metavar="N", help="draws per question of generation tasks")
    add("--max-errors", type=float, metavar="SHARE", help="more errored samples: invalid (0.05)")
    add("--allow-unsafe-code", "--confirm_run_unsafe_code", action="store_true", default=None)
    add("--window", type=int, metavar="N", help="samples evaluated together (4096)")
    add("--json", action="store_true", help="print summary.json to stdout, and nothing else")
    add("--quiet", "-q", action="store_true", help="no progress and no warnings")
    model = parser.add_argument_group("model settings")
    model.add_argument("--model_args", "--model-args", "-a", metavar="K=V,...", help="as lm-eval")
    model.add_argument("--dtype", help="auto, float32, bfloat16, float16")
    model.add_argument("--device", help="auto, cpu, cuda, cuda:1, mps")
    model.add_argument("--batch-size", "--batch_size", "-b", metavar="N|auto")
    model.add_argument("--max-length", type=int, metavar="TOKENS")
    model.add_argument("--revision")
    model.add_argument("--tokenizer")
    model.add_argument("--chat-template", metavar="NAME|FILE")
    model.add_argument("--trust-remote-code", action="store_true", default=None)
    return parser


def main(argv: Sequence[str]) -> int:
    arguments = build_parser().parse_args(argv)
    from llmeval.cli.console import make_progress, results_table, set_up_logging
    from llmeval.engine import Silent
    from llmeval.session import execute

    set_up_logging(arguments.quiet)
    signal.signal(signal.SIGTERM, _interrupt)
    spec = _make_spec(arguments)
    run = execute(spec, Silent() if arguments.quiet else make_progress())
    if arguments.json:
        print(json.dumps(run.summary, indent=2, ensure_ascii=False))
    else:
        from rich.console import Console

        console = Console(width=None if sys.stdout.isatty() else 120)
        console.print(results_table(run.summary))
        console.print(f"record: {run.path}", soft_wrap=True, highlight=False)
    if run.status == "invalid":
        raise InvalidResult(
            "the result is invalid: too many samples errored, or nothing was measured",
            where=str(run.path),
            mend="see `not_scored` in summary.json; the same command asks only those again",
        )
    return 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


_OPTIONS = (
    "num_fewshot",
    "limit",
    "seed",
    "apply_chat_template",
    "system_instruction",
    "fewshot_as_multiturn",
    "repeats",
)
_SETTINGS = (
    "dtype",
    "device",
    "batch_size",
    "max_length",
    "revision",
    "tokenizer",
    "chat_template",
    "trust_remote_code",
)


def _make_spec(arguments: argparse.Namespace) -> RunSpec:
    from llmeval.models import from_model_args
    from llmeval.run_file import RunFile, read_run_file
    from llmeval.session import make_spec

    file = read_run_file(arguments.file) if arguments.file else RunFile()
    model = arguments.model or file.model
    settings: Any = {**file.model_settings, **_given(arguments, _SETTINGS)}
    if arguments.model_args is not None:
        model, settings = from_model_args(arguments.model_args, model or "hf", **settings)
    options = {**file.options, **_given(arguments, _OPTIONS)}
    if arguments.gen_kwargs is not None:
        options["gen_kwargs"] = parse_pairs(arguments.gen_kwargs, "--gen-kwargs")
    if not model:
        raise UsageError("no model was named", where="-m", mend="e.g. -m pocket or -m hf:gpt2")
    tasks = _split(arguments.tasks) if arguments.tasks else list(file.tasks)
    run_options = {
        name: value
        for name in ("data", "out", "window", "max_errors", "allow_unsafe_code")
        if (value := _first(getattr(arguments, name), getattr(file, name))) is not None
    }
    return make_spec(model, tasks, model_settings=settings, options=options, **run_options)


def _given(arguments: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    return {n: v for n in names if (v := getattr(arguments, n)) is not None}


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def parse_pairs(text: str, where: str) -> dict[str, Any]:
    """Read ``a=1,b=text``, or a JSON object, as lm-eval does."""
    import yaml

    if text.lstrip().startswith("{"):
        try:
            loaded = json.loads(text)
        except ValueError as error:
            raise UsageError(f"not JSON: {error}", where=where) from error
        return dict(loaded)
    pairs = {}
    for part in filter(None, text.split(",")):
        name, sign, value = part.partition("=")
        if not sign:
            raise UsageError(f"{part!r} is not name=value", where=where, mend="e.g. a=1,b=2")
        pairs[name.strip()] = yaml.safe_load(value)
    return pairs
