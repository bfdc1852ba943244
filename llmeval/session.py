"""One run from its specification to its record: load, resume or begin, evaluate, write."""

from __future__ import annotations

import contextlib
import datetime
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llmeval.batch_run import AnyModel, handed_in, require_collected, wait_for_batches
from llmeval.core import (
    BudgetReached,
    InformedModel,
    Interrupted,
    InvalidResult,
    LlmevalError,
    StorageError,
    Submitted,
    fingerprint,
)
from llmeval.core.protocols import PricedModel
from llmeval.engine import (
    Budget,
    Evaluated,
    Journal,
    JournaledRun,
    Progress,
    Usage,
    evaluate,
    order_by_data,
)
from llmeval.health import HealthTally, RunFacts, read_facts
from llmeval.preparation import Sandboxes, prepared
from llmeval.run_spec import RunSpec, describe_request
from llmeval.runs import (
    RecordWriter,
    Run,
    RunLock,
    Tally,
    describe_environment,
    load_run,
    summarize_groups,
    summarize_tasks,
    to_lm_eval_results,
)
from llmeval.runs.files import storage_errors, write_json
from llmeval.runs.memory import measure_peak_memory
from llmeval.runs.unfinished import forget_run, note_run
from llmeval.tasks.registry import Selection


def execute(spec: RunSpec, progress: Progress | None = None) -> Run:
    """Do a run, or continue the unfinished one of the same specification; return its record.

    Raises:
        UsageError, StorageError: it cannot be done as asked.
        InvalidResult: the model failed throughout.
        Interrupted: it was stopped; what was answered is journaled.
        Submitted: its questions are with a batch service; the same call collects the answers.
    """
    clock = _Clock()
    with (
        prepared(spec) as (asked, selection, sandboxes),
        handed_in(spec, asked) as model,
        Journal(journal_path(spec)) as journal,
    ):
        if isinstance(model, InformedModel):  # before it is described: what it learns is part of it
            model.study(selection.tasks)
        while True:
            attempt = _Attempt(spec, model, selection, journal, clock, sandboxes)
            try:
                return attempt.carry_out(progress)
            except Submitted:
                if not wait_for_batches(model):
                    raise
                clock = _Clock()


def journal_path(spec: RunSpec) -> Path:
    """Return where a run's journal is: its own, or that of its workspace."""
    return spec.journal or spec.workspace / ".llmeval" / "journal.sqlite"


class _Clock:
    """Seconds of the phases of a run."""

    def __init__(self) -> None:
        self.started = self._last = time.monotonic()
        self.seconds: dict[str, float] = {}

    def mark(self, phase: str) -> None:
        now = time.monotonic()
        self.seconds[phase] = round(now - self._last, 3)
        self._last = now

    def total(self) -> float:
        return round(time.monotonic() - self.started, 3)


class _Attempt:
    """One attempt at a run: its first, or one that continues after a kill."""

    def __init__(
        self,
        spec: RunSpec,
        model: AnyModel,
        selection: Selection,
        journal: Journal,
        clock: _Clock,
        sandboxes: Sandboxes,
    ) -> None:
        self._spec = spec
        self._model = model
        self._selection = selection
        self._journal = journal
        self._clock = clock
        self._sandboxes = sandboxes
        self._data = {task.name: task.data() for task in selection.tasks}
        self._asked = self._describe()
        price = model.price if isinstance(model, PricedModel) else None
        self._tallies = {task.name: Tally(price) for task in selection.tasks}
        informed = isinstance(model, InformedModel)
        self._health = HealthTally(read_facts(selection.tasks), informed=informed)
        self._usage = Usage()
        self._budget = Budget(spec.limits)
        self._traffic: dict[str, object] = {}
        self._writer: RecordWriter | None = None
        self._run, self._lock = self._resume_or_begin()
        self._folder = spec.out / self._run.run_id

    def _describe(self) -> dict[str, Any]:
        """What was asked, without times: equal descriptions are the same run."""
        return {
            "model": {
                **self._model.describe(),
                "name": self._model.name,
                "fingerprint": self._model.fingerprint,
            },
            "tasks": {
                task.name: {
                    "version": task.version,
                    "num_fewshot": task.num_fewshot,
                    **task.describe(),
                    "data": self._data[task.name],
                }
                for task in self._selection.tasks
            },
            "options": {**asdict(self._spec.options), "max_errors": self._spec.max_errors},
        }

    def _resume_or_begin(self) -> tuple[JournaledRun, RunLock]:
        out = str(self._spec.out.resolve())
        key = fingerprint([self._asked, out, self._spec.window])
        for run in self._journal.unfinished(key):
            lock = RunLock(self._spec.workspace, run.run_id)
            if not lock.acquire():
                continue  # another process is at it
            if run in self._journal.unfinished(key):
                return run, lock
            lock.release()  # it was finished while we looked
        run_id = _make_run_id(self._model.name)
        lock = RunLock(self._spec.workspace, run_id)
        lock.acquire()  # before the journal tells others of the run
        return self._journal.begin(key, run_id), lock

    def carry_out(self, progress: Progress | None) -> Run:
        try:
            self._begin_record()
            self._writer = RecordWriter(self._folder)
            self._clock.mark("startup")
            evaluate(
                order_by_data(self._selection.tasks, self._data),
                self._model,
                journal=self._journal,
                run=self._run,
                sink=self._take,
                progress=progress,
                window=self._spec.window,
                usage=self._usage,
                budget=self._budget,
                traffic=self._traffic,
            )
            self._clock.mark("scoring")
            require_collected(self._model)
            self._finish()
        except KeyboardInterrupt:
            self._keep_partial("interrupted")
            raise Interrupted(
                f"interrupted; the same command continues run {self._run.run_id}"
            ) from None
        except BudgetReached as reached:
            self._keep_partial("interrupted", ended=True)
            reached.where = f"{reached.where}, run {self._run.run_id}"
            raise
        except LlmevalError as error:
            invalid = isinstance(error, InvalidResult)
            self._keep_partial("invalid" if invalid else "interrupted")
            raise
        finally:
            self._lock.release()
        return load_run(self._folder)

    def _take(self, results: Sequence[Evaluated]) -> None:
        for result in results:
            name, asked = result.task.name, result.exchanges
            self._tallies[name].add(result.sample, result.scores, asked)
            self._health.add(name, result.sample, asked, result.scores)
        assert self._writer is not None
        self._writer.write([(r.task.name, r.sample, r.exchanges, r.scores) for r in results])

    def _finish(self) -> None:
        status = "complete" if self._is_valid() else "invalid"
        self._write_results(status, ended=True)
        if status == "complete":
            self._journal.finish(self._run)
            forget_run(self._spec.workspace, self._run.run_id)

    def _is_valid(self) -> bool:
        n = sum(tally.n for tally in self._tallies.values())
        errored = sum(tally.errored for tally in self._tallies.values())
        measured = any(m.items for tally in self._tallies.values() for m in tally.metrics.values())
        return measured and errored <= self._spec.max_errors * n

    def _keep_partial(self, status: str, *, ended: bool = False) -> None:
        """Leave a readable record of the samples that are done."""
        with contextlib.suppress(StorageError):  # the disk is full: the manifest is as it was
            self._write_results(status, ended=ended)

    def _write_results(self, status: str, *, ended: bool = False) -> None:
        if self._writer is not None:
            self._writer.close()
        # A run that breaks off asks nothing of a model that may be what broke.
        report = self._report() if ended else None
        summary = self._summarize(status, report)
        manifest = self._make_manifest(status, report)
        write_json(self._folder / "summary.json", summary)
        write_json(self._folder / "results.json", to_lm_eval_results(summary, manifest))
        write_json(self._folder / "manifest.json", manifest)  # last: its status vouches for all

    def _summarize(self, status: str, report: Mapping[str, Any] | None) -> dict[str, Any]:
        usage, tokens = self._usage, self._journal.tokens(self._run)
        tasks, estimates = summarize_tasks(self._selection.tasks, self._tallies, self._data)
        chat = self._spec.options.apply_chat_template
        health = self._health.note(tasks, RunFacts(self._asked["model"], chat, report))
        return {
            "run_id": self._run.run_id,
            "status": status,
            "model": {"name": self._model.name, "fingerprint": self._model.fingerprint},
            "tasks": tasks,
            "groups": summarize_groups(self._selection.groups, tasks, estimates),
            "usage": {
                "requests": usage.requests,
                "cached": usage.cached,
                "prompt_tokens": usage.prompt_tokens,
                "computed_tokens": tokens.computed,
                "distinct_tokens": tokens.distinct,
                "completion_tokens": usage.completion_tokens,
                "cached_tokens": usage.cached_tokens,
                "reasoning_tokens": usage.reasoning_tokens,
                "truncated": usage.truncated,
                "cut": usage.cut,
                "separate_boundaries": usage.separate_boundaries,
                "usd": None if usage.usd is None else round(usage.usd, 8),
            },
            "seconds": self._seconds(),
            "health": health,
        }

    def _seconds(self) -> dict[str, float]:
        """Wall seconds of the last attempt; ``model`` is the time in which the model answered."""
        model = round(self._usage.model_seconds, 3)
        scoring = self._clock.seconds.get("scoring", 0.0) - model
        return {
            "startup": self._clock.seconds.get("startup", 0.0),
            "model": model,
            "scoring": round(max(scoring, 0.0), 3),
            "total": self._clock.total(),
        }

    def _begin_record(self) -> None:
        """A run that is killed from here on has a manifest that says so, and can be found."""
        with storage_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        note_run(self._spec.workspace, self._run.run_id, self._folder)
        write_json(self._folder / "manifest.json", self._make_manifest("interrupted"))

    def _report(self) -> dict[str, Any] | None:
        if isinstance(self._model, InformedModel):
            return self._model.report() or None
        report = self._model.report()
        if self._traffic:
            report |= {"traffic": self._traffic}
        if "answered_by" not in report:  # else the model is on another machine, or in a server
            report |= {"peak_memory": measure_peak_memory()}
        return report

    def _make_manifest(
        self, status: str, performance: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        started = datetime.datetime.fromtimestamp(self._run.started, datetime.UTC)
        return {
            "run_id": self._run.run_id,
            "status": status,
            "started": started.isoformat(timespec="seconds"),
            "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            **self._asked,
            "groups": {g.name: list(g.members) for g in self._selection.groups},
            "seeds": {"fewshot": self._spec.options.seed, "sampling": self._spec.options.seed},
            "window": self._spec.window,
            "limits": asdict(self._spec.limits),
            "command": self._spec.command,
            "request": describe_request(self._spec),
            "rerun_of": self._spec.rerun_of,
            "sandbox": self._sandboxes.tier,
            "performance": performance,
            "environment": describe_environment(self._spec.workspace),
        }


def _make_run_id(model_name: str) -> str:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    words = "".join(c if c.isalnum() or c in "-." else "-" for c in model_name)
    return f"{now}-{words.strip('-.')[-40:].strip('-.')}-{secrets.token_hex(2)}"
