"""``llmeval regress`` as a person or a job uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Command, start
from tests.nightly.conftest import write_tasks
from tests.support.mock_openai.launch import MockServer, serve
from tests.support.records import items_of, write_record
from tests.support.shared import ROOT

GOOD = [1.0] * 200


@pytest.fixture
def records(workspace: Path) -> Path:
    """Records of the same task: good, worse, too few, and one of another form."""
    out = workspace / "results"
    write_record(out / "good", {"task": items_of(GOOD)})
    write_record(out / "same", {"task": items_of(GOOD)})
    write_record(out / "worse", {"task": items_of([0.0] * 60 + GOOD[60:])})
    write_record(out / "few", {"task": items_of(GOOD[:20])})
    write_record(out / "shots", {"task": items_of(GOOD)}, num_fewshot=5)
    return out


@pytest.mark.parametrize(
    ("run", "options", "code"),
    [
        ("same", (), 0),
        ("worse", (), 3),
        ("few", (), 3),
        ("few", ("--inconclusive", "pass"), 0),
        ("shots", (), 4),
        ("worse", ("--tolerance", "0.5"), 0),
    ],
)
def test_two_records_end_with_the_verdicts_code(
    llmeval: Command, records: Path, run: str, options: tuple[str, ...], code: int
) -> None:
    ended = llmeval("regress", "--baseline", "good", "--run", run, *options)
    assert ended.code == code
    word = {0: "PASS", 3: "REGRESSED", 4: "INVALID"}[code]
    if run == "few":
        word = "INCONCLUSIVE"
        assert "would" in ended.out
    assert ended.out.startswith(f"{word}: ")


def test_exit_codes_of_a_real_process(records: Path) -> None:
    for run, code in (("worse", 3), ("shots", 4)):
        ended = start("regress", "--baseline", "results/good", "--run", run)
        assert ended.returncode == code, ended.stderr


def test_a_file_of_a_record_names_it(llmeval: Command, records: Path) -> None:
    baseline = str(records / "good" / "summary.json")
    assert llmeval("regress", "--baseline", baseline, "--run", "same").code == 0


def test_json_is_alone_on_stdout(llmeval: Command, records: Path) -> None:
    ended = llmeval("regress", "--baseline", "good", "--run", "worse", "--json")
    plain = json.loads(ended.out)
    assert (plain["verdict"], plain["exit_code"], ended.code) == ("REGRESSED", 3, 3)


def test_files_and_the_summary_of_a_job(
    llmeval: Command, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    files = ("--junit", "out/junit.xml", "--html", "out/page.html", "--markdown", "out/night.md")
    ended = llmeval("regress", "--baseline", "good", "--run", "worse", *files)
    assert ended.code == 3
    suite = ET.parse(tmp_path / "out" / "junit.xml").getroot()[0]
    assert suite.get("failures") == "1"
    markdown = (tmp_path / "out" / "night.md").read_text()
    assert summary.read_text() == f"before\n{markdown}\n"
    assert "<!doctype html>" in (tmp_path / "out" / "page.html").read_text()
    assert ended.err.count("llmeval: wrote ") == 3


def test_a_summary_that_cannot_be_written_changes_no_verdict(
    llmeval: Command, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/nonexistent/summary.md")
    ended = llmeval("regress", "--baseline", "good", "--run", "same")
    assert ended.code == 0
    assert "GITHUB_STEP_SUMMARY" in ended.error


def test_a_file_that_cannot_be_written_hides_no_verdict(llmeval: Command, records: Path) -> None:
    files = ("--junit", str(records / "good" / "manifest.json" / "junit.xml"))
    ended = llmeval("regress", "--baseline", "good", "--run", "worse", *files)
    assert ended.code == 2
    assert ended.out.startswith("REGRESSED: ") and "cannot be written" in ended.error


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ((), "nothing to judge"),
        (("--baseline", "good"), "nothing to judge"),
        (("--baseline", "good", "--run", "good"), "not compared with itself"),
        (("--baseline", "good", "--run", "nowhere"), "no such run"),
        (("--baseline", "good", "--run", "same", "-t", "tesk"), "did you mean task"),
        (("--baseline", "good", "--run", "same", "--tolerance", "0"), "--tolerance"),
        (("--baseline", "good", "--run", "same", "--alpha", "0.6"), "--alpha"),
        (("nightly",), "a nightly file ends with .yaml"),
        (("nowhere.yaml",), "no such file"),
        (("n.yaml", "--baseline", "good"), "pin it in the file"),
        (("n.yaml", "--plan", "--run", "good"), "--run and --plan exclude each other"),
        (("--baseline", "good", "--run", "same", "--json", "--markdown"), "share stdout"),
        (("n.yaml", "--tolerance", "0.1"), "the nightly file says this"),
        (("--baselin", "good"), "did you mean --baseline"),
    ],
)
def test_wrong_use_is_one_line(
    llmeval: Command, records: Path, arguments: tuple[str, ...], what: str
) -> None:
    ended = llmeval("regress", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert what in ended.error


def test_init_writes_files_that_work_and_overwrites_nothing(
    llmeval: Command, workspace: Path
) -> None:
    ended = llmeval("regress", "--init", "ci")
    assert ended.code == 0
    assert "17 3 * * * cd " in ended.out
    assert "now: cd ci && llmeval regress nightly.yaml --plan" in ended.out
    assert str(Path(sys.executable).parent) in ended.out  # cron has next to no PATH
    workflow = yaml.safe_load((workspace / "ci/.github/workflows/llmeval-nightly.yml").read_text())
    steps = workflow["jobs"]["regress"]["steps"]
    assert workflow[True]["schedule"] == [{"cron": "17 3 * * *"}]  # YAML 1.1 reads `on` as true
    assert any("llmeval regress nightly.yaml --junit" in step.get("run", "") for step in steps)
    (saved,) = (step for step in steps if "cache/save" in step.get("uses", ""))
    assert saved["if"] == "always()"  # evidence of nights that fail is kept, too
    before = (workspace / "ci" / "nightly.yaml").read_text()
    again = llmeval("regress", "--init", "ci")
    assert (again.code, (workspace / "ci" / "nightly.yaml").read_text()) == (2, before)
    from llmeval.nightly import read_nightly

    assert read_nightly(workspace / "ci" / "nightly.yaml").name == "nightly"


def test_init_in_the_working_folder_needs_no_cd(llmeval: Command, workspace: Path) -> None:
    assert "\nnow: llmeval regress nightly.yaml --plan\n" in llmeval("regress", "--init").out


# -- nights ----------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[MockServer]:
    with serve(latency=0.02) as running:
        yield running


@pytest.fixture
def nightly(workspace: Path, server: MockServer) -> Path:
    write_tasks(workspace, 200)
    path = workspace / "nightly.yaml"
    settings = {"base_url": server.url, "api": "chat", "identity": "mock", "max_connections": 4}
    content = {
        "model": "openai:mock-model",
        "model_settings": settings,
        "tasks": ["letters"],
        "tolerance": 0.05,
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_night_from_its_first_run_to_its_verdict(llmeval: Command, nightly: Path) -> None:
    first = llmeval("regress", "nightly.yaml", "--quiet")
    assert first.code == 4
    assert "--set-baseline latest" in first.out
    pinned = llmeval("regress", "nightly.yaml", "--set-baseline", "latest")
    assert (pinned.code, "baseline of openai:mock-model: " in pinned.out) == (0, True)
    plan = llmeval("regress", "nightly.yaml", "--plan")
    assert plan.code == 0
    assert "n to pass unchanged" in plan.out and "200 questions to ask" in plan.out
    night = llmeval("regress", "nightly.yaml", "--fresh")
    assert night.code == 0
    assert night.out.startswith("PASS: nightly ")
    assert "n to pass unchanged" in night.err  # the plan, before anything was asked
    forgotten = llmeval("regress", "nightly.yaml", "--forget-nights")
    assert forgotten.out == "nightly: 1 night forgotten; the evidence begins anew\n"


def test_what_a_server_is_like_is_said_once_and_runs_of_the_sentinel_by_number(
    llmeval: Command, nightly: Path
) -> None:
    """A server of chats gives no log-probabilities: a plan, a run and two repeats find that out."""
    content = yaml.safe_load(nightly.read_text())
    content |= {"tasks": ["pocket_mmlu"], "options": {"limit": 4}}
    content |= {"sentinel": {"items": 2, "repeats": 2}}
    nightly.write_text(yaml.safe_dump(content))
    ended = llmeval("regress", "nightly.yaml")
    assert ended.err.count("choices are asked for as") == 1
    started = [line for line in ended.err.splitlines() if line.endswith(" on pocket_mmlu")]
    model = "openai:mock-model on pocket_mmlu"
    numbered = [f"llmeval: sentinel {i} of 2: {model}" for i in (1, 2)]
    assert started == [f"llmeval: {model}", *numbered]


def test_a_night_of_a_baseline_says_how_many_questions_it_answered(
    llmeval: Command, workspace: Path
) -> None:
    """As `llmeval run` does; there is no journal of a baseline that could count them."""
    path = workspace / "chance.yaml"
    path.write_text("{model: 'baseline:random', tasks: [pocket_mmlu], options: {limit: 5}}")
    assert "asked 20 questions" in llmeval("regress", str(path), "--quiet").out


@pytest.mark.slow
def test_a_killed_night_goes_on_with_the_same_command(
    llmeval: Command, nightly: Path, server: MockServer, workspace: Path
) -> None:
    """Nothing that was answered is asked again, and there is one record in the end."""
    command = [sys.executable, "-m", "llmeval", "regress", "nightly.yaml", "--quiet"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=workspace, env=env, stdout=subprocess.DEVNULL) as process:
        until = time.monotonic() + 60
        while server.stats()["answered"] < 60:
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.01)
        process.kill()
    nights = workspace / "results" / "regress" / "nightly" / "nights"
    (night,) = nights.iterdir()
    assert list(night.glob("journal*"))
    before = server.stats()["answered"]
    ended = llmeval("regress", "nightly.yaml", "--quiet")
    assert ended.code == 4  # no baseline yet
    (record,) = night.glob("*/*/summary.json")
    summary = json.loads(record.read_text())
    assert summary["tasks"]["letters"]["n"] == 200
    assert server.stats()["answered"] - before <= 200 - 60 + 4 + 16  # in flight, and exploring
    assert not list(night.glob("journal*"))
