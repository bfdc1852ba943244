"""The options of ``llmeval run``, in our spelling and in lm-eval's (underscores)."""

from __future__ import annotations

import argparse
import json
from typing import Any

from llmeval.cli.parser import Parser
from llmeval.core.errors import UsageError

_EPILOG = """examples:
  llmeval run -m pocket -t pocket
  llmeval run -m hf:./my-model -t mmlu --num-fewshot 5 --limit 20 --data mirror/
  llmeval run -m hf:Qwen/Qwen3-0.6B -t capability --dtype bfloat16
  llmeval run -m baseline:random -t pocket --json > summary.json
  llmeval run -m hf:Qwen/Qwen3-0.6B -t mmlu -a workers=auto,dtype=bfloat16   (a process on each GPU)
  llmeval run nightly.yaml --limit 50
  llmeval run -m openai:NAME --base-url http://localhost:8000/v1 -t gsm8k --apply-chat-template
  llmeval run -m openai:gpt-4o-mini -t mmlu --max-usd 2 --dry-run
  llmeval run -m openai:gpt-4o-mini -t mmlu --batch       then: llmeval run --resume
  llmeval run --model hf --model_args pretrained=gpt2,dtype=float32 --tasks hellaswag   (as lm-eval)

A killed or interrupted run continues when the same command is given again.
"""

OPTIONS = (
    "num_fewshot",
    "limit",
    "seed",
    "apply_chat_template",
    "system_instruction",
    "fewshot_as_multiturn",
    "repeats",
    "cut_answers",
)
"""What becomes a field of TaskOptions."""

LIMITS = ("max_usd", "max_requests", "max_minutes")
"""What bounds a run."""

SETTINGS = (
    "dtype",
    "device",
    "batch_size",
    "max_length",
    "revision",
    "tokenizer",
    "chat_template",
    "trust_remote_code",
    "base_url",
    "max_connections",
)
"""What becomes a setting of the model."""

# lm-eval's options that ask for nothing here, or for something that is done another way.
_ELSEWHERE = {
    "--use_cache": "every answer is journaled anyway; leave it out",
    "--cache_requests": "nothing to cache here; leave it out",
    "--include_path": "put the files into tasks/ of the workspace, or name one with -t FILE.yaml",
    "--predict_only": "answers are in samples.parquet of every record",
    "--samples": "only --limit N chooses samples",
    "--write_out": "prompts are in samples.parquet of every record",
    "--show_config": "see manifest.json of the record",
    "--check_integrity": "see `llmeval doctor` and `llmeval data verify`",
    "--max_batch_size": "batches are cut by a token budget; leave it out, or --batch-size N",
    "--verbosity": "there is --quiet",
    "--config": "give the run file itself: llmeval run RUN.yaml",
}


def build_parser() -> Parser:
    """Return the parser of ``llmeval run``."""
    parser = _RunParser(
        prog="llmeval run",
        usage="llmeval run -m MODEL -t TASK[,TASK...] [options]\n"
        "       llmeval run RUN.yaml [options]\n"
        "       llmeval run --resume [RUN-ID]",
        description="Evaluate a model on tasks and write a run record.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("file", nargs="?", metavar="RUN.yaml", help="a run file; options override it")
    add("-m", "--model", help="hf:ID_OR_DIR, pocket, baseline:random, ...: see `llmeval models`")
    add("-t", "--tasks", help="tasks, groups, suites or YAML files, separated by commas")
    add("--data", metavar="DIR", help="local mirror of data sets (LLMEVAL_DATA)")
    add("--out", "--output_path", "-o", metavar="DIR", help="folder for records (results)")
    add("--max-errors", type=float, metavar="SHARE", help="more errored samples: invalid (0.05)")
    add(
        "--allow-unsafe-code",
        "--confirm_run_unsafe_code",
        action="store_true",
        default=None,
        help="run generated code even where no sandbox can be had",
    )
    add("--window", type=int, metavar="N", help="samples evaluated together (4096)")
    add(
        "--resume",
        nargs="?",
        const="",
        metavar="RUN-ID",
        help="continue the newest run of this workspace that has not ended, or the one named",
    )
    add("--json", action="store_true", help="print summary.json to stdout, and nothing else")
    add(
        "--track",
        action="append",
        metavar="TOOL:WHERE",
        help="log the run to mlflow:URI or wandb:[ENTITY/]PROJECT; may be repeated",
    )
    add("--track-tables", action="store_true", default=None, help="upload prompts and answers, too")
    add("--all-tasks", action="store_true", help="a row for every subtask of large groups")
    add("--quiet", "-q", action="store_true", help="no progress and no warnings")
    add("--log_samples", "-s", action="store_true", help=argparse.SUPPRESS)  # always done
    _add_task_options(parser)
    _add_model_settings(parser)
    _add_server_options(parser)
    return parser


def _add_server_options(parser: Parser) -> None:
    add = parser.add_argument_group("servers and budgets").add_argument
    add("--base-url", "--base_url", metavar="URL", help="of an OpenAI-compatible API, up to /v1")
    add("--max-connections", type=int, metavar="N", help="most calls in flight (64)")
    add("--max-usd", type=float, metavar="USD", help="stop at this cost; answers are kept")
    add("--max-requests", type=int, metavar="N", help="stop after so many questions")
    add("--max-minutes", type=float, metavar="MINUTES", help="stop after this time")
    add("--dry-run", action="store_true", help="count questions, tokens and cost; ask nothing")
    add("--batch", action="store_true", help="hand the questions to the batch service, half price")
    add("--wait", action="store_true", help="with --batch: stay until it is done")


def _add_task_options(parser: Parser) -> None:
    add = parser.add_argument_group("what is asked").add_argument
    add("--num-fewshot", "--num_fewshot", "-f", type=int, metavar="N", help="solved examples")
    add("--limit", "-L", type=_limit, metavar="N", help="only the first N samples of each task")
    add("--seed", type=_seed, metavar="N", help="few-shot draws and sampling (1234)")
    for names, about in (
        (("--apply-chat-template", "--apply_chat_template"), "with the model's own template"),
        (("--fewshot-as-multiturn", "--fewshot_as_multiturn"), "examples as turns (true)"),
    ):
        add(*names, nargs="?", type=_truth, const=True, metavar="true|false", help=about)
    add("--system-instruction", "--system_instruction", metavar="TEXT")
    add("--gen-kwargs", "--gen_kwargs", metavar="K=V,...", help="e.g. temperature=0.7,top_p=0.9")
    add("--repeats", type=int, metavar="N", help="draws per question of generation tasks")
    add(
        "--cut-answers",
        metavar="HOW",
        help="answers that end at the token limit: grade, unscored, or auto (by kind of model)",
    )


def _add_model_settings(parser: Parser) -> None:
    add = parser.add_argument_group("model settings").add_argument
    add(
        "--model-args",
        "--model_args",
        "-a",
        metavar="K=V,...",
        help="any setting, e.g. workers=2,peft=DIR; with --model hf also pretrained=X, as lm-eval",
    )
    add("--dtype", help="auto, float32, bfloat16, float16")
    add("--device", help="auto, cpu, cuda, cuda:1, mps")
    add("--batch-size", "--batch_size", "-b", metavar="N|auto", help="rows of a forward pass")
    add("--max-length", type=int, metavar="TOKENS", help="longer prompts are cut from the left")
    add("--revision", help="branch, tag or commit on the hub")
    add("--tokenizer", metavar="ID_OR_DIR", help="where it is not the model's own")
    add("--chat-template", metavar="NAME|FILE", help="one of the tokenizer's, or a file")
    add(
        "--trust-remote-code",
        "--trust_remote_code",
        action="store_true",
        default=None,
        help="run the code that comes with a checkpoint",
    )


class _RunParser(Parser):
    def unknown(self, rest: list[str]) -> UsageError:  # type: ignore[override]
        for word in rest:
            name = word.partition("=")[0]
            if name in _ELSEWHERE:
                return UsageError(f"lm-eval's {name} is not taken here", mend=_ELSEWHERE[name])
        return super().unknown(rest)


def _limit(text: str) -> int:
    """Read a number of samples. lm-eval's share (``0.1``) is refused, never guessed at."""
    try:
        number = float(text)
        if number.is_integer():
            return int(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of samples") from None
    raise argparse.ArgumentTypeError(
        f"{text} is no whole number of samples; a share of them is not taken, e.g. --limit 100"
    )


def _seed(text: str) -> int:
    """Read a seed, or lm-eval's four (python, numpy, torch, few-shot): the last one counts."""
    last = text.split(",")[-1].strip()
    try:
        return int(last)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def _truth(text: str) -> bool:
    truth = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in truth:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither true nor false (a template's name goes to --chat-template)"
        )
    return truth[text.lower()]


def split_names(names: str) -> list[str]:
    """Read names that commas separate; blanks and empty parts mean nothing."""
    return [name.strip() for name in names.split(",") if name.strip()]


def parse_pairs(text: str, where: str) -> dict[str, Any]:
    """Read ``a=1,b=text``, or a JSON object, as lm-eval does.

    Raises:
        UsageError: neither of them.
    """
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except ValueError as error:
            raise UsageError(f"not JSON: {error}", where=where) from error
    pairs = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, sign, value = part.partition("=")
        if not sign or not name.strip():
            raise UsageError(f"{part!r} is not name=value", where=where, mend="e.g. a=1,b=2")
        pairs[name.strip()] = _parse_value(value, where)
    return pairs


def _parse_value(value: str, where: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        raise UsageError(
            f"{value!r} cannot be read",
            where=where,
            mend="""lists and texts with commas go into JSON, '{"until": ["a", "b"]}'""",
        ) from None
