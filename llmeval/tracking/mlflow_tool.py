"""MLflow: a run of an experiment, in a database, a folder, or behind a server."""

from __future__ import annotations

import importlib.util
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmeval.core.errors import UsageError
from llmeval.tracking.entries import Entries
from llmeval.tracking.surroundings import usual_variables

if TYPE_CHECKING:
    from mlflow import MlflowClient

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_SCHEMES = ("file", "http", "https", "databricks", *_DATABASES)
_EXAMPLE = "mlflow:sqlite:///mlflow.db or mlflow:http://HOST:5000"
_INSTALL = "pip install 'llmeval[mlflow]'"
_EXPERIMENT = "llmeval"
_RUN_ID, _WRITTEN, _FILES = "llmeval.run_id", "llmeval.written", "llmeval.files"
_SQLITE = "sqlite:///"
_BATCH = 100  # parameters, tags or metrics of a call: what a server takes at once

_VARIABLES = {
    "MLFLOW_ALLOW_FILE_STORE": "true",  # who names a folder means it
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Its own defaults keep a run waiting for minutes where the server is down.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


def require(where: str) -> None:
    """Raise UsageError where MLflow is not installed, or a URI is none of its."""
    uri = where or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        mend = f"name one, {_EXAMPLE}, or set MLFLOW_TRACKING_URI"
        raise UsageError("mlflow: no store is named", where="--track", mend=mend)
    scheme = _scheme(uri)
    if scheme and scheme.partition("+")[0] not in _SCHEMES:
        raise UsageError(f"mlflow: unknown scheme {scheme!r}", where="--track", mend=_EXAMPLE)
    needed = ["mlflow", *(["sqlalchemy", "alembic"] if _is_database(scheme) else [])]
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise UsageError(f"not installed: {', '.join(missing)}", where="--track", mend=_INSTALL)


def _scheme(uri: str) -> str:
    """Return a URI's scheme; a path has none."""
    head, colon, _ = uri.partition(":")
    if colon and "/" not in head:
        return head
    return "databricks" if uri == "databricks" else ""


def _is_database(scheme: str) -> bool:
    return scheme.partition("+")[0] in _DATABASES


def log(where: str, entries: Entries) -> str:
    """Log a run to an experiment; return its id and the experiment's name.

    A run that is there already goes on where it was broken off, or is brought up to date.
    """
    uri = _absolute(where or os.environ["MLFLOW_TRACKING_URI"])
    with usual_variables(_VARIABLES):
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or _EXPERIMENT
        experiment = _find_experiment(client, name, uri)
        run = _find_run(client, experiment, entries)
        if not _is_current(run, entries):
            _write(client, run.info.run_id, entries)
        return f"run {run.info.run_id} of experiment {name}"


def _absolute(uri: str) -> str:
    """Return a URI whose path does not depend on the folder that this is."""
    scheme, (path, mark, query) = _scheme(uri), uri.removeprefix(_SQLITE).partition("?")
    if scheme == "" or (scheme == "file" and not uri.startswith("file:/")):
        return Path(uri.removeprefix("file:")).resolve().as_uri()
    if uri.startswith(_SQLITE) and path and not path.startswith(":memory:"):
        return f"{_SQLITE}{Path(path).resolve()}{mark}{query}"
    return uri


def _find_experiment(client: MlflowClient, name: str, uri: str) -> str:
    """Return an experiment's id; it is made where it is not there."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=_beside(uri)))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another run may have made it just now
            if found is None:
                raise
    return str(found.experiment_id)


def _beside(uri: str) -> str | None:
    """Return where files go: beside a local database, not into whatever folder this is."""
    path = Path(uri.removeprefix(_SQLITE).partition("?")[0])
    local = uri.startswith(_SQLITE) and path.is_absolute()
    return (path.parent / "mlruns").as_uri() if local else None


def _find_run(client: MlflowClient, experiment: str, entries: Entries) -> Any:
    quoted = entries.run_id.replace("'", "")
    found = client.search_runs([experiment], f"tags.`{_RUN_ID}` = '{quoted}'", max_results=1)
    if found:
        return found[0]
    return client.create_run(
        experiment, entries.started, {_RUN_ID: entries.run_id}, run_name=entries.run_id
    )


def _is_current(run: Any, entries: Entries) -> bool:
    """Whether all of a record was logged: the tags come last, with the time of its writing."""
    tags = run.data.tags
    uploaded = {path.name for path in entries.files} <= set(tags.get(_FILES, "").split())
    return uploaded and bool(tags.get(_WRITTEN) == entries.tags[_WRITTEN])


def _write(client: MlflowClient, run_id: str, entries: Entries) -> None:
    from mlflow.entities import Metric, Param, RunTag

    metrics = (Metric(k, v, entries.written, 0) for k, v in entries.metrics.items())
    for some in _batches(metrics):
        client.log_batch(run_id, metrics=some)
    for some in _batches(Param(k, v) for k, v in entries.params.items()):
        client.log_batch(run_id, params=some)
    for path in entries.files:
        client.log_artifact(run_id, str(path))
    tags = {**entries.tags, _FILES: " ".join(path.name for path in entries.files)}
    client.log_batch(run_id, tags=[RunTag(k, v) for k, v in tags.items()])
    status = "FINISHED" if entries.status == "complete" else "FAILED"
    client.set_terminated(run_id, status, entries.written)


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(items)
    while some := list(itertools.islice(rest, _BATCH)):
        yield some
