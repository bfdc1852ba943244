"""The process as it is started: its streams, locale, folders, signals and start-up cost."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import start

RUN = ("run", "-m", "baseline:oracle", "-t", "colours")
ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}

HEAVY = ("torch", "transformers", "datasets", "lm_eval", "pandas", "pyarrow", "numpy", "pydantic")
IMPORTED = """
import sys
from llmeval.cli import VERBS, main
for verb in VERBS:
    main([verb, "--help"])
loaded = [name for name in {heavy} if name in sys.modules]
sys.exit(f"imported: {{loaded}}" if loaded else 0)
"""


def test_no_help_imports_a_heavy_package() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED.format(heavy=HEAVY)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_help_takes_a_fifth_of_a_second_of_cpu() -> None:
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "llmeval", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.2


@pytest.mark.usefixtures("workspace")
def test_a_poor_encoding_still_shows_the_table() -> None:
    done = start(*RUN, env=ASCII)
    assert done.returncode == 0, done.stderr
    assert b"acc ^       1.000  0.676 .. 1.000  8    100%" in done.stdout


@pytest.mark.usefixtures("workspace")
def test_a_poor_encoding_still_gives_valid_json() -> None:
    done = start(*RUN, "--json", env=ASCII)
    assert json.loads(done.stdout)["tasks"]["colours"]["n"] == 8


@pytest.mark.usefixtures("workspace")
def test_a_reader_that_leaves_is_no_fault() -> None:
    done = start("tasks", "ls", shell="set -o pipefail; {} | head -n 1")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
    assert b"Error" not in done.stderr


@pytest.mark.usefixtures("workspace")
def test_closed_streams_do_not_stop_a_run() -> None:
    assert start(*RUN, shell="{} <&- >&- 2>&-").returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.usefixtures("workspace")
def test_a_full_stdout_is_said_and_names_the_record() -> None:
    done = start(*RUN, shell="{} > /dev/full")
    assert done.returncode == 2
    assert b"stdout: the result cannot be printed: No space left on device" in done.stderr
    assert b"the record is results/" in done.stderr


def test_a_deleted_working_folder_is_said(workspace: Path) -> None:
    done = start(*RUN, shell=f"mkdir gone && cd gone && rmdir {workspace}/gone && {{}}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(b"llmeval: the working folder does not exist")


SLOW = """\
task: slow
type: code
version: "1"
data: {path: slow.jsonl}
prompt: "{{prompt}}"
test: test
entry_point: entry_point
solution: solution
"""


@pytest.fixture
def slow_workspace(workspace: Path) -> Path:
    """Its task ``slow`` sleeps in the sandbox for a second a sample."""
    (workspace / "tasks" / "slow.yaml").write_text(SLOW)
    row = {
        "prompt": "def f():\n",
        "entry_point": "f",
        "solution": "    import time\n    time.sleep(1)\n    return 1\n",
        "test": "def check(candidate):\n    assert candidate() == 1\n",
    }
    (workspace / "tasks" / "slow.jsonl").write_text((json.dumps(row) + "\n") * 12)
    return workspace


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_that_the_same_command_continues(
    slow_workspace: Path, number: signal.Signals
) -> None:
    mark = f"LLMEVAL_TEST_MARK={os.getpid()}-{number}"
    name, _, value = mark.partition("=")
    command = [sys.executable, "-m", "llmeval", "run", "-m", "baseline:oracle", "-t", "slow"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, name: value}
    )
    wait_for_partial_record(slow_workspace)
    time.sleep(0.3)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    *_, last = err.splitlines()
    (record,) = (slow_workspace / "results").iterdir()
    assert last.endswith(f"interrupted; the same command continues run {record.name}")
    assert json.loads((record / "summary.json").read_text())["status"] == "interrupted"
    assert not processes_with(mark)
    done = start("run", "-m", "baseline:oracle", "-t", "slow", "--json", "-q")
    summary = json.loads(done.stdout)
    assert (summary["run_id"], summary["status"]) == (record.name, "complete")


def wait_for_partial_record(workspace: Path) -> None:
    deadline = time.monotonic() + 60
    while not list(workspace.glob("results/*/samples.parquet.partial")):
        assert time.monotonic() < deadline, "the run did not begin"
        time.sleep(0.05)


def processes_with(mark: str) -> list[str]:
    """Return the processes that were started with a variable, sandboxes included."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text())
        except OSError:
            continue
    return found
