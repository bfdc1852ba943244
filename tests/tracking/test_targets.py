"""Where a run is to be logged is understood before the run, and never holds a secret."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from llmeval.core import UsageError
from llmeval.tracking import Target, parse_target, require_target
from llmeval.tracking.targets import hide_secrets


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("mlflow:sqlite:///mlflow.db", Target("mlflow", "sqlite:///mlflow.db")),
        ("mlflow:http://host:5000", Target("mlflow", "http://host:5000")),
        ("mlflow:./mlruns", Target("mlflow", "./mlruns")),
        ("mlflow:postgresql://me@host/db", Target("mlflow", "postgresql://me@host/db")),
        ("mlflow", Target("mlflow", "")),
        ("wandb:team/project", Target("wandb", "team/project")),
    ],
)
def test_a_target_is_a_tool_and_a_place(text: str, target: Target) -> None:
    assert parse_target(text) == target
    assert str(target) == text


@pytest.mark.parametrize("text", ["", "mflow:x", "tensorboard:x", ":x", "sqlite:///mlflow.db"])
def test_an_unknown_tool_is_named_with_the_known_ones(text: str) -> None:
    with pytest.raises(UsageError, match=r"--track: unknown tracker .*mlflow:URI, wandb:PROJECT"):
        parse_target(text)


@pytest.mark.parametrize(
    "text",
    [
        "mlflow:http://me:hunter2@host:5000",
        "mlflow:https://hunter2@host",
        "mlflow:postgresql://me:hunter2@host/db",
        "mlflow:postgresql://me:hun/ter2?hunter2@host/db",
        "mlflow:mysql+pymysql://host/db?password=hunter2",
        "mlflow:http://host/?api_key=hunter2&x=1",
        "mlflow:mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3Dhunter2",
    ],
)
def test_a_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_target(text)
    assert "would be written down" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_messages_lose_the_secrets_of_urls() -> None:
    said = "cannot reach http://me:hunter2@host:5000/api nor sqlite:///x.db, ask a@b.c"
    assert hide_secrets(said) == "cannot reach http://host:5000/api nor sqlite:///x.db, ask a@b.c"
    assert (
        hide_secrets("no postgresql://me:h@n/ter2@host/db here") == "no postgresql://host/db here"
    )
    assert hide_secrets("GET http://host/?token=hunter2&x=1") == "GET http://host/?token=...&x=1"


@pytest.mark.parametrize("where", ["htp://host", "redis://host", "s3://bucket", ""])
def test_a_uri_that_is_none_of_mlflows_is_found_before_the_run(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UsageError, match="--track: mlflow: "):
        require_target(Target("mlflow", where))


@pytest.mark.parametrize("where", ["", "/", "a/b/c", "/project", "team/", "a#b", "a:b"])
def test_a_project_that_is_none_is_found_before_the_run(where: str) -> None:
    with pytest.raises(UsageError, match="wandb: no project is named"):
        require_target(Target("wandb", where))


@pytest.mark.parametrize(
    ("text", "absent", "extra"),
    [
        ("mlflow:http://host", "mlflow", "mlflow"),
        ("mlflow:sqlite:///x.db", "sqlalchemy", "mlflow"),
        ("wandb:project", "wandb", "wandb"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, text: str, absent: str, extra: str
) -> None:
    find = importlib.util.find_spec

    def find_others(name: str, *rest: Any) -> Any:
        return None if name == absent else find(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find_others)
    with pytest.raises(UsageError, match=rf"not installed: {absent} .*'llmeval\[{extra}\]'"):
        require_target(parse_target(text))
