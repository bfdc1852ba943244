"""The table of providers: what is built in, what a workspace adds, what answers cost."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from llmeval.core import UsageError
from llmeval.models.served import ServedSettings
from llmeval.models.served.prices import PriceTag
from llmeval.models.served.providers import (
    BUILT_IN,
    ModelEntry,
    Price,
    Provider,
    find_provider,
    read_providers,
)


def write(folder: Path, text: str) -> Path:
    (folder / "providers.yaml").write_text(text, encoding="utf-8")
    return folder


# -- the built-in file -----------------------------------------------------------------------


def test_the_built_in_file_can_be_read(tmp_path: Path) -> None:
    providers = read_providers(tmp_path)
    written = yaml.safe_load(BUILT_IN.read_text(encoding="utf-8"))["providers"]
    assert set(providers) == set(written)
    assert {"openai", "azure", "openrouter", "groq", "together"} <= set(providers)
    for name, provider in providers.items():
        assert provider.base_url is not None, name
        assert provider.base_url.startswith("https://"), name
        assert provider.key_env, name


def test_no_model_of_the_built_in_file_is_hidden_by_one_before_it(tmp_path: Path) -> None:
    """A name that fits a pattern and has something for its star finds that entry."""
    for provider in read_providers(tmp_path).values():
        for entry in provider.models:
            name = entry.match.replace("*", "x")
            assert provider.find(name) == entry, entry.match


@pytest.mark.parametrize(
    ("model", "reasoning", "api", "price"),
    [
        ("gpt-4o-mini-2024-07-18", None, None, (0.15, 0.6, 0.075)),
        ("gpt-4o-2024-11-20", None, None, (2.5, 10.0, 1.25)),
        ("gpt-4.1-nano", None, None, (0.1, 0.4, 0.025)),
        ("o3-mini", True, None, (1.1, 4.4, 0.55)),
        ("o3-pro", True, "responses", (20.0, 80.0, None)),
        ("gpt-5", True, None, (1.25, 10.0, 0.125)),
        ("gpt-5-nano-2025-08-07", True, None, (0.05, 0.4, 0.005)),
        ("gpt-5-chat-latest", None, None, (1.25, 10.0, 0.125)),
        ("gpt-3.5-turbo-instruct", None, "completions", (1.5, 2.0, None)),
        ("gpt-99", None, None, None),
    ],
)
def test_openais_models_are_what_its_list_says(
    tmp_path: Path,
    model: str,
    reasoning: bool | None,
    api: str | None,
    price: tuple[float, float, float | None] | None,
) -> None:
    entry = read_providers(tmp_path)["openai"].find(model)
    assert (entry.reasoning, entry.api) == (reasoning, api)
    found = entry.price and (entry.price.input, entry.price.output, entry.price.cached)
    assert found == price


def test_the_first_entry_that_fits_counts() -> None:
    entries = [ModelEntry(match="a-b*", max_length=1), ModelEntry(match="a*", max_length=2)]
    provider = Provider(models=entries)
    assert [provider.find(name).max_length for name in ("a-bc", "a-c", "b")] == [1, 2, None]
    assert provider.find("A-b").max_length is None  # names are exact


# -- the workspace's own ---------------------------------------------------------------------


def test_a_workspaces_entries_win_and_leave_the_others(tmp_path: Path) -> None:
    providers = read_providers(
        write(
            tmp_path,
            """
            providers:
              openai:
                max_connections: 7
                models: [{match: "gpt-4o*", price: {input: 1, output: 2}}]
              mine:
                base_url: http://localhost:9000/v1
            """,
        )
    )
    openai = providers["openai"]
    assert openai.max_connections == 7
    assert openai.key_env == "OPENAI_API_KEY"
    assert openai.find("gpt-4o-mini").price == Price(input=1, output=2)  # its own comes first
    assert openai.find("gpt-4.1").price == Price(input=2.0, output=8.0, cached=0.5)
    assert providers["mine"] == Provider(base_url="http://localhost:9000/v1")
    assert "groq" in providers


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("providers: [a", "cannot be read"),
        ("- a", "holds no providers"),
        ("", "holds no providers"),
        ("provider: {}", "holds no providers"),
        ("providers: {openai: 3}", "holds no providers"),
        ("providers: {openai: {max_stopp: 3}}", "openai.max_stopp"),
        ("providers: {openai: {models: [{match: a, price: {input: -1, output: 2}}]}}", "input"),
        ("providers: {x: {models: [{price: {input: 1, output: 2}}]}}", "x.models.0.match"),
        ("providers: {x: {api: embeddings}}", "x.api"),
        ("providers: {openai: {models: {match: a}}}", "openai.models"),
    ],
)
def test_a_malformed_file_is_one_line_with_its_place(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(UsageError, match=part) as caught:
        read_providers(write(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "providers.yaml") in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "providers: {openai: {models: 3}}",
        "providers: {openai: {models: null}}",
    ],
)
def test_models_that_are_no_list_are_one_line_as_well(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"openai\.models"):
        read_providers(write(tmp_path, text))


def test_a_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "providers.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        read_providers(tmp_path)


# -- which one is meant ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "openai"),
        ({"provider": "groq"}, "groq"),
        ({"base_url": "https://api.openai.com/v1"}, "openai"),
        ({"base_url": "https://eu.api.openai.com/v1"}, "openai"),
        ({"base_url": "https://my-name.openai.azure.com/openai/v1"}, "azure"),
        ({"base_url": "https://api.groq.com/other/v1"}, "groq"),
        ({"base_url": "http://localhost:8000/v1"}, "custom"),
        ({"base_url": "http://api.openai.com/v1"}, "custom"),  # not over an open line
        ({"base_url": "https://api.openai.com:8443/v1"}, "custom"),
        ({"base_url": "https://notapi.openai.com.example.org/v1"}, "custom"),
        ({"base_url": "https://evilapi.openai.com/v1"}, "custom"),
        ({"base_url": "http://localhost:8000/v1", "provider": "openai"}, "openai"),
    ],
)
def test_a_provider_is_found_by_its_name_or_its_address(
    tmp_path: Path, settings: dict[str, str], name: str
) -> None:
    """Its key goes to nobody else."""
    providers = read_providers(tmp_path)
    found, provider = find_provider(ServedSettings(**settings), providers)  # type: ignore[arg-type]
    assert found == name
    assert provider == (Provider() if name == "custom" else providers[name])


def test_an_unknown_provider_is_said_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown provider 'opnai'.*known: openai, azure"):
        find_provider(ServedSettings(provider="opnai"), read_providers(tmp_path))


# -- what answers cost -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "tokens", "usd"),
    [
        # gpt-4o-mini: 1,000,000 x 0.15/M + 200,000 x 0.60/M
        ({"input": 0.15, "output": 0.6, "cached": 0.075}, (1_000_000, 0, 200_000), 0.27),
        # of 1,000 tokens 400 at half price: 600 x 0.15/M + 400 x 0.075/M + 100 x 0.6/M
        ({"input": 0.15, "output": 0.6, "cached": 0.075}, (1000, 400, 100), 0.00018),
        # no price for what is cached: as much as for what is not
        ({"input": 2.0, "output": 4.0}, (1000, 1000, 0), 0.002),
        ({"input": 0.0, "output": 0.0}, (1000, 0, 1000), 0.0),
        # more cached than read, as a call of several answers may say
        ({"input": 1.0, "output": 1.0, "cached": 0.5}, (0, 1000, 0), 0.0005),
    ],
)
def test_prices_are_for_a_million_tokens(
    price: dict[str, float], tokens: tuple[int, int, int], usd: float
) -> None:
    tag = PriceTag(Price(**price))
    assert tag.of_tokens(*tokens) == pytest.approx(usd, rel=1e-12)
    assert PriceTag(Price(**price), 0.5).of_tokens(*tokens) == pytest.approx(usd / 2, rel=1e-12)


def test_an_unknown_price_is_none_and_not_nothing() -> None:
    assert PriceTag(None).of_tokens(1000, 0, 1000) is None
    assert PriceTag(None).describe() is None


def test_a_price_of_the_settings_wins() -> None:
    entry = ModelEntry(match="m", price=Price(input=9, output=9))
    assert PriceTag.of(ServedSettings(), entry).of_tokens(10**6, 0, 0) == 9.0
    named = ServedSettings(price_input=1.0, price_output=2.0, price_cached=0.5)
    assert PriceTag.of(named, entry).of_tokens(2 * 10**6, 10**6, 10**6) == 1.0 + 0.5 + 2.0
