"""The runs of one night: each model's, and those of its sentinel.

A model is asked anew every night, although the workspace's journal knows last night's answers: a
night has journals of its own. What was broken off goes on with the same command.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmeval.core import (
    BudgetReached,
    Interrupted,
    LlmevalError,
    StorageError,
    UsageError,
    fingerprint,
)
from llmeval.engine import Progress
from llmeval.models.kinds import plain_settings, read_settings
from llmeval.nightly.file import Nightly, NightlyModel
from llmeval.nightly.folder import NightFolder, Slot
from llmeval.nightly.foreseen import foresee
from llmeval.reports.regress.baseline import Baseline, open_baseline
from llmeval.reports.regress.faults import Fault
from llmeval.reports.regress.night import Side
from llmeval.run_spec import RunSpec, make_spec
from llmeval.runs import Run
from llmeval.session import execute

_PACE = frozenset(
    (
        *("batch_size", "key_env", "max_attempts", "max_connections", "pack_size", "patience"),
        *("price_cached", "price_input", "price_output", "requests_per_minute", "threads"),
        *("timeout", "tokens_per_minute", "workers"),
    )
)
"""Settings that decide how fast answers come and what they cost."""

MakeProgress = Callable[[RunSpec], Progress]


class Asking:
    """Asks what a night asks, and nothing that it has asked already.

    Attributes:
        baselines: by the model's label.
        faults: why models are not to be asked, by label: their night would be void.
    """

    def __init__(self, nightly: Nightly, night: NightFolder, out: str | Path | None) -> None:
        self._file = nightly.file
        self._night = night
        self._began = time.monotonic()
        self._asked_now = False
        self.faults: Mapping[str, Fault] = {}
        self.baselines = {
            entry.label: open_baseline(entry.pin, out) for entry in nightly.file.all_models
        }

    def require_others(self) -> None:
        """Refuse to judge a night against itself.

        Raises:
            UsageError: a baseline is a run of this very night.
        """
        ids = {run.id for _, run in self._night.runs()}
        for label, baseline in self.baselines.items():
            if isinstance(baseline, Baseline) and baseline.run.id in ids:  # or a copy of it
                raise UsageError(
                    f"night {self._night.name} is the baseline of {label} itself",
                    mend="the next night is compared with it; --fresh begins another one now",
                )

    def foresee(self) -> Mapping[str, Fault]:
        """Note which models' nights are known to be void; they are not asked."""
        entries = {entry.label: entry for entry in self._file.all_models}
        found = {
            label: foresee(
                self.baselines[label], entry.pin is not None, self.spec(entry, Slot(label))
            )
            for label, entry in entries.items()
        }
        self.faults = {label: fault for label, fault in found.items() if fault is not None}
        return self.faults

    def ask_all(self, progress: MakeProgress | None) -> tuple[list[Side], list[str]]:
        """Do every run that is not done; whatever one comes to, the others are asked.

        Returns:
            the models' sides, and notes about the night.
        """
        sides = [self._ask_model(entry, progress) for entry in self._file.all_models]
        notes: list[str] = []
        if self._file.sentinel is not None:  # after all models: a budget cuts it first
            for number, entry in enumerate(self._file.all_models):
                if sides[number].complete:
                    repeats = self._repeat(entry, self._file.sentinel.repeats, progress, notes)
                    sides[number] = replace(sides[number], repeats=tuple(repeats))
        return sides, notes

    def _ask_model(self, entry: NightlyModel, progress: MakeProgress | None) -> Side:
        slot = Slot(entry.label)
        if (fault := self.faults.get(entry.label)) is not None:
            run: Run | None = self._night.newest(slot)
        else:
            run, fault = self._ask(entry, slot, progress)
        return Side(
            label=entry.label,
            baseline=self.baselines[entry.label],
            tonight=run,
            fault=fault,
            asked=tuple(self._file.tasks),
            settings=digest_settings(entry),
        )

    def _repeat(
        self, entry: NightlyModel, draws: int, progress: MakeProgress | None, notes: list[str]
    ) -> list[Run]:
        repeats: list[Run] = []
        for draw in range(1, draws + 1):
            run, fault = self._ask(entry, Slot(entry.label, draw), progress)
            if run is None or fault is not None or run.status != "complete":
                why = fault or "too many of its items got no answer"
                notes.append(f"{entry.label}: the sentinel is not whole: {why}")
                break
            repeats.append(run)
        return repeats

    def _ask(
        self, entry: NightlyModel, slot: Slot, progress: MakeProgress | None
    ) -> tuple[Run | None, Fault | None]:
        """Return a slot's run, and why it is not to be judged."""
        try:
            spec = self.spec(entry, slot)
            asked = _digest_asked(spec)
            if (done := self._night.finished(slot, asked)) is not None:
                return done, None
            spec = self._bound(spec, slot)
            self._asked_now = True
            run = execute(spec, progress(spec) if progress else None)
        except BudgetReached as reached:
            mend = "a higher limit in the nightly file continues"
            return self._night.newest(slot), Fault("interrupted", reached.what, mend)
        except (Interrupted, StorageError):
            raise
        except LlmevalError as error:
            return self._night.newest(slot), tell_failure(error)
        if run.status == "complete":  # else errored items are asked again by the same command
            self._night.note(slot, asked, run)
        return run, None

    def spec(self, entry: NightlyModel, slot: Slot) -> RunSpec:
        """Return what a run asks, without the night's limits."""
        file = self._file
        return make_spec(
            entry.model,
            file.tasks,
            model_settings=entry.model_settings,
            options=file.options.model_dump(exclude_unset=True),
            data=file.data,
            out=self._night.folder_of(slot),
            window=file.window,
            max_errors=file.max_errors,
            allow_unsafe_code=file.allow_unsafe_code,
            subset=file.sentinel.items if file.sentinel and slot.draw else None,
            journal=self._night.journal_of(slot),
        )

    def _bound(self, spec: RunSpec, slot: Slot) -> RunSpec:
        """Return a run with what is left of the night's limits.

        Raises:
            BudgetReached: nothing is left.
        """
        file = self._file
        others = [run for name, run in self._night.runs() if name != slot.name]
        taken = sum_usage(others)  # a run counts its own earlier attempts
        minutes = (time.monotonic() - self._began) / 60
        limits = replace(
            spec.limits,
            usd=_left("usd", file.max_usd, taken["usd"] or 0.0),
            requests=_left("requests", file.max_requests, taken["asked"]),
            minutes=_left("minutes", file.max_minutes, minutes),
        )
        return replace(spec, limits=limits)

    def took(self) -> dict[str, Any]:
        """Return what the night took in all, and whether all of that was earlier."""
        runs = [run for _, run in self._night.runs()]
        if not runs:
            return {}
        seconds = sum(float(run.summary["seconds"]["total"]) for run in runs)
        told = {**sum_usage(runs), "seconds": seconds, "again": not self._asked_now}
        if all(run.status == "complete" for run in runs):  # baselines keep no journal
            return told
        # A run that was broken off counts what it was about to ask; its journal knows better.
        answered = self._night.count_answers()
        return told if answered is None else {**told, "asked": answered}


def _left(name: str, limit: Any, taken: Any) -> Any:
    if limit is None:
        return None
    if taken >= limit:
        raise BudgetReached(f"the night's budget is reached: {taken:g} of {limit:g} {name}")
    return limit - taken


def sum_usage(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the questions that models were asked, and the dollars where a price is known."""
    used = [run.summary["usage"] for run in runs]
    prices = [use["usd"] for use in used if use.get("usd") is not None]
    return {
        "asked": sum(use["requests"] - use["cached"] for use in used),
        "usd": sum(prices) if prices else None,
    }


def _digest_asked(spec: RunSpec) -> str:
    """Return the digest of what a run asks of whom; limits are no part of it."""
    names = ("model", "tasks", "model_settings", "options", "mirror", "subset")
    return fingerprint({name: repr(getattr(spec, name)) for name in names})


def digest_settings(entry: NightlyModel) -> str:
    """Return the digest of a model's name and of the settings that its answers may depend on."""
    told, _ = plain_settings(read_settings(entry.model, entry.model_settings))
    return fingerprint([entry.model, {k: told[k] for k in told if k not in _PACE}], 8)


def tell_failure(error: LlmevalError) -> Fault:
    """Return what stopped a run, as a fault."""
    what = f"{error.where}: {error.what}" if error.where else error.what
    return Fault("run invalid", what, error.mend or "the same command continues")
