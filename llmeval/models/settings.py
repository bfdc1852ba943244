"""How a model is loaded and asked: the settings, checked where they come in."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from llmeval.core.errors import UsageError

DTYPES = ("auto", "float32", "bfloat16", "float16")
SCORERS = ("auto", "packed", "plain")
DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")  # accelerate's
_COUNTS = (
    *("max_length", "batch_size", "max_gen_toks", "threads", "pack_size", "workers"),
    "max_training_rows",
)
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Settings of a model; every default is lm-eval's unless said otherwise.

    Args:
        dtype: ``auto`` takes the checkpoint's own.
        device: ``auto`` is the first CUDA device, else the CPU.
        revision: branch, tag or commit on the hub.
        tokenizer: id or folder, where it is not the model's own.
        trust_remote_code: run the code that comes with a checkpoint.
        max_length: context length in tokens; None reads it from the checkpoint.
        batch_size: rows of one forward pass; None cuts batches by a token budget.
        scorer: ``packed`` computes every shared prefix once, ``plain`` row by row in batches;
            ``auto`` packs where the model's answers stay the same.
        pack_size: new tokens of one packed pass; None chooses by the machine.
        workers: processes that answer at once, each with the model on a device of its own (on the
            CPU with a share of the threads); ``auto`` is one a CUDA device.
        device_map: how accelerate places a model larger than one device (``auto``).
        peft: id or folder of an adapter, applied without merging it into the weights.
        load_in_4bit: quantise the weights with bitsandbytes while loading.
        load_in_8bit: likewise, to 8 bits.
        add_bos_token: begin every text with BOS or not; None leaves it to the tokenizer.
        max_gen_toks: new tokens of a request that names no limit.
        prefix_token_id: stands for an empty context; None is BOS, else EOS.
        chat_template: name of one of the tokenizer's templates, or a file with one.
        threads: CPU threads of torch in each worker; None leaves torch's choice, or with several
            workers on the CPU the cores divided among them.
        seed: seeds ``baseline:random`` and the draws of baselines that learn; models sample by the
            seed of each request.
        max_training_rows: rows that a baseline learns from at most, drawn by the seed.

    Raises:
        UsageError: a value that no model could use.
    """

    dtype: str = "auto"
    device: str = "auto"
    revision: str | None = None
    tokenizer: str | None = None
    trust_remote_code: bool = False
    max_length: int | None = None
    batch_size: int | None = None
    scorer: str = "auto"
    pack_size: int | None = None
    workers: int | Literal["auto"] = 1
    device_map: str | None = None
    peft: str | None = None
    load_in_4bit: bool = False
    load_in_8bit: bool = False
    add_bos_token: bool | None = None
    max_gen_toks: int = 256
    prefix_token_id: int | None = None
    chat_template: str | None = None
    threads: int | None = None
    seed: int = 0
    max_training_rows: int = 50_000

    def __post_init__(self) -> None:
        _check_choice("dtype", self.dtype, DTYPES)
        _check_choice("scorer", self.scorer, SCORERS)
        if self.device_map is not None:
            _check_choice("device_map", self.device_map, DEVICE_MAPS)
        if not _DEVICE.fullmatch(self.device):
            raise UsageError(
                f"unknown device {self.device!r}",
                where="device",
                mend="one of auto, cpu, cuda, cuda:N, mps",
            )
        for name in _COUNTS:
            value = getattr(self, name)
            if value not in (None, "auto") and value < 1:
                raise UsageError(f"{value} is not a positive number", where=name)
        if self.prefix_token_id is not None and self.prefix_token_id < 0:
            raise UsageError(f"{self.prefix_token_id} is no token id", where="prefix_token_id")
        self._check_pairs()

    def _check_pairs(self) -> None:
        """Raise UsageError for settings that exclude one another."""
        several = self.workers != 1
        for first, second, clash in (
            ("workers", "device_map", several and self.device_map),
            ("workers", "device", several and re.fullmatch(r"cuda:\d+|mps", self.device)),
            ("device_map", "device", self.device_map and self.device != "auto"),
            ("load_in_4bit", "load_in_8bit", self.load_in_4bit and self.load_in_8bit),
        ):
            if clash:
                raise UsageError(
                    f"{first}={getattr(self, first)} and {second}={getattr(self, second)} "
                    "exclude one another",
                    where=first,
                    mend="leave one of them out",
                )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> ModelSettings:
        """Read settings from a run file or a command line; text is converted.

        Raises:
            UsageError: an unknown name or a value of the wrong kind.
        """
        known = {f.name for f in fields(cls)}
        for name in values:
            if name not in known:
                raise _unknown_setting(name, known)
        return cls(**{name: _CONVERTERS[name](name, value) for name, value in values.items()})


def _check_choice(name: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise UsageError(f"unknown {name} {value!r}", where=name, mend=f"one of {', '.join(known)}")


def _unknown_setting(name: str, known: Collection[str]) -> UsageError:
    near = difflib.get_close_matches(name, known, n=3)
    mend = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(known))}"
    return UsageError(f"unknown model setting {name!r}", mend=mend)


def _none(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.lower() in ("none", ""))


def _text(name: str, value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise UsageError(f"{value!r} is no text", where=name)


def _number(name: str, value: Any) -> int:
    try:
        if not isinstance(value, bool | float):
            return int(value)
    except (TypeError, ValueError):
        pass
    raise UsageError(f"{value!r} is no whole number", where=name)


def read_truth(name: str, value: Any) -> bool:
    """Return a truth value, or raise UsageError for what is none."""
    truth = {"true": True, "false": False}.get(str(value).lower())
    if truth is None:
        raise UsageError(f"{value!r} is neither true nor false", where=name)
    return truth


def _batch_size(name: str, value: Any) -> int | None:
    """``auto`` and lm-eval's ``auto:N`` leave the size to us."""
    return None if str(value).startswith("auto") else _number(name, value)


def _workers(name: str, value: Any) -> int | str:
    return "auto" if value == "auto" else _number(name, value)


def _optional(convert: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if _none(value) else convert(name, value)


_CONVERTERS: dict[str, Callable[[str, Any], Any]] = {
    "dtype": _text,
    "device": _text,
    "revision": _optional(_text),
    "tokenizer": _optional(_text),
    "trust_remote_code": read_truth,
    "max_length": _optional(_number),
    "batch_size": _optional(_batch_size),
    "scorer": _text,
    "pack_size": _optional(_batch_size),
    "workers": _workers,
    "device_map": _optional(_text),
    "peft": _optional(_text),
    "load_in_4bit": read_truth,
    "load_in_8bit": read_truth,
    "add_bos_token": _optional(read_truth),
    "max_gen_toks": _number,
    "prefix_token_id": _optional(_number),
    "chat_template": _optional(_text),
    "threads": _optional(_number),
    "seed": _number,
    "max_training_rows": _number,
}
