"""Runs on a server once more: it is asked anew, and what may explain other answers is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import llmeval
from llmeval.core import InvalidResult, UsageError
from llmeval.models.served import batches
from llmeval.rerun import Rerun, rerun
from llmeval.run_spec import make_spec
from llmeval.runs import Run
from llmeval.session import execute
from tests.support.mock_openai.launch import MockServer, serve
from tests.support.questions import make_workspace

N = 16


@pytest.fixture
def server() -> Iterator[MockServer]:
    with serve() as server:
        yield server


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(make_workspace(tmp_path, N))
    monkeypatch.delenv("LLMEVAL_HOME", raising=False)
    return tmp_path


def settings(server: MockServer) -> dict[str, Any]:
    return {"base_url": server.url, "api": "chat"}


def run(server: MockServer, **options: Any) -> Run:
    return llmeval.run("openai:mock-model", "four", model_settings=settings(server), **options)


def again(server: MockServer, run: Run, **more: Any) -> Rerun:
    server.reset()
    return rerun(run, **more)


def test_a_server_is_asked_anew(workspace: Path, server: MockServer) -> None:
    done = again(server, run(server))
    assert server.stats()["answered"] >= N
    assert done.agreement.verdict == "byte-identical"
    assert done.again.summary["usage"]["cached"] == 0


def test_the_journal_is_enough_to_score_anew(workspace: Path, server: MockServer) -> None:
    done = again(server, run(server), from_journal=True)
    assert done.again.summary["usage"]["cached"] == N
    assert done.agreement.verdict == "byte-identical"


def test_a_batch_is_handed_in_anew(
    workspace: Path, server: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Providers keep batches for a month; the first run's would answer everything."""
    monkeypatch.setattr(batches, "POLL_SECONDS", (0.02, 0.05))
    server.set(batch_seconds=0.05)
    spec = make_spec(
        "openai:mock-model",
        ["four"],
        model_settings=settings(server),
        batch=True,
        batch_wait=True,
    )
    first = execute(spec)
    done = again(server, first)
    assert server.stats()["batch_requests"] == N
    assert done.agreement.verdict == "byte-identical"
    assert not list((workspace / ".llmeval").glob("rerun-*"))


def test_another_model_behind_the_name_is_named(workspace: Path, server: MockServer) -> None:
    first = run(server, gen_kwargs={"temperature": 0.7})
    let_another_answer(first)
    done = again(server, first)
    assert done.agreement.verdict == "different"
    assert len(done.agreement.changed["answer"]) == N
    sampled, other, always = done.notes
    assert "sampled" in sampled
    assert "mock-model-2025 before, mock-model (fp_mock) now" in other
    assert "not recorded" in always


def test_answers_that_were_journaled_are_named_as_a_cause(
    workspace: Path, server: MockServer
) -> None:
    run(server)
    second = run(server)
    let_another_answer(second)
    journaled, *_ = again(server, second).notes
    assert journaled.startswith(f"{N} of the first run's {N} answers were repeated or from the")
    assert "in other batches, or by an earlier revision" in journaled


def let_another_answer(run: Run) -> None:
    """Rewrite a record as if another version of the model had said other things."""
    run.manifest["performance"]["answered_by"] = {"mock-model-2025": N}
    table = run.samples
    said = [text.replace('"text":"', '"text":"no ') for text in table["exchanges"].to_pylist()]
    place = table.column_names.index("exchanges")
    pq.write_table(table.set_column(place, "exchanges", [said]), run.path / "samples.parquet")


def test_an_address_may_have_moved(workspace: Path, server: MockServer) -> None:
    first = run(server)
    with serve() as moved:
        done = rerun(first, settings=f"base_url={moved.url}")
        assert moved.stats()["answered"] >= N
    assert done.agreement.verdict == "byte-identical"
    assert {"base_url"} <= {d.name for d in done.differences}


def test_a_server_that_is_gone_is_the_runs_own_error(workspace: Path, server: MockServer) -> None:
    first = run(server)
    with pytest.raises((UsageError, InvalidResult)):
        rerun(first, settings="base_url=http://127.0.0.1:9/v1,patience=0.2")
