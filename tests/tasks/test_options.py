"""Settings that no task could use are refused where they come in."""

from __future__ import annotations

from typing import Any

import pytest

from llmeval.core import UsageError
from llmeval.tasks.options import TaskOptions


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"limit": 0}, "--limit: must be at least 1, not 0"),
        ({"limit": "3"}, "--limit: must be a whole number, not '3'"),
        ({"limit": True}, "--limit: must be a whole number, not True"),
        ({"num_fewshot": -1}, "--num-fewshot: must be at least 0, not -1"),
        ({"repeats": 0.5}, "--repeats: must be a whole number, not 0.5"),
        ({"gen_kwargs": 5}, "--gen-kwargs: not a mapping"),
        ({"gen_kwargs": {"temprature": 1}}, "--gen-kwargs: unknown setting 'temprature'"),
        ({"gen_kwargs": {"temperature": "hot"}}, "must be a number at least 0, not 'hot'"),
        ({"gen_kwargs": {"temperature": -1}}, "must be a number at least 0, not -1"),
        ({"gen_kwargs": {"temperature": float("nan")}}, "must be a number at least 0, not nan"),
        ({"gen_kwargs": {"top_p": 0}}, "must be a number above 0 and at most 1, not 0"),
        ({"gen_kwargs": {"top_p": 1.5}}, "must be a number above 0 and at most 1, not 1.5"),
        ({"gen_kwargs": {"max_gen_toks": 0}}, "must be at least 1, not 0"),
        ({"gen_kwargs": {"top_k": 2.5}}, "must be a whole number, not 2.5"),
        ({"gen_kwargs": {"until": 5}}, "must be a text or a list of texts, not 5"),
        ({"gen_kwargs": {"do_sample": "yes"}}, "must be true or false, not 'yes'"),
        ({"gen_kwargs": {"num_beams": 4}}, "4 is not supported"),
    ],
)
def test_a_bad_setting_is_named_with_its_value(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        TaskOptions(**settings)
    assert message in str(error.value)


def test_good_settings_pass() -> None:
    TaskOptions(
        limit=1,
        num_fewshot=0,
        repeats=2,
        gen_kwargs={"temperature": 0, "top_p": 1, "top_k": 5, "until": ["\n"], "num_beams": 1},
    )
