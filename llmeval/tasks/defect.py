"""A row that does not fit its task: one unscored sample, not the end of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Defect:
    """In place of a sample's payload; evaluating it raises ``Unscorable`` with the reason."""

    reason: str
