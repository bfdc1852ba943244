"""Settings of a model that vLLM runs inside this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from llmeval.core.errors import UsageError
from llmeval.models.options import Settings
from llmeval.models.settings import ModelSettings

# vLLM's and lm-eval's names of our settings.
_ALIASES = {"max_model_len": "max_length", "lora_local_path": "lora"}
# What this backend itself tells the engine, beside its settings.
_OURS = ("model", "logprobs_mode", "enable_lora", "disable_log_stats", *_ALIASES)


class VllmSettings(Settings):
    """How vLLM loads a model and how it is asked; every default is vLLM's unless said otherwise.

    Args:
        dtype: ``auto`` takes the checkpoint's own.
        revision: branch, tag or commit on the hub.
        tokenizer: id or folder, where it is not the model's own.
        trust_remote_code: run the code that comes with a checkpoint.
        max_length: context length in tokens (``max_model_len``); None reads it from the checkpoint.
        tensor_parallel_size: GPUs among which each layer is divided.
        pipeline_parallel_size: groups of GPUs among which the layers are divided.
        data_parallel_size: copies of the model; vLLM has more than one only behind its server.
        gpu_memory_utilization: share of a GPU's memory that vLLM takes.
        quantization: vLLM's method; None reads it from the checkpoint.
        enforce_eager: no compilation, no CUDA graphs: starts faster, runs slower.
        lora: id or folder of a LoRA adapter (``lora_local_path``).
        add_bos_token: begin every text with BOS or not; None leaves it to the tokenizer.
        prefix_token_id: stands for an empty context; None is BOS, else EOS.
        chat_template: name of one of the tokenizer's templates, or a file with one.
        max_gen_toks: new tokens of a request that names no limit (lm-eval's default).
        batch_size: questions that are answered, and journaled, together; vLLM itself decides how
            many of them it computes at once.
        seed: seeds the engine; models sample by the seed of each request.
        engine_args: further arguments of ``vllm.LLM``, passed on as they are.
    """

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    revision: str | None = None
    tokenizer: str | None = None
    trust_remote_code: bool = False
    max_length: PositiveInt | None = None
    tensor_parallel_size: PositiveInt = 1
    pipeline_parallel_size: PositiveInt = 1
    data_parallel_size: PositiveInt = 1
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    quantization: str | None = None
    enforce_eager: bool = False
    lora: str | None = None
    add_bos_token: bool | None = None
    prefix_token_id: NonNegativeInt | None = None
    chat_template: str | None = None
    max_gen_toks: PositiveInt = 256
    batch_size: PositiveInt = 1024
    seed: int = 0
    engine_args: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Read settings from a run file or a command line; vLLM's and lm-eval's names are known.

        Raises:
            UsageError: an unknown name, one given twice, or a value of the wrong kind.
        """
        renamed: dict[str, Any] = {}
        for name, value in values.items():
            own = _ALIASES.get(name, name)
            if own in renamed:
                raise UsageError("is given twice, by two names", where=own)
            renamed[own] = value
        if str(renamed.get("batch_size", "")).startswith("auto"):  # lm-eval's auto and auto:N
            del renamed["batch_size"]
        return super().from_mapping(renamed)

    @field_validator("engine_args")
    @classmethod
    def _check_engine_args(cls, given: dict[str, Any]) -> dict[str, Any]:
        for name in given:
            own = _ALIASES.get(name, name)
            if own in cls.model_fields:
                raise ValueError(f"{name} has a setting of its own: {own}")
            if name in _OURS:
                raise ValueError(f"{name} is chosen by llmeval")
        return given

    def for_tokenizer(self) -> ModelSettings:
        """Return what the Hugging Face backend is told where it reads the same things."""
        return ModelSettings(
            revision=self.revision,
            tokenizer=self.tokenizer,
            trust_remote_code=self.trust_remote_code,
            max_length=self.max_length,
            add_bos_token=self.add_bos_token,
            prefix_token_id=self.prefix_token_id,
            chat_template=self.chat_template,
            max_gen_toks=self.max_gen_toks,
        )
