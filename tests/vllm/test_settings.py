"""Settings of the vLLM backend: names of vLLM and lm-eval, and what is refused. Needs no vLLM."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from llmeval.core import UsageError
from llmeval.models.vllm.settings import VllmSettings


def test_vllms_and_lm_evals_names_are_known() -> None:
    read = VllmSettings.from_mapping(
        {
            "max_model_len": "2048",
            "lora_local_path": "/adapter",
            "batch_size": "auto:4",
            "engine_args": '{"block_size": 32}',
            "enforce_eager": "true",
            "tokenizer": "none",
        }
    )
    assert read == VllmSettings(
        max_length=2048, lora="/adapter", enforce_eager=True, engine_args={"block_size": 32}
    )


@pytest.mark.parametrize(
    "given, message",
    [
        ({"max_lenght": 3}, "did you mean max_length"),
        ({"max_length": 3, "max_model_len": 4}, "given twice"),
        ({"max_length": 0}, "greater than 0"),
        ({"gpu_memory_utilization": 1.5}, "less than or equal to 1"),
        ({"dtype": "int3"}, "dtype"),
        ({"engine_args": {"seed": 3}}, "seed has a setting of its own: seed"),
        ({"engine_args": {"max_model_len": 3}}, "a setting of its own: max_length"),
        ({"engine_args": {"logprobs_mode": "raw_logits"}}, "chosen by llmeval"),
    ],
)
def test_what_no_engine_could_use_is_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        VllmSettings.from_mapping(given)


def test_several_copies_need_a_server() -> None:
    pytest.importorskip("torch")
    from llmeval.models.vllm.model import load_vllm_model

    with pytest.raises(UsageError, match=r"only behind its server.*tensor_parallel_size"):
        load_vllm_model("nowhere", "vllm:nowhere", VllmSettings(data_parallel_size=2))


def test_without_vllm_the_mend_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from llmeval.models.vllm.model import load_vllm_model
    from llmeval.pocket import MODEL_DIR

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "vllm" else find(name)
    )
    with pytest.raises(UsageError, match=r"not installed: vllm \(pip install 'llmeval\[vllm\]'\)"):
        load_vllm_model(str(MODEL_DIR), "vllm:pocket", VllmSettings())


def test_an_adapter_is_named_as_one(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from llmeval.models.vllm.checkpoint import read_checkpoint
    from llmeval.pocket import MODEL_DIR

    with pytest.raises(UsageError, match="has no adapter_config"):
        read_checkpoint(str(MODEL_DIR), "vllm:pocket", VllmSettings(lora=str(tmp_path)))
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "IA3", "r": 3}')
    with pytest.raises(UsageError, match="takes LoRA adapters, not IA3"):
        read_checkpoint(str(MODEL_DIR), "vllm:pocket", VllmSettings(lora=str(tmp_path)))
