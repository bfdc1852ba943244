"""Runs on a server that fails, hangs, lies, is restarted; and runs that are killed meanwhile."""

from __future__ import annotations

import json
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import llmeval
from llmeval.core import BudgetReached, InvalidResult, StorageError, UsageError
from llmeval.runs import Run, load_run
from tests.support.attempts import journaled
from tests.support.mock_openai.launch import MockServer, serve
from tests.support.questions import make_workspace, start

FAULTS = (
    *("429", "429-after", "429-ms", "500", "503", "timeout", "hang", "reset", "half"),
    *("invalid-json", "wrong-n", "empty-choices", "duplicate-id", "drip", "empty-body"),
    "null-content",
)
SETTINGS = {"api": "chat", "identity": "mock", "timeout": 1.0}


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmeval.engine.serving.dispatch.FIRST_DELAY", 0.05)


def run(workspace: Path, server: MockServer, **more: Any) -> Run:
    """Run the task ``four`` in this process."""
    settings = {**SETTINGS, "base_url": server.url, **more.pop("model_settings", {})}
    return llmeval.run(
        "openai:mock-model",
        [str(workspace / "tasks" / "four.yaml")],
        model_settings=settings,
        workspace=workspace,
        out=workspace / "results",
        **more,
    )


def answers(run: Run) -> list[tuple[str, Any, str, str | None]]:
    table = run.scores.to_pydict()
    columns = (table[name] for name in ("sample_id", "value", "status", "extracted"))
    return list(zip(*columns, strict=True))


@pytest.mark.slow
def test_at_thirty_percent_faults_every_sample_is_scored_as_without(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "a", 600)
    other = make_workspace(tmp_path / "b", 600)
    with serve(latency=0.005, hang_seconds=3, drip_seconds=0.3) as server:
        clean = run(workspace, server)
        server.reset()
        server.set(fault_rate=0.3, faults=list(FAULTS))
        faulty = run(other, server)
        stats = server.stats()
    assert answers(faulty) == answers(clean)
    assert [row[0] for row in answers(faulty)] == [str(i) for i in range(600)]
    assert {row[2] for row in answers(faulty)} == {"scored"}
    assert set(FAULTS) <= set(stats["by_fault"])
    traffic = faulty.manifest["performance"]["traffic"]
    assert traffic["calls"] >= 600 + sum(traffic["retries"].values()) - 1
    assert faulty.summary["usage"]["requests"] == 600


def test_a_question_that_never_gets_through_is_errored_with_its_reason(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 12)
    with serve(fault_rate=1.0, faults=["invalid-json"]) as server:
        result = run(workspace, server, model_settings={"max_attempts": 2})
    assert result.status == "invalid"
    assert {row[2] for row in answers(result)} == {"errored"}
    assert set(result.scores["reason"].to_pylist()) == {"the answer is not JSON (2 attempts)"}


@pytest.mark.slow
def test_a_server_that_is_restarted_is_waited_for(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 200)
    with (
        serve(latency=0.05) as server,
        start(workspace, server.url, "--max-connections", "16") as process,
    ):
        _wait_for_questions(process, server, 60)
        server.stop()
        time.sleep(0.5)
        server.start()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["tasks"]["four"]["metrics"]["letter_match"]["n"] == 200


def test_a_server_that_stays_away_ends_the_run_and_keeps_the_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmeval.engine.serving.dispatch.LONGEST_DELAY", 0.1)
    workspace = make_workspace(tmp_path, 300)
    with serve(latency=0.01) as server:
        run(workspace, server, limit=40)
        server.set(fault_rate=1.0, faults=["reset"])
        with pytest.raises(InvalidResult, match="gives no answers any more: the connection was"):
            run(workspace, server, model_settings={"patience": 0.5})
        server.set(fault_rate=0.0)
        result = run(workspace, server)
        assert result.summary["usage"]["cached"] == 40


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_what_can_never_succeed_stops_the_run_with_the_servers_words(
    tmp_path: Path, status: int
) -> None:
    workspace = make_workspace(tmp_path, 50)
    task = workspace / "tasks" / "four.yaml"
    task.write_text(task.read_text().replace("Question {{id}}", f"[[{status}:you may not]]"))
    with serve() as server, pytest.raises(UsageError, match=f"answered {status}: you may not"):
        run(workspace, server)
        assert server.stats()["requests"] <= 64


@pytest.mark.slow
def test_kill_nine_at_random_moments_of_two_thousand_requests(tmp_path: Path) -> None:
    """No answered question is asked again: what is asked twice had not reached the journal."""
    n, kills, lost, moments = 2000, 0, 0, random.Random(4)
    workspace = make_workspace(tmp_path / "killed", n)
    with serve(latency=0.02, ledger=str(tmp_path / "ledger")) as server:
        before = 0
        while kills < 4:
            with start(workspace, server.url) as process:
                _wait_for_questions(process, server, before + moments.randrange(50, 300))
                process.kill()
                process.communicate()
            kills += 1
            time.sleep(0.1)
            before = len(server.ledger())
            kept = len(journaled(workspace / ".llmeval"))
            assert before - kept - lost <= 64 + 64  # in flight, and on the way to the journal
            lost = before - kept
        with start(workspace, server.url) as process:
            out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        asked = server.ledger()
    assert len(set(asked)) == n
    assert len(asked) == n + lost
    summary = json.loads(out)
    assert summary["tasks"]["four"]["metrics"]["letter_match"]["n"] == n
    assert summary["usage"]["requests"] == n
    assert len(list((workspace / "results").iterdir())) == 1
    run = load_run(workspace / "results" / summary["run_id"])
    assert run.samples["sample_id"].to_pylist() == [str(i) for i in range(n)]


def _wait_for_questions(process: subprocess.Popen[str], server: MockServer, count: int) -> None:
    until = time.monotonic() + 60
    while len(server.ledger()) < count:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_full_disk_while_journaling_stops_cleanly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    from llmeval.engine.journal import Journal

    workspace = make_workspace(tmp_path, 400)
    commit, commits = Journal.commit, 0

    def full(self: Journal, *arguments: Any, **named: Any) -> Any:
        nonlocal commits
        commits += 1
        if commits == 4:  # as a disk with no room for another page
            self._db.execute("PRAGMA max_page_count = 1")
            with self._guarded():
                raise sqlite3.OperationalError("database or disk is full")
        return commit(self, *arguments, **named)

    with serve(latency=0.01) as server:
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "commit", full)
            with pytest.raises(StorageError, match="free some disk space"):
                run(workspace, server)
        kept = len(journaled(workspace / ".llmeval"))
        assert 0 < kept < 400
        server.reset()
        result = run(workspace, server)
        assert server.stats()["requests"] == 400 - kept
    assert (result.status, len(answers(result))) == ("complete", 400)


def test_a_budget_ends_the_run_and_a_higher_one_continues_it(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 200)
    with serve(latency=0.005) as server:
        with pytest.raises(BudgetReached, match="50 of 50 requests") as reached:
            run(workspace, server, max_requests=50)
        assert reached.value.exit_code == 130
        (folder,) = (workspace / "results").iterdir()
        partial = load_run(folder)
        assert partial.status == "interrupted"
        assert partial.summary["tasks"]["four"]["metrics"]["letter_match"]["n"] == 50
        assert server.stats()["answered"] == 50
        with pytest.raises(BudgetReached, match="120 of 120"):
            run(workspace, server, max_requests=120)
        assert server.stats()["answered"] == 120
        whole = run(workspace, server, max_requests=1000)
        assert server.stats()["answered"] == 200
    assert whole.path == folder
    assert whole.summary["usage"]["requests"] == 200


def test_dollars_are_counted_and_never_overrun(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 200)
    prices = {"price_input": 1000.0, "price_output": 5000.0}
    with serve(latency=0.005) as server:
        with pytest.raises(BudgetReached, match=r"of \$2 "):
            run(workspace, server, max_usd=2.0, model_settings=prices)
        (folder,) = (workspace / "results").iterdir()
        partial = load_run(folder).summary["usage"]
        whole = run(workspace, server, model_settings=prices).summary["usage"]
    assert 1.5 < partial["usd"] <= 2.0
    for usage in (partial, whole):
        dollars = usage["prompt_tokens"] * 1000e-6 + usage["completion_tokens"] * 5000e-6
        assert usage["usd"] == pytest.approx(dollars)


def test_minutes_end_the_run_although_a_call_hangs(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 600)
    with serve(latency=0.05) as server:
        began = time.monotonic()
        with pytest.raises(BudgetReached, match="minutes"):
            run(workspace, server, max_minutes=0.01, model_settings={"max_connections": 8})
        assert time.monotonic() - began < 10
        (folder,) = (workspace / "results").iterdir()
        done = load_run(folder).summary["tasks"]["four"]["metrics"]["letter_match"]["n"]
        assert 0 < done < 600
        assert run(workspace, server).path == folder


@pytest.mark.slow
def test_hung_calls_hold_up_nobody_else(tmp_path: Path) -> None:
    """Two percent hang for longer than all others take: the others are done meanwhile."""
    workspace = make_workspace(tmp_path, 500)
    with (
        serve(latency=0.005, fault_rate=0.02, faults=["hang"], hang_seconds=60) as server,
        start(workspace, server.url, "-a", "api=chat,identity=mock,timeout=4") as process,
    ):
        until = time.monotonic() + 4
        while len(set(server.ledger())) < 480 and time.monotonic() < until:
            time.sleep(0.05)
        assert len(set(server.ledger())) >= 480
        out, _ = process.communicate(timeout=60)
    assert json.loads(out)["tasks"]["four"]["metrics"]["letter_match"]["n"] == 500


def test_the_key_is_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-verysecret-0123456789"
    monkeypatch.setenv("MY_KEY", key)
    workspace = make_workspace(tmp_path, 20)
    headers = {"X-Token": "$MY_KEY"}
    with serve(api_key=key, fault_rate=0.3, faults=["500", "half"]) as server:
        settings = {"key_env": "MY_KEY", "headers": headers}
        assert run(workspace, server, model_settings=settings).status == "complete"
        monkeypatch.setenv("MY_KEY", key + "x")
        with pytest.raises(UsageError, match="answered 401") as refused:
            run(workspace, server, limit=3, model_settings={**settings, "identity": "other"})
    assert key not in str(refused.value)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes(), path
