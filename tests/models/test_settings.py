"""Model settings are checked where they come in, lm-eval's names included."""

from __future__ import annotations

from typing import Any

import pytest

from llmeval.core import UsageError
from llmeval.models import ModelSettings, from_model_args


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"dtype": "float8"}, "float8"),
        ({"device": "gpu"}, "gpu"),
        ({"max_length": 0}, "max_length"),
        ({"batch_size": -1}, "batch_size"),
        ({"prefix_token_id": -1}, "prefix_token_id"),
        ({"max_length": "many"}, "many"),
        ({"max_length": 2.5}, "2.5"),
        ({"trust_remote_code": "maybe"}, "maybe"),
        ({"dype": "float32"}, "did you mean dtype"),
        ({"revision": 3}, "revision"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(values: dict[str, Any], part: str) -> None:
    with pytest.raises(UsageError, match=part) as caught:
        ModelSettings.from_mapping(values)
    assert "\n" not in str(caught.value)


def test_text_from_a_command_line_is_converted() -> None:
    values = {"max_length": "128", "add_bos_token": "False", "batch_size": "auto:4", "revision": ""}
    assert ModelSettings.from_mapping(values) == ModelSettings(max_length=128, add_bos_token=False)


def test_lm_evals_arguments_are_understood() -> None:
    spec, settings = from_model_args(
        "pretrained=org/name,dtype=float32, max_length=512,trust_remote_code=True,"
        "softmax_dtype=float32,backend=causal",
        device="cpu",
        batch_size=8,
    )
    assert spec == "hf:org/name"
    assert settings == ModelSettings(
        dtype="float32", max_length=512, trust_remote_code=True, device="cpu", batch_size=8
    )


@pytest.mark.parametrize(
    ("args", "model", "part"),
    [
        ("dtype=float32", "hf", "pretrained=ID_OR_DIR"),
        ("pretrained=x,dtypo=float32", "hf", "did you mean dtype"),
        ("pretrained=x,peft=y", "hf", "peft is not supported"),
        ("pretrained=x,parallelize=True", "hf", "parallelize=True is not supported"),
        ("pretrained=x,float32", "hf", "no name=value"),
        ("pretrained=x", "nemo_lm", "nemo_lm"),
    ],
)
def test_what_lm_eval_has_and_we_have_not_is_said(args: str, model: str, part: str) -> None:
    with pytest.raises(UsageError, match=part):
        from_model_args(args, model)
