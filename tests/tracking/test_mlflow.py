"""A run is logged to a real MLflow store and read back with MLflow's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmeval.runs import load_run
from llmeval.tracking import NotTracked, parse_target, track_run
from llmeval.tracking.mlflow_tool import _VARIABLES
from tests.support.manifests import metric, summary, write_manifest

mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")
pytest.importorskip("sqlalchemy", reason="needs the extra mlflow")


@pytest.fixture(autouse=True)
def _as_llmeval_sets_it(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The reading client's surroundings; nothing of the machine's own counts."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in _VARIABLES.items():
        monkeypatch.setenv(name, value)
    yield


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Making its tables takes a second, so tests share it."""
    return tmp_path_factory.mktemp("mlflow") / "store.db"


def runs(uri: str, experiment: str = "llmeval") -> list[Any]:
    client = mlflow.MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    return [] if found is None else list(client.search_runs([found.experiment_id]))


def test_a_database_holds_what_the_record_says(database: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{database}"
    path = write_manifest(tmp_path, "20260102-030405-pocket-aaaa")
    seen = track_run(load_run(path), f"mlflow:{uri}")
    (run,) = runs(uri)
    assert seen == f"run {run.info.run_id} of experiment llmeval"
    assert (run.info.run_name, run.info.status) == (path.name, "FINISHED")
    assert run.info.end_time - run.info.start_time == 60_000
    assert run.data.params["model"] == "pocket"
    assert run.data.metrics["colours/acc"] == 0.5
    assert run.data.metrics["colours/acc_ci_high"] == 0.6
    assert run.data.tags["llmeval.run_id"] == path.name
    client = mlflow.MlflowClient(tracking_uri=uri)
    names = [file.path for file in client.list_artifacts(run.info.run_id)]
    assert names == ["manifest.json", "summary.json"]
    copy = client.download_artifacts(run.info.run_id, "summary.json", str(tmp_path))
    assert json.loads(Path(copy).read_text()) == load_run(path).summary
    assert (database.parent / "mlruns").is_dir()  # beside the database, not in this folder


def test_logging_again_makes_no_second_run_and_a_mended_run_is_brought_up_to_date(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "again")
    uri = f"sqlite:///{database}"
    path = write_manifest(tmp_path, "one", status="invalid")
    first = track_run(load_run(path), f"mlflow:{uri}")
    assert [run.info.status for run in runs(uri, "again")] == ["FAILED"]
    assert track_run(load_run(path), f"mlflow:{uri}") == first
    mended = json.loads((path / "manifest.json").read_text())
    mended |= {"status": "complete", "written": "2026-01-02T09:00:00+00:00"}
    (path / "manifest.json").write_text(json.dumps(mended))
    better = summary({"colours": {"acc": metric(0.75)}})
    (path / "summary.json").write_text(json.dumps(better))
    assert track_run(load_run(path), f"mlflow:{uri}") == first
    (run,) = runs(uri, "again")
    assert (run.info.status, run.data.metrics["colours/acc"]) == ("FINISHED", 0.75)
    assert run.data.tags["llmeval.status"] == "complete"


def test_a_broken_off_logging_goes_on_where_it_was(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "broken")
    uri, path = f"sqlite:///{database}", write_manifest(tmp_path, "one")

    def break_off(*_: Any) -> None:
        raise OSError("the line is dead at http://me:hunter2@host/x")

    with monkeypatch.context() as broken:
        broken.setattr(mlflow.MlflowClient, "log_artifact", break_off)
        with pytest.raises(NotTracked) as caught:
            track_run(load_run(path), f"mlflow:{uri}")
    assert str(caught.value).endswith("not logged: OSError: the line is dead at http://host/x")
    assert [run.info.status for run in runs(uri, "broken")] == ["RUNNING"]
    track_run(load_run(path), f"mlflow:{uri}")
    (run,) = runs(uri, "broken")
    assert run.info.status == "FINISHED"


def test_a_large_suite_is_logged_whole(database: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """More numbers than MLflow takes in one call (1,000)."""
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "large")
    names = [f"mmlu_{i}" for i in range(200)]
    told = summary({name: {"acc": metric(0.5)} for name in names})
    path = write_manifest(tmp_path, "one", told, tasks={name: {"data": []} for name in names})
    track_run(load_run(path), f"mlflow:sqlite:///{database}")
    (run,) = runs(f"sqlite:///{database}", "large")
    assert len([name for name in run.data.metrics if name.startswith("mmlu")]) == 1200


def test_a_folder_holds_it_too(tmp_path: Path) -> None:
    uri = (tmp_path / "store").as_uri()
    path = write_manifest(tmp_path / "results", "one")
    track_run(load_run(path), f"mlflow:{uri}", tables=True)
    (run,) = runs(uri)
    assert run.data.metrics["colours/acc"] == 0.5


def test_the_default_store_is_mlflows_own_variable(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "default")
    track_run(load_run(write_manifest(tmp_path, "one")), parse_target("mlflow"))
    assert len(runs(f"sqlite:///{database}", "default")) == 1


def test_a_server_that_is_down_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run = load_run(write_manifest(tmp_path, "one"))
    with pytest.raises(NotTracked, match=r"^mlflow:http://127\.0\.0\.1:9: not logged: ") as caught:
        track_run(run, "mlflow:http://127.0.0.1:9")
    assert "\n" not in str(caught.value)
    assert "the tracker does not answer: Connection refused" in str(caught.value)
    assert "MaxRetryError" not in str(caught.value)


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_text("this is text" * 100)
    run = load_run(write_manifest(tmp_path, "one"))
    with pytest.raises(NotTracked, match="not logged: "):
        track_run(run, f"mlflow:sqlite:///{tmp_path}/store.db")


def test_the_environment_is_as_it_was(database: Path, tmp_path: Path, monkeypatch: Any) -> None:
    import os

    for name in _VARIABLES:
        monkeypatch.delenv(name)
    before = dict(os.environ)
    track_run(load_run(write_manifest(tmp_path, "one")), f"mlflow:sqlite:///{database}")
    assert dict(os.environ) == before
