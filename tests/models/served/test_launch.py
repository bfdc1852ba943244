"""A server that is started for a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import llmeval
from llmeval.core import UsageError
from llmeval.models.served.launch import ServerSpec, launch
from llmeval.models.served.settings import ServedSettings
from tests.support.questions import make_workspace
from tests.support.shared import ROOT

# Its stdin is not a pipe of ours here, so it is told to stay.
MOCK = [
    *(sys.executable, "-c"),
    "import os, subprocess, sys; r, w = os.pipe(); "
    "sys.exit(subprocess.call([sys.executable, '-m', 'tests.support.mock_openai', "
    "'--port', sys.argv[1]], stdin=r, pass_fds=(w,)))",
    "{port}",
]
ENV = {"PYTHONPATH": str(ROOT)}


def mock_servers() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "tests.support.mock_openai" in words and "--port" in words:
            found.append(process)
    return found


def test_it_is_started_asked_and_stopped(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 10)
    settings = {"server": {"command": MOCK, "env": ENV, "wait": 30}, "api": "chat"}
    before = {process.pid for process in mock_servers()}
    records = [
        llmeval.run(
            "openai:mock-model",
            [str(workspace / "tasks" / "four.yaml")],
            model_settings=settings,
            workspace=workspace,
            out=workspace / "results",
        )
        for _ in range(2)
    ]
    assert [run.status for run in records] == ["complete", "complete"]
    # Another port, yet the same server: its answers are known.
    assert records[1].summary["usage"]["cached"] == 10
    assert records[0].manifest["model"]["base_url"] is None
    assert {process.pid for process in mock_servers()} <= before


def test_a_server_that_ends_says_what_it_said(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "print('no such model'); raise SystemExit(3)", "{port}"]
    with pytest.raises(UsageError, match=r"ended with code 3: no such model"):
        launch(ServerSpec(command=words), "m", tmp_path)


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no-such-server: No such file"):
        launch(ServerSpec(command=["no-such-server", "{port}"]), "m", tmp_path)


def test_a_server_that_never_answers_is_stopped(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import time; time.sleep(600)", "{port}"]
    with pytest.raises(UsageError, match="does not answer after 1 s"):
        launch(ServerSpec(command=words, wait=1), "m", tmp_path)
    me = psutil.Process()
    assert not [p for p in me.children(recursive=True) if "time.sleep(600)" in p.cmdline()]


def test_it_ends_with_a_run_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, json, time; from pathlib import Path;"
        "from llmeval.models.served.launch import *;"
        "words = [sys.executable, '-m', 'http.server', '--bind', '127.0.0.1', '{port}'];"
        "Path('models').touch(); Path('v1').mkdir(); Path('v1/models').touch();"
        "server = launch(ServerSpec(command=words, wait=20), 'm', Path('.'));"
        "print(server.url, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, **ENV},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 2  # the guardian and the server
        process.send_signal(signal.SIGKILL)
    gone, alive = psutil.wait_procs(children, timeout=20)
    assert (len(gone), alive) == (2, [])


@pytest.mark.parametrize(
    ("server", "part"),
    [
        ({"command": ["serve"]}, "{port}"),
        ({}, "either by vllm"),
        ({"vllm": "x", "command": ["serve", "{port}"]}, "either by vllm"),
        ({"vlm": "x"}, "server.vlm"),
    ],
)
def test_wrong_settings_are_one_line(server: dict[str, object], part: str) -> None:
    with pytest.raises(UsageError) as error:
        ServedSettings.from_mapping({"server": json.dumps(server)})
    assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_a_secret_behind_a_flag_is_not_described_and_other_numbers_are() -> None:
    args = ["--api-key", "sk-1", "--hf-token=abc", "--max-num-batched-tokens", "8192", "--port"]
    about = ServerSpec(vllm="m", args=args, env={"HF_TOKEN": "hf-1"}).describe()
    assert about["args"] == [
        *("--api-key", "***", "--hf-token=***", "--max-num-batched-tokens", "8192", "--port"),
    ]
    assert about["env"] == ["HF_TOKEN"]


def test_another_adapter_in_a_folder_is_another_server(tmp_path: Path) -> None:
    spec = ServerSpec(vllm="m", args=["--lora-modules", f"x={tmp_path}"])
    (tmp_path / "adapter_config.json").write_text("{}")
    first = spec.identity()
    (tmp_path / "adapter_config.json").write_text('{"r": 8}')
    assert spec.identity() != first
