"""Settings of a served model are checked where they come in; secrets come from the environment."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.core import UsageError
from llmeval.models import from_model_args, read_settings
from llmeval.models.served import ServedSettings
from llmeval.models.served.settings import clean_url, read_headers

SECRET = "sk-aB3dE5fG7hI9jK1l"


def read(**values: Any) -> ServedSettings:
    settings = read_settings("openai:m", values)
    assert isinstance(settings, ServedSettings)
    return settings


# -- secrets ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"headers": {"Authorization": f"Bearer {SECRET}"}},
        {"headers": {"api-key": SECRET}},
        {"headers": {"X-Auth": SECRET}},
        {"headers": {"Cookie": f"session={SECRET}"}},
        {"headers": {"x-client-secret": SECRET}},
        {"headers": f'{{"Authorization": "{SECRET}"}}'},
        {"query": {"api_key": SECRET}},
        {"query": {"access-token": SECRET}},
        {"query": f'{{"key": "{SECRET}"}}'},
        {"extra_body": {"api_key": SECRET}},
        {"extra_body": {"authorization": SECRET}},
        {"base_url": f"https://user:{SECRET}@host/v1"},
        {"base_url": f"https://{SECRET}@host/v1"},
    ],
)
def test_a_secret_is_refused_and_not_repeated(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        read(**values)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"headers": f'{{"Authorization": "Bearer {SECRET}"'},  # a brace is missing
        {"headers": f"Authorization: Bearer {SECRET}"},
        {"base_url": f"ftp://user:{SECRET}@host/v1"},
        {"base_url": f"https://user:{SECRET}@/v1"},
        {"extra_body": {"provider": {"api_key": SECRET}}},
    ],
)
def test_a_secret_in_what_is_malformed_is_refused_and_not_repeated(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        read(**values)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"headers": {"Authorization": "$MY_KEY"}},
        {"headers": {"HTTP-Referer": "https://example.org", "X-Title": "llmeval"}},
        {"query": {"api-version": "2024-10-21"}},
        {"extra_body": {"max_completion_tokens": 5, "provider": {"order": ["x"]}}},
    ],
)
def test_what_is_no_secret_is_taken(values: dict[str, Any]) -> None:
    assert read(**values).model_dump(exclude_defaults=True) == values


def test_headers_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    headers = {"Authorization": "$MY_KEY", "X-Auth": "${MY_KEY}", "X-Title": "llmeval"}
    assert read_headers(headers) == {
        "Authorization": SECRET,
        "X-Auth": SECRET,
        "X-Title": "llmeval",
    }
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(UsageError, match=r"the header Authorization: \$MY_KEY is not set"):
        read_headers(headers)


# -- addresses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_url", "cleaned"),
    [
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/completions", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/chat/completions", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/chat/completions/", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/responses", "http://localhost:8000/v1"),
        ("localhost:8000/v1", "http://localhost:8000/v1"),
        ("https://host", "https://host"),
        ("https://host/", "https://host"),
        ("https://host/api/completions-v2/v1", "https://host/api/completions-v2/v1"),
        ("https://name.openai.azure.com/openai/v1/", "https://name.openai.azure.com/openai/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
    ],
)
def test_an_address_is_cleaned(given_url: str, cleaned: str) -> None:
    assert read(base_url=given_url).base_url == cleaned
    assert clean_url(cleaned) == cleaned


@pytest.mark.parametrize("url", ["ftp://host/v1", "http://", "http:///v1", "://", "file:///etc"])
def test_what_is_no_address_of_a_server_is_one_clear_line(url: str) -> None:
    with pytest.raises(UsageError, match="base_url") as caught:
        read(base_url=url)
    assert "\n" not in str(caught.value)


def test_a_query_in_an_address_is_kept_or_refused() -> None:
    try:
        settings = read(base_url="https://host/v1?api-version=2024-10-21")
    except UsageError:
        return
    assert settings.query == {"api-version": "2024-10-21"}


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_one_clear_line(text: str) -> None:
    try:
        url = read(base_url=text).base_url
    except UsageError as error:
        assert "\n" not in str(error)
        return
    assert url is None or url.startswith(("http://", "https://"))


# -- texts from a command line ---------------------------------------------------------------


def test_texts_are_converted() -> None:
    values = {
        "max_connections": "8",
        "timeout": "30.5",
        "reasoning": "true",
        "send_seed": "False",
        "price_input": "0",
        "price_output": "1",
        "tokens_per_minute": "1e6",
        "headers": '{"X-Title": "llmeval"}',
        "extra_body": '{"top_a": 0.2, "stop_token_ids": [1, 2]}',
        "base_url": "none",
        "tokenizer": "",
        "max_stop": "0",
        "top_logprobs": "NULL",
    }
    assert read(**values) == ServedSettings(
        max_connections=8,
        timeout=30.5,
        reasoning=True,
        send_seed=False,
        price_input=0.0,
        price_output=1.0,
        tokens_per_minute=1e6,
        headers={"X-Title": "llmeval"},
        extra_body={"top_a": 0.2, "stop_token_ids": [1, 2]},
        max_stop=0,
    )


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"max_conections": "8"}, "unknown model setting 'max_conections'.*max_connections"),
        ({"max_connections": "0"}, "max_connections.*greater than or equal to 1.*'0'"),
        ({"max_connections": "many"}, "max_connections.*'many'"),
        ({"max_connections": "2.5"}, "max_connections"),
        ({"max_connections": "5000"}, "max_connections.*4096"),
        ({"timeout": "-1"}, "timeout"),
        ({"api": "embeddings"}, "api.*'auto', 'chat', 'completions' or 'responses'"),
        ({"price_input": "-1"}, "price_input"),
        ({"headers": "X-Title"}, "headers"),
        ({"query": "[1]"}, "query"),
        ({"reasoning": "perhaps"}, "reasoning"),
        ({"dtype": "float32"}, "dtype.*setting of hf"),
        ({"max_length": "4"}, "max_length"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(values: dict[str, Any], part: str) -> None:
    with pytest.raises(UsageError, match=part) as caught:
        read(**values)
    assert "\n" not in str(caught.value)


def test_no_effort_is_an_effort() -> None:
    assert read(reasoning_effort="none").reasoning_effort == "none"


@given(st.dictionaries(st.sampled_from(sorted(ServedSettings.model_fields)), st.text(max_size=12)))
def test_any_texts_are_settings_or_one_clear_line(values: dict[str, str]) -> None:
    try:
        read(**values)
    except UsageError as error:
        assert "\n" not in str(error)


# -- lm-eval's spelling ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "api"),
    [
        ("local-completions", "completions"),
        ("openai-completions", "completions"),
        ("local-chat-completions", "chat"),
        ("openai-chat-completions", "chat"),
    ],
)
def test_lm_evals_api_models_are_understood(model: str, api: str) -> None:
    """The arguments are those of lm-eval's documentation of API models."""
    path = "chat/completions" if api == "chat" else "completions"
    spec, settings = from_model_args(
        f"model=org/name-1,base_url=http://localhost:8000/v1/{path},num_concurrent=8,"
        "max_retries=3,tokenized_requests=False,tokenizer_backend=huggingface,batch_size=16,"
        "timeout=60,max_length=2048,seed=1234",
        model,
    )
    assert spec == "openai:org/name-1"
    assert settings == ServedSettings(
        api=api,  # type: ignore[arg-type]
        base_url="http://localhost:8000/v1",
        max_connections=8,
        max_attempts=3,
        timeout=60.0,
        max_length=2048,
    )


def test_pretrained_names_the_model_too() -> None:
    spec, settings = from_model_args(
        "pretrained=facebook/opt-125m,tokenizer=facebook/opt-125m,max_gen_toks=32",
        "local-completions",
    )
    assert spec == "openai:facebook/opt-125m"
    assert settings == ServedSettings(
        api="completions", tokenizer="facebook/opt-125m", max_gen_toks=32
    )


def test_settings_beside_the_pairs_are_ours() -> None:
    spec, settings = from_model_args(
        "num_concurrent=4", "openai:m", base_url="http://h/v1", max_connections=None
    )
    assert spec == "openai:m"
    assert settings == ServedSettings(max_connections=4, base_url="http://h/v1")


@pytest.mark.parametrize(
    ("args", "part"),
    [
        ("base_url=http://h/v1", "no model is named"),
        ("model=m,num_concurent=4", "unknown model setting 'num_concurent'"),
        ("model=m,dtype=float32", "dtype"),
        ("model=m,8", "no name=value"),
    ],
)
def test_what_lm_eval_would_not_take_either_is_said(args: str, part: str) -> None:
    with pytest.raises(UsageError, match=part):
        from_model_args(args, "local-completions")
