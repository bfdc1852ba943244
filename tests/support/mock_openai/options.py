"""What the mock server can be told, on its command line or while it runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

ECHOES = ("right", "shifted", "missing", "ignored")
MANNERS = ("plain", "refuses", "fences", "bold", "rambles", "letter-a", "wrong", "flaky")
OUTCOMES = ("completed", "failed", "expired")
KINDS = (
    "429",
    "429-after",
    "429-date",
    "429-ms",
    "500",
    "503",
    "timeout",
    "hang",
    "reset",
    "half",
    "invalid-json",
    "wrong-n",
    "empty-choices",
    "duplicate-id",
    "drip",
    "empty-body",
    "null-content",
)


def _option(default: Any, said: str) -> Any:
    return field(default=default, metadata={"help": said})


@dataclass(frozen=True)
class Options:
    """Every option; a name is its flag's, with underscores. Times are in seconds.

    Raises ValueError for a value that no run could mean.
    """

    model: str = _option("mock-model", "the id that /v1/models lists")
    strict_model: bool = _option(False, "answer 404 to any other model")
    max_model_len: int = _option(8192, "longest prompt, in tokens")
    api_key: str = _option("", "answer 401 unless the bearer is this key")
    latency: float = _option(0.0, "time that an answer takes")
    latency_growth: bool = _option(False, "latency grows with in-flight / capacity, above 1")
    capacity: int = _option(16, "requests in flight that do not slow each other yet")
    max_in_flight: int = _option(0, "answer 503 beyond so many in flight (0: any)")
    requests_per_minute: int = _option(0, "answer 429 beyond this rate (0: any)")
    fault_rate: float = _option(0.0, "share of the attempts that meet a fault")
    faults: tuple[str, ...] = _option(KINDS, f"kinds, by commas: {', '.join(KINDS)}")
    fault_everywhere: bool = _option(False, "faults on files, batches, models, tokenize too")
    seed: int = _option(0, "of the choice of faults")
    hang_seconds: float = _option(30.0, "of the faults timeout and hang")
    drip_seconds: float = _option(1.0, "of the fault drip")
    retry_after: float = _option(0.05, "what 429-after, 429-date and 429-ms ask to wait")
    echo: str = _option("right", f"how /v1/completions echoes: {', '.join(ECHOES)}")
    no_logprobs: bool = _option(False, "logprobs are always null")
    no_top_logprobs: bool = _option(False, "top_logprobs are empty (chat) or null (completions)")
    max_top_logprobs: int = _option(20, "answer 400 beyond so many")
    max_stop: int = _option(4, "answer 400 beyond so many stop sequences")
    no_chat: bool = _option(False, "404 for /v1/chat/completions")
    no_completions: bool = _option(False, "404 for /v1/completions")
    no_responses: bool = _option(False, "404 for /v1/responses")
    no_tokenize: bool = _option(False, "404 for /tokenize and /detokenize")
    no_models: bool = _option(False, "404 for /v1/models")
    no_batches: bool = _option(False, "404 for /v1/files and /v1/batches")
    reasoning: bool = _option(False, "a reasoning model, with its refusals of parameters")
    reasoning_tokens: int = _option(20, "length of a thought")
    cached_share: float = _option(0.0, "share of a prompt's tokens said to be cached")
    manner: str = _option("plain", f"how a chat says what it is told to: {', '.join(MANNERS)}")
    manner_share: float = _option(1.0, "share of the prompts that are answered so")
    system_fingerprint: str = _option("fp_mock", "what the server says of its version")
    batch_seconds: float = _option(0.3, "time that a batch takes")
    batch_error_share: float = _option(0.0, "share of a batch's lines that fail")
    batch_max_requests: int = _option(50_000, "a batch of more lines fails")
    batch_outcome: str = _option("completed", f"how a batch ends: {', '.join(OUTCOMES)}")

    def __post_init__(self) -> None:
        """Check the values that have a range."""
        unknown = sorted(set(self.faults) - set(KINDS))
        if unknown or not self.faults:
            raise ValueError(f"faults: {unknown or 'none given'}; known are {', '.join(KINDS)}")
        for name in ("fault_rate", "cached_share", "batch_error_share", "manner_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share, from 0 to 1")
        for name, known in (("echo", ECHOES), ("batch_outcome", OUTCOMES), ("manner", MANNERS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is one of {', '.join(known)}")

    def changed(self, values: Mapping[str, Any]) -> Options:
        """Return these options with new values; ValueError or TypeError for a wrong one."""
        known = {each.name: each.default for each in fields(self)}
        for name in values:
            if name not in known:
                raise ValueError(f"there is no option {name}")
        return replace(self, **{n: _converted(known[n], value) for n, value in values.items()})


def _converted(default: Any, value: Any) -> Any:
    if isinstance(default, tuple):
        return tuple(value.split(",")) if isinstance(value, str) else tuple(value)
    return type(default)(value)


def parse(arguments: Sequence[str] | None = None) -> tuple[Options, argparse.Namespace]:
    """Read a command line; the namespace has what only a start can set."""
    parser = argparse.ArgumentParser(prog="mock_openai", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--ledger", default="", help="file that gets a line per answer sent")
    parser.add_argument("--keep-alive", type=float, default=75.0, help="of an idle connection")
    start_only = {"port", "ledger", "keep_alive"}
    for each in fields(Options):
        flag = "--" + each.name.replace("_", "-")
        if isinstance(each.default, bool):
            parser.add_argument(flag, action="store_true", help=each.metadata["help"])
        else:
            kind = str if isinstance(each.default, tuple) else type(each.default)
            parser.add_argument(flag, type=kind, default=each.default, help=each.metadata["help"])
    given = parser.parse_args(arguments)
    try:
        values = {n: v for n, v in vars(given).items() if n not in start_only}
        return Options().changed(values), given
    except ValueError as error:
        parser.error(str(error))


def command_line(values: Mapping[str, Any]) -> list[str]:
    """Return the arguments that say ``values``, a mapping of option names."""
    arguments: list[str] = []
    for name, value in values.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            arguments += [flag] if value else []
        elif isinstance(value, (tuple, list, set, frozenset)):
            arguments.append(f"{flag}={','.join(value)}")
        else:
            arguments.append(f"{flag}={value}")
    return arguments
