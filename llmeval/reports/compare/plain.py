"""A comparison as plain JSON data; ``docs/comparing.md`` describes it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from llmeval.reports.compare.comparison import (
    ALPHA,
    POPULATION,
    POWER,
    Comparison,
    Contestant,
    Excluded,
    Flip,
    Flips,
    Pair,
    Row,
    Verdict,
)
from llmeval.stats import Estimate

if TYPE_CHECKING:
    from llmeval.reports.compare.slices import Cut

FORMAT = 1


def to_plain(comparison: Comparison) -> dict[str, Any]:
    """Return plain data; every number with its n, interval and status."""
    return {
        "format": FORMAT,
        "kind": "comparison",
        "alpha": ALPHA,
        "power": POWER,
        "population": POPULATION,
        "across_forms": comparison.across_forms,
        "baseline": contestant_to_plain(comparison.baseline),
        "challengers": [_pair(pair) for pair in comparison.pairs],
    }


def contestant_to_plain(one: Contestant) -> dict[str, Any]:
    """Return who is compared, and what that run took."""
    return {
        "run_id": one.run_id,
        "path": one.path,
        "label": one.label,
        "model": {"name": one.model, "fingerprint": one.fingerprint},
        "status": one.status,
        "usage": dict(one.usage),
        "seconds": dict(one.seconds),
    }


def _pair(pair: Pair) -> dict[str, Any]:
    verdicts: tuple[Verdict, ...] = ("better", "worse", "no difference seen", "not estimable")
    return {
        **contestant_to_plain(pair.challenger),
        "verdicts": {verdict: pair.count(verdict) for verdict in verdicts},
        "families": {
            "headline": pair.family_size("headline"),
            "subtasks": pair.family_size("subtasks"),
        },
        "forms": [
            {
                "aspect": form.aspect,
                "baseline": form.baseline,
                "challenger": form.challenger,
                "tasks": list(form.tasks),
            }
            for form in pair.forms
        ],
        "only_baseline": list(pair.only_baseline),
        "only_challenger": list(pair.only_challenger),
        "notes": list(pair.notes),
        "rows": [_row(row) for row in pair.rows],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "metric": row.metric,
        "is_group": row.is_group,
        "parent": row.parent,
        "depth": row.depth,
        "higher_is_better": row.higher_is_better,
        "aggregation": row.aggregation,
        "n": row.n,
        "common": row.common,
        "across_forms": row.across,
        "baseline": estimate_to_plain(row.baseline),
        "challenger": estimate_to_plain(row.challenger),
        "difference": estimate_to_plain(row.difference),
        "test": {
            "name": row.test.name,
            "p": _number(row.test.p),
            "p_holm": _number(row.test.p_holm),
            "family": row.test.family,
        },
        "mde": _number(row.mde),
        "needed_n": row.needed_n,
        "verdict": row.verdict,
        "why": row.why,
        "flips": None if row.flips is None else _flips(row.flips),
        "excluded": [_excluded(found) for found in row.excluded],
    }


def estimate_to_plain(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate as a run's summary has it."""
    return {
        "value": _number(estimate.value),
        "stderr": _number(estimate.stderr),
        "ci95": None if estimate.ci95 is None else [_number(bound) for bound in estimate.ci95],
        "n": estimate.n,
        "method": estimate.method,
        "clusters": estimate.clusters,
        "status": estimate.status,
    }


def _number(value: float | None) -> float | None:
    """JSON has no infinity and no NaN."""
    return value if value is not None and math.isfinite(value) else None


def cut_to_plain(cut: Cut) -> dict[str, Any]:
    """Return two runs' slices by one key: a row each, named after the key's value."""
    return {
        "task": cut.task,
        "metric": cut.metric,
        "key": cut.key,
        "rows": [_row(row) for row in cut.rows],
        "excluded": [_excluded(found) for found in cut.excluded],
    }


def _flips(flips: Flips) -> dict[str, Any]:
    return {
        "graded": flips.graded,
        "lost": {"count": flips.lost, "sample_ids": list(flips.lost_ids)},
        "gained": {"count": flips.gained, "sample_ids": list(flips.gained_ids)},
        "examples": [_flip(flip) for flip in flips.examples],
    }


def _flip(flip: Flip) -> dict[str, Any]:
    return {
        "direction": flip.direction,
        "task": flip.task,
        "sample_id": flip.sample_id,
        "prompt": flip.prompt,
        "target": flip.target,
        **{
            side: {
                "score": flip.scores[i],
                "extracted": flip.extracted[i],
                "answer": flip.answers[i],
            }
            for i, side in enumerate(("baseline", "challenger"))
        },
    }


def _excluded(found: Excluded) -> dict[str, Any]:
    return {
        "side": found.side,
        "reason": found.reason,
        "count": found.count,
        "sample_ids": list(found.sample_ids),
    }
