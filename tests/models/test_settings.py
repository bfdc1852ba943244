"""Model settings are checked where they come in, lm-eval's names included."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
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
        ({"scorer": "fast"}, "one of auto, packed, plain"),
        ({"pack_size": 0}, "pack_size"),
        ({"workers": 0}, "workers"),
        ({"workers": "all"}, "all"),
        ({"workers": 2, "device_map": "auto"}, "workers=2 and device_map=auto exclude"),
        ({"workers": "auto", "device": "cuda:1"}, "workers=auto and device=cuda:1 exclude"),
        ({"device_map": "auto", "device": "cpu"}, "device_map=auto and device=cpu exclude"),
        ({"device_map": "cuda:0"}, "one of auto, balanced"),
        ({"load_in_4bit": True, "load_in_8bit": True}, "exclude"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(values: dict[str, Any], part: str) -> None:
    with pytest.raises(UsageError, match=part) as caught:
        ModelSettings.from_mapping(values)
    assert "\n" not in str(caught.value)


def test_text_from_a_command_line_is_converted() -> None:
    values = {"max_length": "128", "add_bos_token": "False", "batch_size": "auto:4", "revision": ""}
    assert ModelSettings.from_mapping(values) == ModelSettings(max_length=128, add_bos_token=False)


def test_every_setting_has_a_converter_and_a_line_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    for setting in fields(ModelSettings):
        assert ModelSettings.from_mapping({setting.name: setting.default}) == ModelSettings()
        assert f"`{setting.name}`" in page, setting.name


def test_settings_of_several_devices_are_converted() -> None:
    values = {"workers": "auto", "pack_size": "auto", "device_map": "", "load_in_4bit": "true"}
    assert ModelSettings.from_mapping(values) == ModelSettings(workers="auto", load_in_4bit=True)
    assert ModelSettings.from_mapping({"workers": "2"}).workers == 2


def test_lm_evals_parallelize_is_a_device_map() -> None:
    args = "pretrained=x,peft=y,load_in_8bit=True,parallelize="
    assert from_model_args(args + "True", device="cuda:0")[1] == ModelSettings(
        peft="y", load_in_8bit=True, device_map="auto"
    )
    assert from_model_args(args + "False", device="cpu")[1] == ModelSettings(
        peft="y", load_in_8bit=True, device="cpu"
    )


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
        ("pretrained=x,delta=y", "hf", "delta is not supported"),
        ("pretrained=x,parallelize=2", "hf", "2.*neither true nor false"),
        ("pretrained=x,backend=seq2seq", "hf", "backend=seq2seq is not supported"),
        ("pretrained=x,float32", "hf", "no name=value"),
        ("pretrained=x", "nemo_lm", "nemo_lm"),
    ],
)
def test_what_lm_eval_has_and_we_have_not_is_said(args: str, model: str, part: str) -> None:
    with pytest.raises(UsageError, match=part):
        from_model_args(args, model)


@pytest.mark.parametrize("name", ["hf:org/model", "pocket"])
def test_a_model_by_our_own_name_takes_settings_as_pairs(name: str) -> None:
    spec, settings = from_model_args("workers=2,dtype=bfloat16", name, device="cpu")
    assert spec == name
    assert (settings.workers, settings.dtype, settings.device) == (2, "bfloat16", "cpu")
    with pytest.raises(UsageError, match="unknown model setting 'pretrained'"):
        from_model_args("pretrained=gpt2", name)


def test_json_values_keep_their_commas() -> None:
    args = 'extra_body={"a":1,"b":[2,3]},headers={"X-Title":"one, two"},api=chat'
    spec, settings = from_model_args(args, "openai:m", base_url="localhost:1/v1")
    assert spec == "openai:m"
    assert settings.extra_body == {"a": 1, "b": [2, 3]}  # type: ignore[union-attr]
    assert settings.headers == {"X-Title": "one, two"}  # type: ignore[union-attr]
    assert settings.api == "chat"  # type: ignore[union-attr]


def test_lm_evals_command_line_of_a_served_model_is_understood() -> None:
    args = "model=m,base_url=http://h:1/v1/chat/completions,num_concurrent=8,eos_string=</s>"
    spec, settings = from_model_args(args, "local-chat-completions", batch_size="8")
    assert spec == "openai:m"
    assert settings.base_url == "http://h:1/v1"  # type: ignore[union-attr]
    assert (settings.max_connections, settings.api) == (8, "chat")  # type: ignore[union-attr]
