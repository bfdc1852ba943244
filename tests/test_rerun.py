"""A run is re-created from its manifest alone, asked anew, and compared to the last bit."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import llmeval
from llmeval.cli.resume import find_command
from llmeval.core import Interrupted, InvalidResult, Request, Response, UsageError
from llmeval.core.responses import Loglikelihood
from llmeval.models.served import ServedSettings
from llmeval.rerun import rebuild_spec, rerun
from llmeval.run_spec import describe_request, make_spec
from llmeval.runs import Run, RunLock, load_run
from llmeval.runs.difference import ABSENT
from tests.support.fakes import FakeModel
from tests.support.shared import ROOT

TASK = """\
task: colours
type: choice
version: "1"
data: {path: colours.jsonl}
prompt: "{{question}}"
choices: "{{choices}}"
answer: "{{answer}}"
id: id
"""
ROWS = 12

Answering = Callable[..., FakeModel]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a workspace with one task."""
    monkeypatch.chdir(tmp_path)
    for name in ("LLMEVAL_HOME", "LLMEVAL_DATA"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "colours.yaml").write_text(TASK)
    write_rows(tmp_path, [f"Which is {i}?" for i in range(ROWS)])
    return tmp_path


def write_rows(workspace: Path, questions: list[str]) -> None:
    rows = [
        {"id": str(i), "question": question, "choices": ["a", "bb", "ccc"], "answer": i % 3}
        for i, question in enumerate(questions)
    ]
    path = workspace / "tasks" / "colours.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Answering:
    """Let a fake model answer, whatever model is named."""

    def answer(model: FakeModel | None = None, **settings: Any) -> FakeModel:
        fake = model or FakeModel(**settings)
        monkeypatch.setattr("llmeval.preparation.load_model", lambda name, settings=None: fake)
        return fake

    return answer


@pytest.fixture
def run(workspace: Path, answering: Answering) -> Run:
    answering()
    return llmeval.run("pocket", "colours", seed=7)


# -- the same --------------------------------------------------------------------------------


def test_a_rerun_asks_every_question_anew_and_leaves_only_its_record(
    run: Run, workspace: Path, answering: Answering
) -> None:
    fake = answering()
    done = rerun(run)
    assert len(fake.asked) == 3 * ROWS
    assert done.agreement.verdict == "byte-identical"
    assert (done.differences, done.results, done.notes) == ((), (), ())
    assert done.again.samples.equals(run.samples)
    assert done.again.manifest["rerun_of"] == run.id
    assert done.again.path.parent == run.path.parent
    assert not list((workspace / ".llmeval").glob("rerun-*"))
    assert not list((workspace / ".llmeval" / "locks").iterdir())


@pytest.mark.parametrize("table", ["samples.parquet", "scores.parquet"])
def test_what_cannot_be_compared_is_said_before_anything_is_asked(
    run: Run, answering: Answering, table: str
) -> None:
    path = run.path / table
    path.write_bytes(path.read_bytes()[:-1])
    fake = answering()
    with pytest.raises(UsageError, match=f"{table}: the record cannot be read"):
        rerun(run)
    assert fake.asked == []


def test_a_rerun_from_the_journal_asks_nothing(run: Run, answering: Answering) -> None:
    fake = answering()
    done = rerun(run, from_journal=True)
    assert fake.asked == []
    assert done.agreement.verdict == "byte-identical"


def test_a_rerun_can_be_rerun_and_may_go_elsewhere(run: Run, workspace: Path) -> None:
    first = rerun(run)
    second = rerun(first.again, out=workspace / "elsewhere")
    assert second.agreement.verdict == "byte-identical"
    assert second.again.path.parent == workspace / "elsewhere"
    assert second.again.manifest["rerun_of"] == first.again.id


@pytest.mark.parametrize(
    "options",
    [
        {"limit": 5},
        {"num_fewshot": 0, "window": 7},
        {"max_errors": 0.5, "system_instruction": "Be brief."},
        {"max_requests": 1000, "model_settings": {"batch_size": 3, "threads": 2}},
    ],
)
def test_what_was_asked_comes_back_from_the_manifest(
    workspace: Path, answering: Answering, options: dict[str, Any]
) -> None:
    answering()
    run = llmeval.run("pocket", "colours", **options)
    first = make_spec(
        "pocket",
        ["colours"],
        options={
            k: options[k] for k in ("limit", "num_fewshot", "system_instruction") if k in options
        },
        **{
            k: options[k]
            for k in ("window", "max_errors", "max_requests", "model_settings")
            if k in options
        },
    )
    spec = rebuild_spec(run)
    for name in ("model", "tasks", "options", "window", "max_errors", "limits", "model_settings"):
        assert getattr(spec, name) == getattr(first, name), name
    assert rerun(run).agreement.verdict == "byte-identical"


def test_a_mirror_comes_back_from_the_manifest(workspace: Path, answering: Answering) -> None:
    answering()
    (workspace / "mirror").mkdir()
    run = llmeval.run("pocket", "colours", data="mirror")
    assert rebuild_spec(run).mirror == workspace / "mirror"


# -- not the same ----------------------------------------------------------------------------


def test_last_digits_that_depend_on_the_batch_are_equivalent(
    run: Run, answering: Answering
) -> None:
    answering(batch=5)
    done = rerun(run)
    assert done.agreement.verdict == "equivalent"
    assert done.agreement.within == ROWS
    assert 0 < done.agreement.max_logprob < 1e-8
    assert [(d.group, d.name, d.before, d.after) for d in done.differences] == [
        ("model", "batch", 8, 5)
    ]
    assert rerun(run, epsilon=0.0).agreement.verdict == "different"


class Moody(FakeModel):
    """Thinks otherwise of one choice of one question."""

    def reply(self, request: Request, company: int = 0) -> Response:
        answer = super().reply(request, company)
        if isinstance(answer, Loglikelihood) and request.canonical() == ["Which is 3?", " a"]:
            return Loglikelihood(answer.logprob - 50.0, answer.is_greedy, 1, 5)
        return answer


def test_another_answer_is_named_with_its_item(run: Run, answering: Answering) -> None:
    answering(Moody())
    done = rerun(run)
    assert done.agreement.verdict == "different"
    assert done.agreement.changed["answer"] == [("colours", "3")]
    assert done.agreement.max_logprob == pytest.approx(50.0)
    assert done.differences == ()  # nothing that is recorded explains it


def test_another_model_is_named(run: Run, answering: Answering) -> None:
    answering(FakeModel("other"))
    done = rerun(run)
    assert {d.name for d in done.differences} == {"name", "fingerprint"}


def test_rows_that_changed_are_named(run: Run, workspace: Path) -> None:
    questions = [f"Which is {i}?" for i in range(ROWS)]
    questions[2] = "Which is two?"
    write_rows(workspace, [*questions[:-1], "Which is the last?", "And more?"])
    done = rerun(run)
    changed = {kind: items for kind, items in done.agreement.changed.items() if items}
    assert changed == {
        "data": [("colours", "2"), ("colours", "11")],
        "added": [("colours", "12")],
    }
    names = {d.name for d in done.differences}
    assert {"colours.data.0.rows", "colours.data.0.digest"} <= names


def test_a_prompt_that_changed_is_named(run: Run, workspace: Path) -> None:
    task = TASK.replace('"{{question}}"', '"Q: {{question}}"')
    (workspace / "tasks" / "colours.yaml").write_text(task)
    done = rerun(run)
    assert len(done.agreement.changed["prompt"]) == ROWS
    assert any(d.name == "colours.config.prompt" for d in done.differences)


def test_packages_and_code_are_named(run: Run) -> None:
    path = run.path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["environment"]["packages"]["numpy"] = "1.0"
    manifest["environment"]["code"] = {"revision": "0" * 40, "dirty": None}
    path.write_text(json.dumps(manifest))
    done = rerun(load_run(run.path))
    assert done.agreement.verdict == "byte-identical"
    assert {"packages", "code"} == {d.group for d in done.differences}
    plain = done.to_plain()
    assert plain["verdict"] == "byte-identical"
    json.dumps(plain)


def test_a_setting_that_is_given_anew_is_named(workspace: Path) -> None:
    run = llmeval.run("baseline:random", "colours")
    done = rerun(run, settings="seed=3")
    assert done.agreement.verdict == "different"
    assert ("seed", 0, 3) in [(d.name, d.before, d.after) for d in done.differences]


# -- that cannot be --------------------------------------------------------------------------


def test_a_run_of_objects_cannot_be_re_created(workspace: Path, run: Run) -> None:
    objects = llmeval.run(FakeModel(), "colours")
    with pytest.raises(UsageError, match="begun from Python with model that no manifest can hold"):
        rerun(objects)


@pytest.mark.parametrize("status", ["interrupted", "invalid"])
def test_only_a_complete_run_is_re_created(run: Run, status: str) -> None:
    edit(run, status=status)
    with pytest.raises(UsageError, match=f"only a complete run .* this one is {status}"):
        rerun(load_run(run.path))


def edit(run: Run, **changes: Any) -> Run:
    path = run.path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return load_run(run.path)


@pytest.mark.parametrize(
    "changes",
    [
        {"request": None},
        {"request": "text"},
        {"request": {}},
        {"request": {"model": "pocket", "tasks": ["colours"]}},
        {"request": {"model": 3, "tasks": 4, "model_settings": 5, "withheld": []}},
        {"options": None},
        {"options": {"max_errors": 0.05, "unknown": 1}},
        {"limits": []},
        {"limits": {"parsecs": 3}},
        {"window": "wide"},
    ],
)
def test_a_strange_manifest_is_one_line(run: Run, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        rerun(edit(run, **changes))
    assert "\n" not in str(caught.value)


def test_an_invalid_rerun_is_no_verdict(run: Run, answering: Answering) -> None:
    def refuse(requests: Any) -> None:
        raise RuntimeError("it is broken")

    answering(before=refuse)
    with pytest.raises(InvalidResult):
        rerun(run)


def test_a_rerun_beside_a_rerun_is_refused(run: Run, workspace: Path) -> None:
    lock = RunLock(workspace, f"rerun-{run.id}")
    assert lock.acquire()
    with pytest.raises(UsageError, match="another process is re-creating this run"):
        rerun(run)
    lock.release()


@pytest.mark.parametrize("epsilon", [-1.0, float("nan"), float("inf")])
def test_an_epsilon_that_is_none_is_refused(run: Run, epsilon: float) -> None:
    with pytest.raises(UsageError, match="--epsilon"):
        rerun(run, epsilon=epsilon)


def test_an_error_elsewhere_mentions_the_folder_of_the_run(
    run: Run, workspace: Path, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = load_run(run.path.resolve())
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(UsageError, match=f"it was begun in {workspace}"):
        rerun(run)


# -- secrets ---------------------------------------------------------------------------------


def test_settings_that_may_hold_a_secret_are_named_and_not_written() -> None:
    spec = make_spec(
        "openai:some",
        ["colours"],
        model_settings={"headers": {"X-Gateway": "abc123"}, "max_connections": 3},
    )
    request = describe_request(spec)
    assert request["withheld"] == ["headers"]
    assert request["model_settings"] == {"max_connections": 3}
    assert "abc123" not in json.dumps(request)


def test_what_was_withheld_must_be_given_again(run: Run) -> None:
    request = {**run.manifest["request"], "model": "openai:some", "withheld": ["headers"]}
    edited = edit(run, request=request)
    with pytest.raises(UsageError, match="does not hold the model setting headers"):
        rebuild_spec(edited)
    spec = rebuild_spec(edited, settings='headers={"X-Gateway": "abc123"}')
    assert isinstance(spec.model_settings, ServedSettings)
    assert spec.model_settings.headers == {"X-Gateway": "abc123"}


def test_names_of_variables_are_no_secrets() -> None:
    settings = {"headers": {"X-Api-Key": "$KEY"}, "server": {"vllm": "some/model"}}
    request = describe_request(make_spec("openai:x", ["colours"], model_settings=settings))
    assert request["withheld"] == []
    rebuilt = make_spec("openai:x", ["colours"], model_settings=request["model_settings"])
    assert rebuilt.model_settings == ServedSettings.from_mapping(settings)


@pytest.mark.parametrize(
    "server",
    [
        {"command": ["serve", "--port", "{port}", "--api-key", "abc123"]},
        {"vllm": "some/model", "env": {"HF_TOKEN": "abc123"}},
        {"vllm": "some/model", "args": ["--api-key=abc123"]},
    ],
)
def test_a_server_with_a_key_is_withheld(server: dict[str, Any]) -> None:
    spec = make_spec("openai:x", ["colours"], model_settings={"server": server})
    request = describe_request(spec)
    assert request["withheld"] == ["server"]
    assert "abc123" not in json.dumps(request)


# -- kills -----------------------------------------------------------------------------------


def start(workspace: Path, delay: float, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.fake_llmeval", str(delay), *arguments]
    return subprocess.Popen(
        command, cwd=workspace, env={"PYTHONPATH": str(ROOT), "PATH": ""}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def asked(workspace: Path) -> list[str]:
    log = workspace / "asked.log"
    return log.read_text().splitlines() if log.exists() else []


@pytest.mark.slow
def test_a_killed_rerun_continues_and_asks_nothing_twice(workspace: Path) -> None:
    write_rows(workspace, [f"Which of them is {i}?" for i in range(3 * ROWS)])
    with start(workspace, 0.0, "run", "-m", "pocket", "-t", "colours", "-q") as process:
        process.communicate(timeout=60)
    once = sorted(asked(workspace))
    (workspace / "asked.log").unlink()
    (first,) = (workspace / "results").iterdir()
    with start(workspace, 0.3, "rerun", "latest", "--json") as process:
        until = time.monotonic() + 60
        while len(asked(workspace)) < 16 and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    assert 16 <= len(asked(workspace)) < len(once)
    (left,) = (workspace / ".llmeval").glob("rerun-*")
    assert left.is_dir()
    (half,) = set((workspace / "results").iterdir()) - {first}
    with start(workspace, 0.0, "rerun", first.name, "--json") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    told = json.loads(out)
    assert (told["verdict"], told["rerun"]) == ("byte-identical", half.name)
    # Two batches were journaled before a third one was under way when it was killed.
    twice = len(asked(workspace)) - len(set(asked(workspace)))
    assert sorted(set(asked(workspace))) == once and twice <= 16
    assert not list((workspace / ".llmeval").glob("rerun-*"))


@pytest.mark.slow
def test_a_killed_rerun_is_not_what_resume_goes_on_with_and_can_begin_again(
    run: Run, workspace: Path, answering: Answering
) -> None:
    answering(before=Stop(1))
    with pytest.raises(Interrupted):
        rerun(run)
    with pytest.raises(UsageError, match="no run that has not ended"):
        find_command("")
    (half,) = [path for path in run.path.parent.iterdir() if path.name != run.id]
    with pytest.raises(UsageError, match=f"`llmeval rerun {run.id}` continues it"):
        find_command(half.name)
    fake = answering()
    done = rerun(run, fresh=True)
    assert len(fake.asked) == 3 * ROWS  # the batch that was answered before counts for nothing
    assert done.again.path.name != half.name
    assert ABSENT not in [d.after for d in done.differences]


class Stop:
    """Interrupts the run at a batch."""

    def __init__(self, left: int) -> None:
        self._left = left

    def __call__(self, requests: Any) -> None:
        self._left -= 1
        if self._left < 0:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.2)
