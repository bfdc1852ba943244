"""The doctor finds what is wrong with an installation, and finds nothing wrong with a right one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import llmeval
from llmeval.core import UsageError
from llmeval.doctor import examine, slice_means
from llmeval.models import ModelSettings
from llmeval.pocket import MODEL_DIR
from tests.support.fakes import FakeModel, FakeTask


def test_slice_means_are_those_of_each_slice(tmp_path: Path) -> None:
    run = llmeval.run(FakeModel(), FakeTask("a", 7), workspace=tmp_path, out=tmp_path)
    by_hand: dict[int, list[float]] = {0: [], 1: []}
    for i, value in enumerate(run.scores["value"].to_pylist()):
        by_hand[i % 2].append(value)
    assert slice_means(run, "parity") == {
        ("a", "acc", parity): (pytest.approx(sum(values) / len(values)), len(values))
        for parity, values in by_hand.items()
    }


def test_a_baseline_answers_nothing_to_check() -> None:
    with pytest.raises(UsageError, match="a baseline answers nothing to check"):
        list(examine("baseline:oracle", ModelSettings()))


@pytest.mark.slow
def test_the_pocket_model_passes() -> None:
    pytest.importorskip("torch")
    checks = list(examine("pocket", ModelSettings(dtype="float32")))
    assert [check for check in checks if check.ok is False] == []
    assert sum(check.ok is True for check in checks) > 20


@pytest.mark.slow
def test_a_tampered_model_fails(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "copy"
    shutil.copytree(MODEL_DIR, copy)
    weights = load_file(copy / "model.safetensors")
    name = next(name for name in weights if "layers.0.mlp.down_proj" in name)
    noise = torch.randn(weights[name].shape, generator=torch.Generator().manual_seed(0))
    weights[name] += 0.02 * noise.to(weights[name].dtype)
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    checks = examine(f"hf:{copy}", ModelSettings(dtype="float32"))
    assert "probe log-probabilities" in [check.name for check in checks if check.ok is False]
