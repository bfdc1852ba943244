"""Generation settings mean what lm-eval's own normalisation says."""

from __future__ import annotations

from typing import Any

import pytest
from lm_eval.models.utils import normalize_gen_kwargs

from llmeval.core import UsageError
from llmeval.tasks.generation import override_generation, to_sampling

SETTINGS: list[dict[str, Any]] = [
    {},
    {"until": ["\n", "Q:"], "max_gen_toks": 7},
    {"until": "###", "max_new_tokens": 9},
    {"max_tokens": 3, "max_gen_toks": 5},
    {"max_completion_tokens": 4},
    {"temperature": 0.0},
    {"temperature": 0.7},
    {"do_sample": False, "temperature": 0.7},
    {"do_sample": True, "temperature": 0.2, "top_p": 0.9, "top_k": 5},
    {"do_sample": True, "temperature": 0.0},
    {"do_sample": None, "temperature": 0.7},
    {"do_sample": None, "temperature": 0.0},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_as_lm_eval_normalises_them(settings: dict[str, Any]) -> None:
    theirs: Any = normalize_gen_kwargs(settings, default_max_gen_toks=256)
    ours = to_sampling(settings, seed=3)
    assert list(ours.stop) == theirs["until"]
    assert (ours.max_tokens or 256) == theirs["max_gen_toks"]
    sampled = theirs["do_sample"] and theirs.get("temperature") != 0.0
    assert ours.greedy == (not sampled)
    if sampled:
        assert ours.temperature == theirs["temperature"]
    assert (ours.top_p, ours.top_k) == (theirs.get("top_p"), theirs.get("top_k"))
    assert ours.seed == 3


def test_sampling_without_a_temperature_is_at_one() -> None:
    assert to_sampling({"do_sample": True}, 0).temperature == 1.0  # transformers' default


@pytest.mark.parametrize("settings", [{"num_beams": 1}, {"repetition_penalty": 1.0}])
def test_settings_without_effect_are_taken(settings: dict[str, Any]) -> None:
    assert to_sampling(settings, 0) == to_sampling({}, 0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_beams": 4}, "task num_beams: 4 is not supported"),
        ({"temprature": 1}, "task: unknown setting 'temprature'"),
        ({"min_p": 0.1}, "task: unknown setting 'min_p'"),
    ],
)
def test_settings_that_nothing_here_honours_are_refused(
    settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        to_sampling(settings, 0, "task")


@pytest.mark.parametrize(
    ("own", "nearer", "both"),
    [
        ({"temperature": 0.7}, {"top_p": 0.9}, {"temperature": 0.7, "top_p": 0.9}),
        ({"temperature": 0.7}, {"temperature": 0.2}, {"temperature": 0.2}),
        ({"max_gen_toks": 3, "until": ["."]}, {"max_tokens": 5}, {"until": ["."], "max_tokens": 5}),
        ({"stop": "a"}, {"until": "b"}, {"until": "b"}),
    ],
)
def test_the_nearer_settings_win_one_by_one_by_any_alias(
    own: dict[str, Any], nearer: dict[str, Any], both: dict[str, Any]
) -> None:
    assert override_generation(own, nearer) == both


def test_stop_goes_before_until() -> None:
    assert to_sampling({"until": ["a"], "stop": "b"}, 0).stop == ("b",)
