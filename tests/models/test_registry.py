"""Names on the command line: known, unknown, missing, damaged; each fault is one clear line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from llmeval.core import InformedModel, Model, UsageError
from llmeval.models import ModelSettings, list_models, load_model
from tests.support.shared import ROOT


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ("hff:gpt2", "did you mean hf:ID_OR_DIR"),
        ("poket", "did you mean pocket"),
        ("basline:random", "baseline:random"),
        ("baseline:mayority", "did you mean majority"),
        ("vllm:", "no checkpoint is named"),
        ("openai:", "no model is named"),
        ("opnai:gpt-4o", "did you mean openai:MODEL"),
        ("hf:", "no checkpoint is named"),
        ("", "known: pocket"),
        ("hf:./no/such/folder", "there is no folder ./no/such/folder"),
        ("hf:/no/such/folder", "there is no folder"),
    ],
)
def test_a_wrong_name_is_one_clear_line(spec: str, part: str) -> None:
    with pytest.raises(UsageError, match=part) as caught:
        load_model(spec)
    assert "\n" not in str(caught.value)


def test_models_and_baselines_fit_their_protocols(llama: Any) -> None:
    assert isinstance(llama, Model)
    assert isinstance(load_model("baseline:oracle"), InformedModel)


def test_the_list_names_every_model_without_loading_one() -> None:
    rows = {row.spec: row for row in list_models()}
    assert rows["hf:ID_OR_DIR"].ready
    assert rows["baseline:oracle"].ready
    assert rows["openai:MODEL"].ready
    assert "vllm:ID_OR_DIR" in rows
    code = "import sys, llmeval.models as m; m.list_models(); print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert result.stdout.strip() == "False"


def test_a_missing_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError, match=r"pip install 'llmeval\[hf\]'"):
        load_model("hf:gpt2")


def test_an_unreachable_hub_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # A reserved address that swallows packets, or refuses at once: either way there is no hub.
    monkeypatch.setattr(constants, "ENDPOINT", "http://192.0.2.1:9")
    begun = time.monotonic()
    with pytest.raises(UsageError, match="hub cannot be reached"):
        load_model("hf:some-org/no-such-model")
    assert time.monotonic() - begun < 6  # two seconds, and a slow machine's importing
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="hf download some-org/no-such-model"):
        load_model("hf:some-org/no-such-model")


@pytest.fixture
def copy(llama_dir: Path, tmp_path: Path) -> Path:
    return shutil.copytree(llama_dir, tmp_path / "copy")


def expect_fault(folder: Path, part: str, **settings: Any) -> None:
    with pytest.raises(UsageError, match=part) as caught:
        load_model(f"hf:{folder}", ModelSettings(device="cpu", **settings))
    assert "\n" not in str(caught.value)


def test_a_cut_off_weights_file_is_said(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    expect_fault(copy, "cannot load the weights")


def test_missing_weights_are_never_made_up(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    expect_fault(copy, "lacks 1 of the model's weights, such as model.layers.1.mlp.up_proj.weight")


def test_weights_of_another_shape_are_said(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"hidden_size": 64, "head_dim": 8}))
    expect_fault(copy, "weights")


def test_a_folder_without_weights_is_said(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    expect_fault(copy, "cannot load the weights")


def test_malformed_json_is_said(copy: Path) -> None:
    (copy / "config.json").write_text("{")
    expect_fault(copy, "cannot load the configuration")


def test_a_damaged_tokenizer_is_said(copy: Path) -> None:
    (copy / "tokenizer.json").write_text('{"version": "1.0"}')
    expect_fault(copy, "cannot load the tokenizer")


def test_a_missing_tokenizer_is_said_and_another_can_be_named(copy: Path, gpt2_dir: Path) -> None:
    for path in copy.glob("tokenizer*"):
        path.unlink()
    expect_fault(copy, "no tokenizer .*tokenizer=ID_OR_DIR")
    model = load_model(f"hf:{copy}", ModelSettings(device="cpu", tokenizer=str(gpt2_dir)))
    assert "loglikelihood" in model.capabilities


def test_a_folder_without_a_checkpoint_is_said(tmp_path: Path) -> None:
    expect_fault(tmp_path, "no config.json")
    (tmp_path / "adapter_config.json").write_text("{}")
    expect_fault(tmp_path, "holds an adapter")
    expect_fault(tmp_path / "adapter_config.json", "is a file")


def test_an_adapter_beside_a_configuration_is_refused(copy: Path) -> None:
    (copy / "adapter_config.json").write_text("{}")
    expect_fault(copy, "holds an adapter, no whole model.*peft=DIR")


def test_an_encoder_decoder_is_refused(copy: Path) -> None:
    (copy / "config.json").write_text('{"model_type": "t5", "is_encoder_decoder": true}')
    expect_fault(copy, "t5 is an encoder-decoder")


def test_absent_devices_lengths_and_templates_are_said(copy: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no cuda device"):
            load_model(f"hf:{copy}", ModelSettings(device="cuda:3"))
    expect_fault(copy, "more than the model's 64 positions", max_length=65)
    expect_fault(copy, "no chat template 'nope'", chat_template="nope")


def test_a_cached_hub_model_loads_without_a_hub(
    llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--org--tiny"
    shutil.copytree(llama_dir, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    model = load_model("hf:org/tiny", ModelSettings(device="cpu"))
    assert isinstance(model, Model)
    assert model.describe()["identity"]["model"] == {"commit": commit}
    with pytest.raises(UsageError, match="hub cannot be reached"):
        load_model("hf:org/tiny", ModelSettings(device="cpu", revision="another"))


def test_pocket_is_an_ordinary_model() -> None:
    model = load_model("pocket", ModelSettings(device="cpu"))
    assert isinstance(model, Model)
    assert model.name == "pocket"
    assert {"loglikelihood", "generate"} <= model.capabilities
