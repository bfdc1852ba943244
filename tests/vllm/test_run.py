"""A whole run with a vLLM model: the embedded suite gives its known values."""

from __future__ import annotations

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed here")

from pathlib import Path
from typing import Any

import llmeval
from llmeval.doctor import SUITE, slice_means
from llmeval.pocket import load_known


@pytest.mark.slow
def test_the_embedded_suite_gives_its_known_values(served: Any, tmp_path: Path) -> None:
    run = llmeval.run(
        served, SUITE, workspace=tmp_path, out=tmp_path / "results", allow_unsafe_code=True
    )
    assert run.summary["status"] == "complete"
    means = slice_means(run)
    checked = 0
    for task, expected in load_known()["tasks"].items():
        for metric, by_slice in expected["metrics"].items():
            for name, row in by_slice.items():
                if name == "all":
                    continue
                value, n = means[task, metric, name]
                assert n == row["n"] and row["bounds"][0] <= value <= row["bounds"][1]
                assert value == pytest.approx(row["measured"], abs=0.011), (task, metric, name)
                checked += 1
    assert checked > 10
    usage = run.summary["usage"]
    assert 0 < usage["computed_tokens"] < usage["prompt_tokens"]
    again = llmeval.run(
        served, SUITE, workspace=tmp_path, out=tmp_path / "again", allow_unsafe_code=True
    )
    assert again.summary["usage"]["computed_tokens"] == 0
