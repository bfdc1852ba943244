"""The checks of a run: fed every sample while it goes on, asked at its end."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmeval.core import Sample, Score, Task
from llmeval.health.answers import CUT, EMPTY, SAME, UNREAD, WITHHELD, Broken, Identical, Unread
from llmeval.health.chance import BelowChance
from llmeval.health.counting import TESTED
from llmeval.health.data import NOT_SCORED, Duplicates, Errored, NotScored, Spread
from llmeval.health.favour import FAVOURED, OneFavoured
from llmeval.health.finding import Check, Finding, Metrics, Share
from llmeval.health.prompts import Leaked, Truncated
from llmeval.health.seen import Exchanges, TaskFacts, look_at
from llmeval.health.template import Addressing, RunFacts

log = logging.getLogger(__name__)

BROKEN = "health checks"


class HealthTally:
    """Looks at the samples of all tasks of a run; memory does not grow with them.

    (But for a hash of each in a set, by which duplicates are found: some 100 bytes a sample.)

    Args:
        tasks: what is known of each.
        informed: the model is a baseline. It reads the answer key or follows a fixed rule, so what
            would be odd in a model is its nature; only the data and the prompts are checked.
    """

    def __init__(self, tasks: Sequence[TaskFacts], *, informed: bool = False) -> None:
        self._facts = {facts.name: facts for facts in tasks}
        self._informed = informed
        self._checks = {facts.name: _make_checks(facts, informed) for facts in tasks}
        self._addressing = Addressing()
        self._broken = Share()
        self._fault = ""  # of the checks themselves

    def add(
        self,
        task: str,
        sample: Sample,
        exchanges: Exchanges,
        scores: Sequence[Score],
        content: str | None = None,
    ) -> None:
        """Look at one sample with everything that happened to it.

        Where a check breaks on it, the run goes on, and the fault is a finding.
        """
        try:
            seen = look_at(self._facts[task], sample, exchanges, scores, content)
            for check in self._checks[task]:
                check.add(seen)
            if not self._informed:
                self._addressing.add(seen)
        except Exception as error:
            log.debug("%s, sample %s", task, sample.id, exc_info=error)
            self._broken.add(True, sample.id)
            self._fault = _describe(error)
        else:
            self._broken.add(False, sample.id)

    def note(self, tasks: Mapping[str, dict[str, Any]], run: RunFacts) -> list[dict[str, Any]]:
        """Put each task's findings into its entry of ``summary.json``; return those of the run."""
        found, of_run = self.find({name: task["metrics"] for name, task in tasks.items()}, run)
        for name, findings in found.items():
            tasks[name]["health"] = findings
        return of_run

    def find(
        self, metrics: Mapping[str, Metrics], run: RunFacts
    ) -> tuple[dict[str, list[dict[str, Any]]], list[dict[str, Any]]]:
        """Return the findings of each task, the gravest first, and those of the run.

        Args:
            metrics: each task's metrics as in ``summary.json``.
            run: what is known beside the samples.
        """
        tests: Counter[str] = Counter()
        for checks in self._checks.values():
            for check in checks:
                tests.update(check.tests)
        found = {
            name: _sort(self._find_in(name, metrics.get(name, {}), tests)) for name in self._checks
        }
        return found, [f.to_plain() for f in self._find_of_run(run)]

    def _find_of_run(self, run: RunFacts) -> Iterator[Finding]:
        yield from self._addressing.find(run)
        if self._fault:
            where = f"on {self._broken} samples" if self._broken.count else "at the end"
            yield self._broken.finding(
                BROKEN,
                "warning",
                f"the checks broke {where} ({self._fault})",
                "this is a fault of llmeval: please report it; the scores are not concerned",
            )

    def _find_in(self, name: str, metrics: Metrics, tests: Counter[str]) -> Iterator[Finding]:
        for check in self._checks[name]:
            try:
                found = list(check.find(metrics))
            except Exception as error:  # as above: no check costs a run its record
                log.debug("%s, %s", name, type(check).__name__, exc_info=error)
                self._fault = _describe(error)
                continue
            for finding in found:
                # Bonferroni's correction: all tests of a check in this run are one family.
                if finding.p * tests[finding.check] <= TESTED:
                    yield finding


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _make_checks(facts: TaskFacts, informed: bool) -> list[Check]:
    data: list[Check] = [Errored(), NotScored(), Duplicates(), Leaked(facts)]
    if informed:
        return data
    return [
        BelowChance(facts),
        OneFavoured(),
        Broken(),
        Unread(),
        Identical(),
        Truncated(),
        Spread(),
        *data,
    ]


_EXPLAINS = {
    FAVOURED: SAME,
    **dict.fromkeys((UNREAD, EMPTY, CUT, WITHHELD), NOT_SCORED),
}
"""A cause, and what is then the same thing seen twice."""


def _sort(findings: Iterator[Finding]) -> list[dict[str, Any]]:
    found = sorted(findings, key=lambda finding: finding.severity != "error")
    return [finding.to_plain() for finding in found if not _is_told(finding, found)]


def _is_told(finding: Finding, found: Sequence[Finding]) -> bool:
    """Whether another finding is its cause; what has no score may be more than that explains."""
    causes = [one for one in found if _EXPLAINS.get(one.check) == finding.check]
    if finding.check == NOT_SCORED:
        return sum(one.count for one in causes) >= finding.count
    return bool(causes)


def read_facts(tasks: Sequence[Task]) -> list[TaskFacts]:
    """Return what the checks know of tasks that are about to run."""
    return [
        TaskFacts(
            name=task.name,
            num_fewshot=task.num_fewshot,
            form=getattr(task, "form", None),
            chance={name: metric.chance for name, metric in task.metrics.items()},
        )
        for task in tasks
    ]
