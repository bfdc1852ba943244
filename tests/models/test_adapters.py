"""Adapted and quantised models answer as peft and transformers themselves compute."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmeval.core import Loglikelihood, LoglikelihoodRequest, UsageError
from llmeval.models import ModelSettings, load_model
from tests.models.asking import ask

HEADER = "Once upon a time there was a little girl"
REQUESTS = [
    LoglikelihoodRequest(HEADER + middle, rest)
    for middle in (" who went", " and a fox", "")
    for rest in (" into the woods", " with the fox", " 3.14")
]
needs = {
    name: pytest.mark.skipif(
        importlib.util.find_spec(name) is None, reason=f"{name} is not installed"
    )
    for name in ("bitsandbytes", "torchao")
}


def check_against(reference: Any, model: Any, abs: float = 1e-4) -> list[float]:
    """Compare answers with one unpadded pass a question; returns the answers."""
    import torch

    answers = ask(model, REQUESTS)
    tokenizer = model._checkpoint.tokenizer
    for request, answer in zip(REQUESTS, answers, strict=True):
        tokens = tokenizer(request.context + request.continuation)["input_ids"]
        assert isinstance(answer, Loglikelihood) and answer.boundary is None
        with torch.inference_mode():
            logits = reference(torch.tensor([tokens[:-1]])).logits[0].float()
        targets = torch.tensor(tokens[-answer.num_tokens :])
        rows = logits.log_softmax(-1)[-answer.num_tokens :]
        wanted = float(rows.gather(1, targets[:, None]).sum())
        assert answer.logprob == pytest.approx(wanted, abs=abs)
    return [answer.logprob for answer in answers if isinstance(answer, Loglikelihood)]


def load_plainly(folder: Path, **options: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options).eval()


def save_adapter(folder: Path, base: Any, config: Any) -> Path:
    """Save an adapter of random weights; peft's own start with none that change anything."""
    import peft
    import torch

    torch.manual_seed(3)
    adapted = peft.get_peft_model(base, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    adapted.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def lora_dir(llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from peft import LoraConfig

    config = LoraConfig(
        r=4,
        target_modules=["q_proj", "v_proj", "down_proj"],
        lora_dropout=0.5,
        task_type="CAUSAL_LM",
    )
    return save_adapter(tmp_path_factory.mktemp("lora"), load_plainly(llama_dir), config)


def test_an_adapted_model_answers_as_peft_computes(
    llama_dir: Path, lora_dir: Path, llama: Any, load: Callable[..., Any]
) -> None:
    from peft import PeftModel

    reference = PeftModel.from_pretrained(load_plainly(llama_dir), lora_dir).eval()
    answers = check_against(reference, load(llama_dir, peft=str(lora_dir)))
    plain = [answer.logprob for answer in ask(llama, REQUESTS)]
    assert max(abs(a - b) for a, b in zip(answers, plain, strict=True)) > 0.1


def test_both_scorers_agree_on_an_adapted_model(
    llama_dir: Path, lora_dir: Path, load: Callable[..., Any]
) -> None:
    packed, plain = (load(llama_dir, peft=str(lora_dir), scorer=s) for s in ("packed", "plain"))
    assert (packed.describe()["scorer"], plain.describe()["scorer"]) == ("packed", "plain")
    for one, other in zip(ask(packed, REQUESTS), ask(plain, REQUESTS), strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-4)


def test_the_fingerprint_follows_the_adapters_content(
    llama_dir: Path, lora_dir: Path, llama: Any, load: Callable[..., Any], tmp_path: Path
) -> None:
    adapted = load(llama_dir, peft=str(lora_dir)).fingerprint
    assert adapted != llama.fingerprint
    copy = tmp_path / "copy"
    shutil.copytree(lora_dir, copy)
    assert load(llama_dir, peft=str(copy)).fingerprint == adapted
    config = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 3}))
    assert load(llama_dir, peft=str(copy)).fingerprint != adapted


def test_an_adapter_with_added_tokens_brings_its_embedding(
    llama_dir: Path, load: Callable[..., Any], tmp_path: Path
) -> None:
    from peft import LoraConfig, PeftModel

    def grow() -> Any:
        model = load_plainly(llama_dir)
        model.resize_token_embeddings(407)
        return model

    config = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])
    folder = save_adapter(tmp_path / "grown", grow(), config)
    reference = PeftModel.from_pretrained(grow(), folder).eval()
    check_against(reference, load(llama_dir, peft=str(folder)))


def expect_fault(folder: Path, part: str, **settings: Any) -> None:
    with pytest.raises(UsageError, match=part) as caught:
        load_model(f"hf:{folder}", ModelSettings(device="cpu", threads=1, **settings))
    assert "\n" not in str(caught.value)


def test_a_wrong_adapter_is_one_clear_line(
    llama_dir: Path, gpt2_dir: Path, lora_dir: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    from peft import PromptTuningConfig

    expect_fault(gpt2_dir, "cannot load the adapter", peft=str(lora_dir))
    expect_fault(llama_dir, "there is no folder", peft=str(tmp_path / "nowhere"))
    expect_fault(llama_dir, r"has no adapter_config\.json", peft=str(llama_dir))
    expect_fault(lora_dir, r"holds an adapter.*peft=DIR")
    config = PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")
    prompts = save_adapter(tmp_path / "prompts", load_plainly(llama_dir), config)
    expect_fault(llama_dir, r"act on the prompt \(PROMPT_TUNING\)", peft=str(prompts))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "peft" else name)
    expect_fault(llama_dir, r"not installed: peft \(pip install 'llmeval\[peft\]'\)", peft="x")


def test_an_adapter_that_lacks_weights_is_refused(
    llama_dir: Path, lora_dir: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "copy"
    shutil.copytree(lora_dir, copy)
    weights = load_file(copy / "adapter_model.safetensors")
    weights.pop(next(key for key in weights if "down_proj.lora_B" in key))
    save_file(weights, copy / "adapter_model.safetensors")
    expect_fault(llama_dir, "the adapter lacks weights", peft=str(copy))


@pytest.fixture
def packed_checkpoint(llama_dir: Path, tmp_path: Path) -> tuple[Path, Any]:
    """An 8-bit checkpoint as compressed-tensors writes it, and the model of its rounded weights."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "packed"
    shutil.copytree(llama_dir, folder)
    packed, rounded = {}, {}
    for key, weight in load_file(folder / "model.safetensors").items():
        packed[key] = rounded[key] = weight
        if "_proj." in key:
            scale = weight.abs().amax(1, keepdim=True) / 127
            numbers = (weight / scale).round()
            rounded[key] = numbers * scale
            bytes_ = (numbers.to(torch.int16) + 128).to(torch.uint8)
            del packed[key]
            packed[key + "_packed"] = bytes_.view(torch.int32)
            packed[key + "_shape"] = torch.tensor(weight.shape)
            packed[key + "_scale"] = scale
    save_file(packed, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
    }
    (folder / "config.json").write_text(json.dumps(config))
    reference = load_plainly(llama_dir)
    reference.load_state_dict(rounded)
    return folder, reference


def test_a_quantised_checkpoint_answers_as_its_rounded_weights(
    packed_checkpoint: tuple[Path, Any], load: Callable[..., Any], capfd: Any
) -> None:
    folder, reference = packed_checkpoint
    model = load(folder)
    check_against(reference, model)
    identity = model._checkpoint.identity["quantization"]
    assert identity["method"] == "compressed-tensors" and identity["version"]
    assert capfd.readouterr().err == ""  # its bars would run through our own
    check_against(load_plainly(folder), model)


def test_a_library_that_a_checkpoint_needs_is_named(
    packed_checkpoint: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    expect_fault(packed_checkpoint[0], "quantised already", load_in_8bit=True)
    config = json.loads((packed_checkpoint[0] / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (packed_checkpoint[0] / "config.json").write_text(json.dumps(config))
    expect_fault(packed_checkpoint[0], "cannot load the weights.*install")


@needs["bitsandbytes"]
def test_eight_bits_are_bitsandbytes_own(llama_dir: Path, load: Callable[..., Any]) -> None:
    from transformers import BitsAndBytesConfig

    quantization = BitsAndBytesConfig(load_in_8bit=True)
    reference = load_plainly(llama_dir, quantization_config=quantization, device_map={"": "cpu"})
    # Outliers are looked for in the whole batch: only a question alone is the reference's.
    model = load(llama_dir, load_in_8bit=True, scorer="plain", batch_size=1)
    check_against(reference, model)
    assert model._checkpoint.identity["quantization"]["bits"] == 8


@needs["bitsandbytes"]
def test_four_bits_are_bitsandbytes_own(
    llama_dir: Path, load: Callable[..., Any], tmp_path: Path
) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    # Its blocks of 64 weights must divide the columns.
    config = AutoConfig.from_pretrained(
        llama_dir, hidden_size=64, intermediate_size=64, head_dim=16
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(llama_dir).save_pretrained(tmp_path)
    quantization = BitsAndBytesConfig(load_in_4bit=True)
    reference = load_plainly(tmp_path, quantization_config=quantization, device_map={"": "cpu"})
    model = load(tmp_path, load_in_4bit=True)
    check_against(reference, model)
    assert model._checkpoint.identity["quantization"]["bits"] == 4


@needs["bitsandbytes"]
def test_what_cannot_compute_here_is_said_at_once(llama_dir: Path) -> None:
    # 32 columns are less than bitsandbytes' block of 64: its CPU kernel breaks in the pass.
    expect_fault(llama_dir, "the quantised model cannot compute on cpu", load_in_4bit=True)


def test_without_bitsandbytes_the_extra_is_named(llama_dir: Path, monkeypatch: Any) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else found(name)
    )
    expect_fault(llama_dir, r"load_in_4bit: not installed: bitsandbytes", load_in_4bit=True)


@needs["torchao"]
def test_a_torchao_checkpoint_answers_as_transformers_computes(
    llama_dir: Path, load: Callable[..., Any], tmp_path: Path
) -> None:
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import AutoTokenizer, TorchAoConfig

    model = load_plainly(llama_dir, quantization_config=TorchAoConfig(Int8WeightOnlyConfig()))
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(llama_dir).save_pretrained(tmp_path)
    check_against(load_plainly(tmp_path), load(tmp_path))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_dtype_loads_and_answers_as_transformers_computes(
    llama_dir: Path, load: Callable[..., Any], dtype: str
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(llama_dir, dtype=getattr(torch, dtype)).eval()
    precision = {"float32": 1e-4, "bfloat16": 0.5, "float16": 0.1}[dtype]
    check_against(reference, load(llama_dir, dtype=dtype), abs=precision)


def test_a_placed_model_answers_the_same(llama_dir: Path, llama: Any) -> None:
    settings = ModelSettings(dtype="float32", device_map="auto", threads=1)
    model: Any = load_model(f"hf:{llama_dir}", settings)
    if model._checkpoint.device.type == "cpu":  # no accelerator here
        assert ask(model, REQUESTS) == ask(llama, REQUESTS)
        assert model.fingerprint == llama.fingerprint
    check_against(load_plainly(llama_dir), model, abs=1e-3)


def test_input_goes_where_a_layer_kept_away_computes(llama_dir: Path, tmp_path: Path) -> None:
    from accelerate import dispatch_model

    from llmeval.models.hf.loading import load_checkpoint
    from llmeval.models.hf.source import find_checkpoint

    settings = ModelSettings(dtype="float32", device="cpu", threads=1)
    checkpoint = load_checkpoint(find_checkpoint(str(llama_dir), "m"), "m", settings)
    places = dict.fromkeys(("model.embed_tokens", "model.layers.1", "lm_head"), "disk")
    places |= dict.fromkeys(("model.layers.0", "model.norm", "model.rotary_emb"), "cpu")
    dispatch_model(checkpoint.model, places, main_device="cpu", offload_dir=tmp_path)
    assert checkpoint.model.get_input_embeddings().weight.device.type == "meta"
    assert checkpoint.device.type == "cpu"
