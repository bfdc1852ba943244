"""What an engine is started from: adapters, lengths, prefix tokens; what is refused, and how."""

from __future__ import annotations

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed here")

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from llmeval.core import GenerateRequest, LoglikelihoodRequest, RollingRequest, Sampling, UsageError
from llmeval.pocket import MODEL_DIR
from tests.models.asking import ask
from tests.vllm.agreement import check_agreement

REQUESTS = [
    LoglikelihoodRequest("The cat sat on the", " mat and slept."),
    LoglikelihoodRequest("The cat sat on the", " moon"),
    LoglikelihoodRequest("", "Once there was a fox"),
    RollingRequest("Once there was a fox who lived in the woods. " * 9),
    GenerateRequest("Once there was", Sampling(max_tokens=20)),
]


@pytest.fixture(scope="module")
def lora_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of random weights; peft's own start with none that change anything."""
    peft = pytest.importorskip("peft", reason="peft makes the adapter")
    import torch
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=torch.float32)
    config = peft.LoraConfig(
        r=12, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM"
    )
    torch.manual_seed(3)
    adapted = peft.get_peft_model(base, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05)
    folder = tmp_path_factory.mktemp("lora")
    adapted.save_pretrained(folder)
    return folder


def test_an_adapter_changes_answers_as_it_does_elsewhere(
    served: Any, start: Callable[..., Any], load: Callable[..., Any], lora_dir: Path
) -> None:
    with closing(start(lora=str(lora_dir))) as adapted:
        answers = check_agreement(adapted, load(peft=str(lora_dir)), REQUESTS)
        assert adapted.fingerprint != served.fingerprint
        assert adapted.describe()["identity"]["adapter"]["files"]
    plain = ask(served, REQUESTS)
    assert max(abs(a.logprob - b.logprob) for a, b in zip(answers[:4], plain, strict=False)) > 0.1


def test_length_and_prefix_token_of_the_settings(
    served: Any, start: Callable[..., Any], load: Callable[..., Any]
) -> None:
    settings = {"max_length": 40, "prefix_token_id": 5, "add_bos_token": True, "max_gen_toks": 7}
    with closing(start(batch_size=2, **settings)) as short:
        check_agreement(short, load(**settings), [*REQUESTS, GenerateRequest("The")])
        assert short.fingerprint != served.fingerprint
        assert short.describe()["max_length"] == 40


def test_without_a_prefix_cache_answers_are_the_same(
    start: Callable[..., Any], reference: Any
) -> None:
    with closing(start(engine_args={"enable_prefix_caching": False})) as model:
        check_agreement(model, reference, REQUESTS)
        assert model.report()["cached_tokens"] == 0


def test_the_fingerprint_follows_the_files(
    served: Any, start: Callable[..., Any], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(MODEL_DIR, copy)
    with closing(start(copy, gpu_memory_utilization=0.1, batch_size=7)) as same:
        assert same.fingerprint == served.fingerprint
    config = json.loads((copy / "generation_config.json").read_text())
    (copy / "generation_config.json").write_text(json.dumps(config | {"temperature": 0.5}))
    with closing(start(copy)) as other:
        assert other.fingerprint != served.fingerprint


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"engine_args": {"frobnicate": 1}}, r"cannot load the model: .*frobnicate"),
        ({"max_length": 5000}, "more than the model's 1024 positions"),
        ({"quantization": "nonsense"}, "cannot load the model: .*quantization"),
        ({"tensor_parallel_size": 64}, "cannot load the model"),
    ],
)
def test_what_cannot_be_started_is_one_line(
    start: Callable[..., Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        start(**settings)
    assert "\n" not in str(caught.value)


def test_a_damaged_checkpoint_is_one_line(start: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no config"):
        start(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(MODEL_DIR, copy)
    (copy / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(UsageError, match="cannot load the model"):
        start(copy)


def test_nothing_is_written_to_stdout() -> None:
    """What the command prints there is for programs to read."""
    code = (
        "from llmeval.core import GenerateRequest, Sampling\n"
        "from llmeval.models.vllm.model import load_vllm_model\n"
        "from llmeval.models.vllm.settings import VllmSettings\n"
        f"model = load_vllm_model({str(MODEL_DIR)!r}, 'vllm:p', VllmSettings(enforce_eager=True))\n"
        "model.answer([GenerateRequest('The', Sampling(max_tokens=2))])\n"
        "model.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-2000:]
