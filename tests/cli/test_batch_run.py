"""``llmeval run --batch`` from the submission to the record, against the mock server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmeval.models.served import batches
from llmeval.models.served.batch_service import BatchService
from llmeval.runs import Run, load_run
from tests.cli.conftest import Command, Ended
from tests.support.mock_openai.launch import MockServer, serve

KEY = "sk-this-is-the-key-0123"
ROOT = str(Path(__file__).resolve().parents[2])
GENERATE = """\
task: words
type: generate
data: {path: words.jsonl}
prompt: "{{q}}"
answer: a
scorers: [exact]
id: id
"""
STEPS = """\
task: steps
type: steps
data: {path: words.jsonl}
steps:
  - {name: first, prompt: "{{q}}"}
  - {name: second, prompt: "You said {{first}}. Sure? [[say:{{first}}]]"}
answer: a
scorers: [exact]
id: id
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockServer]:
    monkeypatch.setenv("TEST_KEY", KEY)
    monkeypatch.setattr(batches, "POLL_SECONDS", (0.02, 0.05))
    with serve(api_key=KEY, batch_seconds=0.05) as server:
        yield server


@pytest.fixture(autouse=True)
def _words(workspace: Path) -> None:
    """Twenty questions; the model says what it is told, and every fourth answer is wrong."""
    rows = [
        {"id": str(i), "q": f"Say {i}! [[say:w{i if i % 4 else 'rong'}]]", "a": f"w{i}"}
        for i in range(20)
    ]
    (workspace / "tasks" / "words.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (workspace / "tasks" / "words.yaml").write_text(GENERATE)
    (workspace / "tasks" / "steps.yaml").write_text(STEPS)


def command(server: MockServer, task: str = "words", settings: str = "") -> list[str]:
    settings = f"key_env=TEST_KEY,api=chat{settings}"
    return ["-m", "openai:mock-model", "--base-url", server.url, "-a", settings, "-t", task]


def the_run(workspace: Path) -> Run:
    """The only record."""
    (folder,) = (workspace / "results").iterdir()
    return load_run(folder)


def is_submitted(ended: Ended, questions: int) -> bool:
    assert ended.code == 0, ended.err
    assert ended.out == ""
    return f"{questions} questions are with the batch service as batch_" in ended.error


def until_done(llmeval: Command, *arguments: str) -> Ended:
    """Give a command again until nothing is with the service any more."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        ended = llmeval("run", *arguments)
        if "with the batch service" not in ended.err:
            return ended
        time.sleep(0.05)
    raise AssertionError("the batches do not end")


def end_batches(server: MockServer) -> None:
    """Let what is submitted so far end now; what comes later takes its time."""
    service = BatchService(server.url, {"Authorization": f"Bearer {KEY}"}, {}, str, 5.0)
    server.set(batch_seconds=0.001)
    for batch in service._client.batches.list():
        assert service.look(batch.id).ended
    server.set(batch_seconds=60)


def metrics(run: Run) -> dict[str, Any]:
    return {name: task["metrics"] for name, task in run.summary["tasks"].items()}


def test_submit_then_resume(llmeval: Command, workspace: Path, server: MockServer) -> None:
    server.set(batch_seconds=60)
    ended = llmeval("run", *command(server), "--batch", "--max-errors", "0")
    assert is_submitted(ended, 20)
    assert "`llmeval run --resume` collects them" in ended.error
    begun = the_run(workspace)
    assert begun.status == "interrupted"
    assert is_submitted(llmeval("run", "--resume"), 20)
    server.set(batch_seconds=0.05)
    ended = llmeval("run", "--resume", "--json")
    assert ended.code == 0
    run = the_run(workspace)
    assert json.loads(ended.out) == run.summary
    assert (run.status, run.manifest["run_id"]) == ("complete", begun.manifest["run_id"])
    assert run.manifest["performance"]["batches"] == ["batch_00000002"]
    paths = server.stats()["by_path"]
    assert (paths["/v1/files"], paths["/v1/batches"]) == (1, 1)
    assert server.stats()["batch_requests"] == 20


def test_the_result_is_that_of_the_same_run_without_batches(
    llmeval: Command, workspace: Path, server: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = command(server, "words,colours", ",top_logprobs=true")
    assert until_done(llmeval, *tasks, "--batch").code == 0
    batched = the_run(workspace)
    assert batched.manifest["tasks"]["colours"]["form"].startswith("letters")
    # In the same workspace nothing is asked: the answers are the journal's.
    assert llmeval("run", *tasks, "--out", "direct").code == 0
    (again,) = (workspace / "direct").iterdir()
    assert load_run(again).summary["usage"]["cached"] == 28
    assert server.stats()["requests"] == 0
    # In another one all is asked, call by call.
    elsewhere = workspace / "elsewhere"
    (elsewhere / "tasks").mkdir(parents=True)
    for file in (workspace / "tasks").iterdir():
        (elsewhere / "tasks" / file.name).write_bytes(file.read_bytes())
    monkeypatch.chdir(elsewhere)
    assert llmeval("run", *tasks).code == 0
    direct = the_run(elsewhere)
    assert server.stats()["requests"] == 28
    assert direct.summary["model"] == batched.summary["model"]
    assert metrics(direct) == metrics(batched)
    assert direct.scores.to_pylist() == batched.scores.to_pylist()
    for name in ("requests", "prompt_tokens", "completion_tokens"):
        assert direct.summary["usage"][name] == batched.summary["usage"][name]


def test_a_batch_costs_half(llmeval: Command, workspace: Path, server: MockServer) -> None:
    price = ",provider=openai,price_input=1,price_output=2"
    assert until_done(llmeval, *command(server, settings=price), "--batch").code == 0
    usage = the_run(workspace).summary["usage"]
    tokens = usage["prompt_tokens"] + 2 * usage["completion_tokens"]
    assert usage["usd"] == pytest.approx(tokens / 1e6 / 2, abs=1e-8)


def test_what_another_run_submitted_is_not_submitted_again(
    llmeval: Command, workspace: Path, server: MockServer
) -> None:
    server.set(batch_seconds=60)
    assert is_submitted(llmeval("run", *command(server), "--batch", "--limit", "5"), 5)
    assert is_submitted(llmeval("run", *command(server), "--batch"), 20)
    server.set(batch_seconds=0.05)
    assert until_done(llmeval, *command(server), "--batch").code == 0
    assert until_done(llmeval, *command(server), "--batch", "--limit", "5").code == 0
    assert [load_run(p).status for p in (workspace / "results").iterdir()] == ["complete"] * 2
    assert server.stats()["batch_requests"] == 20


def test_steps_take_a_round_each(llmeval: Command, workspace: Path, server: MockServer) -> None:
    server.set(batch_seconds=60)
    assert is_submitted(llmeval("run", *command(server, "steps"), "--batch"), 20)
    end_batches(server)
    # Five first answers are the same wrong one, so their second question is one, too.
    assert is_submitted(llmeval("run", "--resume"), 16)
    server.set(batch_seconds=0.05)
    assert llmeval("run", "--resume").code == 0
    run = the_run(workspace)
    assert run.status == "complete"
    assert run.summary["tasks"]["steps"]["metrics"]["exact_match"]["value"] == 0.75
    assert server.stats()["batch_requests"] == server.stats()["answered"]
    assert server.stats()["answered_twice"] == 0


def test_waiting_takes_all_rounds_in_one_command(
    llmeval: Command, workspace: Path, server: MockServer
) -> None:
    server.set(batch_seconds=1)  # longer than from the submission to the first look
    ended = llmeval("run", *command(server, "steps,words"), "--batch", "--wait")
    assert ended.code == 0
    assert "complete" in ended.out
    assert the_run(workspace).status == "complete"
    assert "waiting for batch_" in ended.err
    assert server.stats()["answered_twice"] == 0


def test_a_run_file_can_ask_for_batches(
    llmeval: Command, workspace: Path, server: MockServer
) -> None:
    (workspace / "run.yaml").write_text(
        f"model: openai:mock-model\ntasks: [words]\nbatch: true\nbatch_wait: true\n"
        f"model_settings: {{base_url: '{server.url}', key_env: TEST_KEY, api: chat}}\n"
    )
    assert llmeval("run", "run.yaml").code == 0
    assert the_run(workspace).manifest["model"]["batch"] is True
    assert server.stats()["batch_requests"] == 20


# -- what goes wrong -----------------------------------------------------------------------------


def test_failed_lines_alone_are_submitted_again(
    llmeval: Command, workspace: Path, server: MockServer
) -> None:
    server.set(batch_error_share=0.3)
    ended = until_done(llmeval, *command(server), "--batch")
    assert ended.code == 4
    run = the_run(workspace)
    assert run.status == "invalid"
    lost = 20 - run.summary["tasks"]["words"]["metrics"]["exact_match"]["n"]
    assert 0 < lost < 20
    server.set(batch_error_share=0.0, batch_seconds=60)
    assert is_submitted(llmeval("run", "--resume"), lost)
    server.set(batch_seconds=0.05)
    assert until_done(llmeval, "--resume").code == 0
    run = the_run(workspace)
    assert run.status == "complete"
    assert metrics(run)["words"]["exact_match"]["n"] == 20
    assert server.stats()["batch_requests"] == 20 + lost
    assert server.stats()["answered_twice"] == 0


def test_what_expired_is_submitted_again(
    llmeval: Command, workspace: Path, server: MockServer
) -> None:
    server.set(batch_outcome="expired")
    assert until_done(llmeval, *command(server), "--batch").code == 4
    assert metrics(the_run(workspace))["words"]["exact_match"]["n"] == 10
    server.set(batch_outcome="completed")
    assert llmeval("run", "--resume", "--wait").code == 0
    assert metrics(the_run(workspace))["words"]["exact_match"]["n"] == 20
    assert server.stats()["answered_twice"] == 0


def test_a_batch_that_failed_says_why_and_can_be_submitted_again(
    llmeval: Command, workspace: Path, server: MockServer
) -> None:
    server.set(batch_outcome="failed")
    ended = until_done(llmeval, *command(server), "--batch")
    assert ended.code == 2
    assert "the service refused the batch: As asked." in ended.error
    assert the_run(workspace).status == "interrupted"
    server.set(batch_outcome="completed")
    assert until_done(llmeval, "--resume").code == 0
    assert the_run(workspace).status == "complete"


def run_apart(workspace: Path, program: str, *arguments: str) -> subprocess.Popen[str]:
    """Start the command line as a process of its own, after a program that changes it."""
    code = f"import sys\n{program}\nfrom llmeval.cli import main\nsys.argv[0] = 'llmeval'\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "run", *arguments],
        cwd=workspace,
        env={**os.environ, "PYTHONPATH": ROOT},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_once_the_service_has_the_batch(
    llmeval: Command, workspace: Path, server: MockServer
) -> None:
    kill = """
import os, signal
from llmeval.models.served.batch_service import BatchService
create = BatchService.create
def killed(*arguments):
    create(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
BatchService.create = killed
"""
    process = run_apart(workspace, kill, *command(server), "--batch")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert the_run(workspace).status == "interrupted"
    assert until_done(llmeval, "--resume").code == 0
    assert the_run(workspace).status == "complete"
    assert server.stats()["batch_requests"] == 20


def test_killed_amid_collecting(llmeval: Command, workspace: Path, server: MockServer) -> None:
    kill = """
import os, signal
from llmeval.models.served.batches import BatchedModel
answer = BatchedModel.answer
def killed(model, requests):
    answers = answer(model, requests)
    if not model.pending:
        os.kill(os.getpid(), signal.SIGKILL)
    return answers
BatchedModel.answer = killed
"""
    server.set(batch_seconds=60)
    assert is_submitted(llmeval("run", *command(server), "--batch"), 20)
    end_batches(server)
    process = run_apart(workspace, kill, "--resume")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert llmeval("run", "--resume").code == 0
    assert the_run(workspace).status == "complete"
    assert server.stats()["batch_requests"] == 20


def test_an_interrupt_ends_the_waiting_at_once(
    llmeval: Command, workspace: Path, server: MockServer
) -> None:
    server.set(batch_seconds=60)
    process = run_apart(workspace, "", *command(server), "--batch", "--wait")
    assert process.stderr is not None
    for line in process.stderr:
        if "waiting for batch_" in line:
            break
    process.send_signal(signal.SIGINT)
    _, left = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "the same command continues" in left
    server.set(batch_seconds=0.05)
    assert until_done(llmeval, "--resume").code == 0
    assert server.stats()["batch_requests"] == 20


def test_the_key_is_nowhere(llmeval: Command, workspace: Path, server: MockServer) -> None:
    server.set(batch_seconds=60)
    said = [llmeval("run", *command(server), "--batch")]
    server.set(api_key="sk-another")
    said.append(llmeval("run", "--resume"))
    assert said[-1].code == 2
    assert "401" in said[-1].error
    server.set(api_key=KEY, batch_seconds=0.05)
    said.append(until_done(llmeval, "--resume"))
    assert said[-1].code == 0
    assert all(KEY not in ended.out + ended.err for ended in said)
    files = [path for path in workspace.rglob("*") if path.is_file()]
    assert {"results", "batches"} <= {part for path in files for part in path.parts}
    assert all(KEY.encode() not in path.read_bytes() for path in files)


def test_wrong_use(llmeval: Command, server: MockServer) -> None:
    asked, priced = command(server), command(server)
    priced[priced.index("-a") + 1] += ",price_input=1,price_output=2"
    for arguments, said in (
        (["-m", "baseline:random", "-t", "colours", "--batch"], "--batch: baseline:random has no"),
        ([*asked, "--wait"], "--wait: there is nothing to wait for (it needs --batch)"),
        ([*priced, "--batch", "--max-usd", "1"], "--max-usd: a batch does not stop at a cost"),
    ):
        ended = llmeval("run", *arguments)
        assert (ended.code, said in ended.error) == (2, True), ended.error
    own = command(server, "colours")
    own[own.index("-a") + 1] = "key_env=TEST_KEY"
    ended = llmeval("run", *own, "--batch")
    assert ended.code == 2
    assert "a batch has no log-probabilities of texts" in ended.error
    assert "/v1/files" not in server.stats()["by_path"]


def test_a_server_without_batches(llmeval: Command, workspace: Path, server: MockServer) -> None:
    server.set(no_batches=True)
    ended = llmeval("run", *command(server), "--batch")
    assert ended.code == 2
    assert "404" in ended.error and "without --batch" in ended.error
