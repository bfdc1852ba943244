"""A run once more, from its manifest alone: asked anew, recorded, and compared with the first."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmeval.core import InvalidResult, UsageError
from llmeval.engine import Progress
from llmeval.models import AnySettings, read_settings
from llmeval.models.kinds import override_settings
from llmeval.run_spec import RunSpec, make_spec
from llmeval.runs import Run, RunLock
from llmeval.runs.agreement import DIFFERENT, Agreement, compare_answers, require_answers
from llmeval.runs.difference import OPTIONS, Difference, diff_manifests, diff_results
from llmeval.runs.unfinished import forget_rerun, rerun_folder, rerun_name
from llmeval.session import execute

EPSILON = 1e-4
"""Nats, or points of a score: what the order of additions on another machine comes to."""

_SAMPLED = '"temperature":'


@dataclass(frozen=True, slots=True)
class Rerun:
    """A run and its re-creation.

    Attributes:
        differences: what the manifests say differently: the possible causes.
        results: numbers of the summaries that are not equal to the last bit.
        notes: causes that no manifest names, where the answers differ.
    """

    original: Run
    again: Run
    agreement: Agreement
    differences: tuple[Difference, ...]
    results: tuple[Difference, ...]
    notes: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "run": self.original.path.name,
            "rerun": self.again.path.name,
            "record": str(self.again.path),
            "status": self.again.status,
            **self.agreement.to_plain(),
            "differences": [one.to_plain() for one in (*self.differences, *self.results)],
            "notes": list(self.notes),
        }


def rerun(
    run: Run,
    *,
    out: str | Path | None = None,
    settings: str | None = None,
    workspace: str | Path | None = None,
    from_journal: bool = False,
    fresh: bool = False,
    epsilon: float = EPSILON,
    progress: Progress | None = None,
    begin: Callable[[], None] | None = None,
) -> Rerun:
    """Re-create a run from its manifest, and compare the two.

    The model is asked anew: answers go to a journal of their own, ``.llmeval/rerun-<id>``, which is
    removed in the end. A rerun that was broken off leaves it, and the same call continues.

    Args:
        out: folder for the new record; that of the first one by default.
        settings: model settings that are to be others, ``name=value,...``.
        workspace: the working folder or ``LLMEVAL_HOME`` by default.
        from_journal: take the answers that the workspace's journal holds, and only score them anew.
        fresh: begin again where a rerun was broken off.
        epsilon: how far apart numbers may be that count as equivalent.
        begin: called when nothing in the record speaks against it, before anything is asked.

    Raises:
        UsageError: the record cannot be re-created: it is not complete, or does not say how it was
            asked, or its tables cannot be read.
        InvalidResult: too many samples errored this time.
        LlmevalError: as for any run.
    """
    if not 0 <= epsilon < float("inf"):
        raise UsageError(f"must be 0 or more, not {epsilon}", where="--epsilon")
    spec = rebuild_spec(run, out=out, settings=settings, workspace=workspace)
    require_answers(run)  # before anything is asked
    with contextlib.ExitStack() as stack:
        if not from_journal:
            journal = stack.enter_context(_own_journal(spec.workspace, run.path.name, fresh))
            spec = replace(spec, journal=journal)
        if begin is not None:
            begin()
        with _say_where_it_was_begun(run):
            again = execute(spec, progress)
        _require_valid(again)
        return _compare(run, again, epsilon)


def _require_valid(again: Run) -> None:
    if again.status != "complete":
        raise InvalidResult(
            "the rerun is invalid: too many samples errored, or nothing was measured",
            where=str(again.path),
            mend="see `not_scored` in summary.json; the same command asks errored samples again",
        )


def rebuild_spec(
    run: Run,
    *,
    out: str | Path | None = None,
    settings: str | None = None,
    workspace: str | Path | None = None,
) -> RunSpec:
    """Return the specification that a run had, from its manifest.

    Raises:
        UsageError: the run is not complete, was begun with objects of Python's, is of an older
            llmeval, or was asked with settings that may hold a secret and so are not recorded.
    """
    manifest, where = run.manifest, run.path.name
    if run.status != "complete":
        what = f"only a complete run can be re-created, and this one is {run.status}"
        raise UsageError(what, where=where, mend="`llmeval run --resume` continues it")
    request = _find_request(run)
    try:
        options = dict(manifest["options"])
        max_errors = options.pop("max_errors")
        limits = {f"max_{name}": value for name, value in manifest["limits"].items()}
        return make_spec(
            request["model"],
            request["tasks"],
            model_settings=_rebuild_settings(run, request, settings),
            options=options,
            data=_existing_mirror(request["data"]),
            out=run.path.parent if out is None else out,
            workspace=workspace,
            window=manifest["window"],
            max_errors=max_errors,
            allow_unsafe_code=request["allow_unsafe_code"],
            batch=request["batch"],
            batch_wait=request["batch"],
            subset=request["subset"],
            rerun_of=where,
            **limits,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"its manifest is not as llmeval writes it: {type(error).__name__}: {error}"
        raise UsageError(what, where=where) from error


def _find_request(run: Run) -> Mapping[str, Any]:
    """Return what the manifest says about how the run was asked."""
    request = run.manifest.get("request")
    if run.manifest.get("imported"):
        mend = "only runs of llmeval's own can be re-created; give it lm-eval's command line"
        raise UsageError("it was imported", where=run.path.name, mend=mend)
    if not isinstance(request, Mapping):
        mend = "it is from before llmeval wrote that down: give the run's own command again"
        raise UsageError("its manifest does not say what was asked", where=run.path.name, mend=mend)
    for name in ("model", "tasks"):
        if request.get(name) is None:
            what = f"it was begun from Python with {name} that no manifest can hold"
            mend = "make the same call again, then `llmeval runs diff`"
            raise UsageError(what, where=run.path.name, mend=mend)
    return request


def _rebuild_settings(run: Run, request: Mapping[str, Any], more: str | None) -> AnySettings:
    model, values = request["model"], request["model_settings"]
    settings = override_settings(model, values, more) if more else read_settings(model, values)
    for name in request["withheld"]:
        if not getattr(settings, name):
            what = f"its record does not hold the model setting {name}, which may hold a secret"
            raise UsageError(what, where=run.path.name, mend=f"give it: -a '{name}=...'")
    return settings


def _existing_mirror(data: str | None) -> str | None:
    """Return the mirror; one that has moved may be named by LLMEVAL_DATA."""
    return data if data is None or Path(data).is_dir() else None


@contextlib.contextmanager
def _own_journal(workspace: Path, run_id: str, fresh: bool) -> Iterator[Path]:
    """Give a journal without answers, or with those of a rerun that was broken off.

    It is removed where the rerun came to its end, and left where it did not.
    """
    lock = RunLock(workspace, rerun_name(run_id))
    if not lock.acquire():
        mend = "wait for it, or end it: this one then continues it"
        raise UsageError("another process is re-creating this run", where=run_id, mend=mend)
    try:
        if fresh:
            forget_rerun(workspace, run_id)
        yield rerun_folder(workspace, run_id) / "journal.sqlite"
        forget_rerun(workspace, run_id)
    finally:
        lock.release()


@contextlib.contextmanager
def _say_where_it_was_begun(run: Run) -> Iterator[None]:
    """Let an error about a name mention the folder that relative names belong to."""
    try:
        yield
    except UsageError as error:
        folder = run.manifest["request"].get("folder")
        if folder and Path(folder) != Path.cwd():
            error.mend = "; ".join(filter(None, [error.mend, f"it was begun in {folder}"]))
        raise


def _compare(original: Run, again: Run, epsilon: float) -> Rerun:
    agreement = compare_answers(original, again, epsilon)
    found = diff_manifests(original.manifest, again.manifest)
    return Rerun(
        original,
        again,
        agreement,
        # That it was begun by another command is no cause of anything.
        tuple(one for one in found if (one.group, one.name) != (OPTIONS, "command")),
        tuple(diff_results(original.summary, again.summary)),
        tuple(_note_causes(original, again)) if agreement.verdict == DIFFERENT else (),
    )


def _note_causes(original: Run, again: Run) -> Iterator[str]:
    """Yield causes of other answers that lie with who answers, not in what was asked."""
    model = original.manifest["model"]
    usage = original.summary["usage"]
    if cached := usage.get("cached"):
        yield (
            f"{cached:,} of the first run's {usage['requests']:,} answers were repeated or from the"
            " journal: given in other batches, or by an earlier revision of the code"
        )
    if str(model.get("device") or "cpu") != "cpu":
        yield f"on {model['device']} sums may be added in another order each time"
    if model.get("backend") != "openai":
        return
    exchanges = original.read_columns("samples.parquet", ["exchanges"])["exchanges"]
    if any(_SAMPLED in text for text in exchanges.to_pylist()):
        yield "answers were sampled (temperature above 0), and a server draws anew each time"
    before, after = _answered_by(original), _answered_by(again)
    if before != after:
        yield f"the server says that it was another model: {before} before, {after} now"
    yield "a server's batches, hardware and versions are not recorded, and may change an answer"


def _answered_by(run: Run) -> str:
    """Return which models the server said it was."""
    performance = run.manifest.get("performance") or {}
    return ", ".join(sorted(performance.get("answered_by") or ["unknown"]))
