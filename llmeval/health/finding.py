"""What a check says of a run: what was seen, in how many samples, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from llmeval.health.seen import Seen

Severity = Literal["warning", "error"]
"""``error``: the task's number does not mean what it says. ``warning``: read some samples first."""

EXAMPLES = 5  # sample ids of a finding: enough to see a pattern


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should know before using a number.

    Args:
        check: the name of the check, as in ``docs/health.md``.
        what: what was seen, without a full stop.
        mend: what to do, likewise.
        count, n: in how many of how many (samples, answers or prompts: ``what`` says which).
        examples: ids of some samples.
        p: chance of seeing the like where nothing is amiss; 0 where the check is no test.
    """

    check: str
    severity: Severity
    what: str
    mend: str
    count: int
    n: int
    examples: tuple[str, ...] = ()
    p: float = 0.0

    def to_plain(self) -> dict[str, Any]:
        """Return the finding as ``summary.json`` holds it."""
        return {
            "check": self.check,
            "severity": self.severity,
            "what": self.what,
            "mend": self.mend,
            "count": self.count,
            "n": self.n,
            "share": round(self.count / self.n, 6) if self.n else None,
            "examples": list(self.examples),
        }


Metrics = Mapping[str, Mapping[str, Any]]
"""A task's metrics as in ``summary.json``."""


class Check(Protocol):
    """One check of one task: fed every sample once, then asked."""

    def add(self, seen: Seen) -> None:
        """Look at a sample; nothing of it is kept but counts, and ids of a few."""
        ...

    def find(self, metrics: Metrics) -> Iterable[Finding]:
        """Return what is amiss."""
        ...

    @property
    def tests(self) -> Mapping[str, int]:
        """How many significance tests stand behind each of its checks; for their control."""
        ...


@dataclass(slots=True)
class Share:
    """How many of how many, with the ids of some."""

    count: int = 0
    n: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, hit: bool, sample_id: str) -> None:
        self.n += 1
        if hit:
            self.count += 1
            if len(self.examples) < EXAMPLES and sample_id not in self.examples[-1:]:
                self.examples.append(sample_id)

    @property
    def share(self) -> float:
        return self.count / self.n if self.n else 0.0

    def is_above(self, share: float, least: int = 1) -> bool:
        """Return whether it is more than a share, in ``least`` cases or more."""
        return self.count >= least and self.share > share

    def __str__(self) -> str:
        return f"{self.count:,} of {self.n:,}"

    def finding(self, check: str, severity: Severity, what: str, mend: str) -> Finding:
        examples = tuple(self.examples)
        return Finding(check, severity, what, mend, self.count, self.n, examples)
