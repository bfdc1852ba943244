"""What else is not as it was when the baseline was run: possible reasons that no item shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmeval.runs import Run
from llmeval.runs.difference import ABSENT, MODEL, PACKAGES, diff_manifests

_UNTOLD = ("fingerprint",)  # a digest of what is told beside it
_TEMPLATE_FILES = ("tokenizer", "chat_template", "special_tokens")
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that changed.

    Args:
        kind: ``model at the provider``, ``tokenizer or chat template``, ``model``, ``packages``.
        before, after: as texts.
    """

    kind: str
    name: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.name} {self.before} -> {self.after}"


def find_changes(baseline: Run, tonight: Run) -> list[Change]:
    """Return what differs between two runs beside their answers, what matters most first."""
    changes = list(_answered_by(baseline, tonight))
    names = [str(run.manifest.get("model", {}).get("name")) for run in (baseline, tonight)]
    if names[0] != names[1]:  # in which case everything about them may differ
        return [Change("another model", "asked was", *names)]
    for one in diff_manifests(baseline.manifest, tonight.manifest):
        last = one.name.rpartition(".")[2]
        if one.group not in (MODEL, PACKAGES) or last in _UNTOLD:
            continue
        kind = "packages" if one.group == PACKAGES else "model"
        if any(part in one.name for part in _TEMPLATE_FILES):
            kind = "tokenizer or chat template"
        changes.append(Change(kind, one.name, _show(one.before), _show(one.after)))
    rank = {"model at the provider": 0, "tokenizer or chat template": 1, "model": 2}
    return sorted(changes, key=lambda change: rank.get(change.kind, 3))[:_SHOWN]


def _answered_by(baseline: Run, tonight: Run) -> list[Change]:
    """Compare which models the server said that it was; which of them answered most is told."""
    before, after = (_served(run) for run in (baseline, tonight))
    if not before or not after or set(before) == set(after):
        return []
    return [Change("model at the provider", "answers are by", _names(before), _names(after))]


def _served(run: Run) -> Mapping[str, int]:
    performance = run.manifest.get("performance")
    answered = performance.get("answered_by") if isinstance(performance, Mapping) else None
    return answered if isinstance(answered, Mapping) else {}


def _names(counts: Mapping[str, int]) -> str:
    return ", ".join(sorted(counts, key=lambda name: -counts[name]))


def _show(value: Any) -> str:
    text = "absent" if value is ABSENT else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
