"""A run from its specification to its record, with a fake model in this process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.replay import measure
from llmeval import load_run
from llmeval.core import Answers, InvalidResult, Request, StorageError
from llmeval.run_spec import RunSpec
from llmeval.session import execute
from tests.support.fake_run import make_spec
from tests.support.fakes import FakeModel, FakeTask
from tests.support.shared import ROOT, shared_dir


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    return make_spec(tmp_path, n=30)


def test_a_record_holds_its_five_files_and_nothing_half_written(spec: RunSpec) -> None:
    run = execute(spec)
    assert sorted(p.name for p in run.path.iterdir()) == [
        "manifest.json",
        "results.json",
        "samples.parquet",
        "scores.parquet",
        "summary.json",
    ]
    assert run.path == spec.out / run.id
    again = load_run(run.path)
    assert again.summary == run.summary
    assert again.samples.equals(run.samples)
    assert not list((spec.workspace / ".llmeval" / "locks").iterdir())


def test_the_summary_has_the_shape_of_the_contract(spec: RunSpec) -> None:
    summary = execute(spec).summary
    assert list(summary) == [
        *("run_id", "status", "model", "tasks", "groups", "usage", "seconds", "health"),
    ]
    assert summary["health"] == []
    assert summary["status"] == "complete"
    assert summary["model"] == {"name": "fake", "fingerprint": "fingerprint of fake"}
    task = summary["tasks"]["choices"]
    assert set(task) == {
        *("n", "coverage", "version", "num_fewshot", "form", "data", "usage", "metrics", "health"),
    }
    assert task["health"] == []
    assert task["form"] is None
    assert set(task["data"]) == {"id", "fingerprint"}
    wanted = {"value", "stderr", "ci95", "n", "higher_is_better", "chance"}
    assert wanted <= set(task["metrics"]["acc"])
    assert {
        *("requests", "cached", "prompt_tokens", "computed_tokens", "completion_tokens", "usd")
    } <= set(summary["usage"])
    assert {"startup", "model", "scoring", "total"} == set(summary["seconds"])


def test_the_manifest_says_what_was_asked_of_whom_by_which_code(spec: RunSpec) -> None:
    manifest = execute(spec).manifest
    assert manifest["status"] == "complete"
    assert manifest["model"] == {"name": "fake", "fingerprint": "fingerprint of fake", "batch": 8}
    assert manifest["tasks"]["choices"]["data"] == FakeTask(n=30).data()
    assert manifest["seeds"] == {"fewshot": 1234, "sampling": 1234}
    environment = manifest["environment"]
    assert environment["python"] == sys.version.split()[0]
    assert {"numpy", "pyarrow", "scipy"} <= set(environment["packages"])


class Reporting(FakeModel):
    """Reports once how many batches it answered."""

    def __init__(self) -> None:
        super().__init__()
        self.reports = 0

    def report(self) -> dict[str, Any]:
        self.reports += 1
        return {"scorer": "fake", "batches": len(self.batches)}


def test_the_manifest_tells_the_models_figures_and_the_summary_its_tokens(spec: RunSpec) -> None:
    model = Reporting()
    run = execute(replace(spec, model=model))
    performance = run.manifest["performance"]
    memory = performance.pop("peak_memory")
    assert performance == {"scorer": "fake", "batches": len(model.batches)}
    assert memory["host"] > 1e7  # what Python alone takes
    assert model.reports == 1
    usage = run.summary["usage"]
    assert usage["computed_tokens"] == 3 * len(model.asked) > 0
    assert usage["distinct_tokens"] == 2 * len(model.asked)


def test_the_models_figures_do_not_make_another_run(tmp_path: Path) -> None:
    """They differ from one attempt to the next."""

    class Stopping(Reporting):
        def answer(self, requests: Sequence[Request]) -> Answers:
            if len(self.batches) == 5:
                raise StorageError("stop here")
            return super().answer(requests)

    spec = replace(make_spec(tmp_path, n=30), model=Stopping())
    with pytest.raises(StorageError):
        execute(spec)
    (folder,) = spec.out.iterdir()
    assert load_run(folder).manifest["performance"] is None
    whole = execute(replace(spec, model=(model := Reporting())))
    assert whole.path == folder
    assert whole.manifest["performance"]["batches"] == len(model.batches)
    assert whole.summary["usage"]["distinct_tokens"] == 2 * (5 * 8 + len(model.asked))


def test_tasks_on_the_same_rows_share_windows_and_results_keep_the_order_asked(
    tmp_path: Path,
) -> None:
    tasks = (
        FakeTask("one", 10, theme="shared"),
        FakeTask("between", 10, theme="other"),
        FakeTask("two", 10, theme="shared"),
    )
    model = FakeModel(batch=1000)
    run = execute(RunSpec(model, tasks, tmp_path, out=tmp_path / "results", window=20))
    assert [{str(r.prompt).split()[0] for r in batch} for batch in model.batches] == [
        {"shared"},
        {"other"},
    ]
    names = ["one", "between", "two"]
    assert list(run.summary["tasks"]) == list(run.manifest["tasks"]) == names
    rows = [row["task"] for row in run.samples.to_pylist()]
    assert rows == ["one"] * 10 + ["two"] * 10 + ["between"] * 10


def test_no_secret_of_the_environment_is_in_the_manifest(
    spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-records")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = execute(spec)
    assert run.manifest["environment"]["variables"]["OMP_NUM_THREADS"] == "1"
    for file in run.path.iterdir():
        assert b"sk-not-for-records" not in file.read_bytes()


def test_results_json_has_the_keys_of_a_real_one(spec: RunSpec) -> None:
    ours = json.loads((execute(spec).path / "results.json").read_text())
    folder = shared_dir("reference", "lm_eval_0.4.13", "tinystories656K", "hellaswag_0shot")
    real = json.loads((folder / "results.json").read_text())
    machine = {"pretty_env_info", "git_hash", "upper_git_hash", "task_hashes", "model_source"}
    machine |= {k for k in real if k.startswith(("tokenizer_", "eot_", "chat_", "system_"))}
    machine |= {"transformers_version", "lm_eval_version", "max_length", "model_name_sanitized"}
    machine |= {"fewshot_as_multiturn", "groups"}
    assert set(real) - machine <= set(ours)
    (name, theirs), (row, *_) = next(iter(real["results"].items())), ours["results"].values()
    assert {"alias", "acc,none", "acc_stderr,none"} <= set(theirs) & set(row)
    for part in ("versions", "n-shot", "higher_is_better", "n-samples", "configs"):
        assert type(real[part][name]) is type(ours[part]["choices"]) or part == "versions"
    assert set(real["n-samples"][name]) == set(ours["n-samples"]["choices"])


def test_a_journaled_run_is_replayed_without_the_model(tmp_path: Path) -> None:
    """``bench/replay.py`` on a small scale: questions asked in the first run and its replay."""
    figures = measure(200, 3000, tmp_path)
    assert [(what, asked) for what, _, asked in figures] == [("asked", 800), ("replayed", 0)]


def test_an_unfinished_run_is_continued_and_another_specification_is_not(
    tmp_path: Path,
) -> None:
    def break_later(requests: Sequence[Request]) -> None:
        if len(broken.batches) >= 3:
            raise StorageError("stop here")

    broken = FakeModel(before=break_later)
    spec = replace(make_spec(tmp_path, n=30), model=broken)
    with pytest.raises(StorageError):
        execute(spec)
    (folder,) = spec.out.iterdir()
    assert load_run(folder).status == "interrupted"
    other = execute(replace(spec, model=FakeModel(), window=26))
    assert other.path != folder
    whole = execute(replace(spec, model=FakeModel()))
    assert whole.path == folder
    assert whole.status == "complete"
    assert execute(replace(spec, model=FakeModel())).path != folder


def test_too_many_errors_make_the_result_invalid_and_are_asked_again(tmp_path: Path) -> None:
    def refuse_some(requests: Sequence[Request]) -> None:
        if any("7" in str(r.prompt) for r in requests):
            raise RuntimeError("no sevens")

    task = FakeTask("texts", 30, "generate")
    spec = RunSpec(
        model=FakeModel(before=refuse_some),
        tasks=(task,),
        workspace=tmp_path,
        out=tmp_path / "results",
    )
    invalid = execute(spec)
    assert invalid.status == invalid.summary["status"] == "invalid"
    assert invalid.summary["tasks"]["texts"]["coverage"] < 0.95
    mended = FakeModel()
    run = execute(replace(spec, model=mended))
    assert (run.path, run.status) == (invalid.path, "complete")
    assert mended.asked
    assert all("7" in str(r.prompt) for r in mended.asked)


def test_a_few_errors_are_no_reason_to_throw_a_run_away(tmp_path: Path) -> None:
    def refuse_one(requests: Sequence[Request]) -> None:
        if any(str(r.prompt) == FakeTask().question(28) for r in requests):
            raise RuntimeError("not this one")

    task = FakeTask("texts", 30, "choice")
    model = FakeModel(before=refuse_one)
    run = execute(RunSpec(model, (task,), tmp_path, out=tmp_path / "results"))
    assert run.status == "complete"
    assert run.summary["tasks"]["texts"]["coverage"] == pytest.approx(29 / 30)


def test_a_model_that_broke_leaves_an_invalid_record_that_can_be_read(tmp_path: Path) -> None:
    def break_for_good(requests: Sequence[Request]) -> None:
        if len(model.batches) > 8:
            raise RuntimeError("gone")

    model = FakeModel(before=break_for_good)
    spec = replace(make_spec(tmp_path, n=60, window=10), model=model)
    with pytest.raises(InvalidResult, match="20 times in a row"):
        execute(spec)
    (folder,) = spec.out.iterdir()
    run = load_run(folder)
    assert run.status == run.summary["status"] == "invalid"
    assert run.samples.num_rows == run.summary["tasks"]["choices"]["n"] > 0


def test_the_results_folder_is_a_file(spec: RunSpec) -> None:
    spec.out.touch()
    with pytest.raises(StorageError, match="a file stands where a folder is needed"):
        execute(spec)


# -- full and read-only disks, in a mount namespace of a process of its own -----------------------


def in_namespace(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script that may mount things nobody else sees, or skip visibly."""
    unshare = shutil.which("unshare")
    command = [unshare or "", "--user", "--map-root-user", "--mount"]
    if unshare is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("needs unshare and user namespaces")
    done = subprocess.run(
        [*command, "sh", "-c", script, sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if "NO MOUNT" in done.stdout:
        pytest.skip("needs mount in a user namespace")
    return done


@pytest.mark.slow
@pytest.mark.parametrize("place", ["results", ".llmeval"])
def test_a_full_disk_stops_with_one_line_and_the_same_command_goes_on(
    tmp_path: Path, place: str
) -> None:
    """For the record and for the journal: what was answered is not asked again."""
    (tmp_path / place).mkdir()
    ballast = {"results": 9150, ".llmeval": 8850}[place]  # tables are small
    done = in_namespace(
        'mount -t tmpfs -o size=9m none "$1/$2" || { echo "NO MOUNT"; exit; }\n'
        f'head -c {ballast}k /dev/zero > "$1/$2/ballast"\n'
        '"$0" -m tests.support.fake_run "$1" --window 20 -n 600; echo "first $?"\n'
        'rm "$1/$2/ballast"; cp "$1/asked.log" "$1/first.log"\n'
        '"$0" -m tests.support.fake_run "$1" --window 20 -n 600; echo "second $?"\n',
        str(tmp_path),
        place,
    )
    first, path, second = done.stdout.splitlines()
    assert (first, second) == ("first 2", "second 0"), done.stderr
    assert "free some disk space" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert json.loads(path)["status"] == "complete"
    questions = (tmp_path / "asked.log").read_text().splitlines()
    asked_first = len((tmp_path / "first.log").read_text().splitlines())
    lost = set(questions[:asked_first]) & set(questions[asked_first:])
    assert len(lost) <= 16  # the batch that found the disk full, and the one begun meanwhile


@pytest.mark.slow
def test_a_read_only_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    done = in_namespace(
        'mount -t tmpfs -o size=1m,ro none "$1/results" || { echo "NO MOUNT"; exit; }\n'
        '"$0" -m tests.support.fake_run "$1"; echo "$?"\n',
        str(tmp_path),
    )
    assert done.stdout == "2\n"
    assert "Read-only file system (choose a writable folder with --out)" in done.stderr
    assert done.stderr.count("\n") == 1
