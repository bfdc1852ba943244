"""Whether the two sides answered alike, question by question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TOLERANCE = {"float32": 1e-3}
_LOW_PRECISION = 0.5  # bf16 and fp16: sums of tokens' log-probabilities
_METRIC = 1e-3


def compare(theirs: Mapping[str, Any], ours: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """Compare answers by the digest of the question.

    Args:
        theirs, ours: results of the sides: ``answers`` (question -> ``[logprob, is_greedy]`` or
            ``{"prompt", "text"}``) and ``metrics`` (``task/metric`` -> number).
    """
    found: dict[str, Any] = {
        "questions": len(theirs["answers"]),
        "missing": len(set(theirs["answers"]) ^ set(ours["answers"])),
        "largest": 0.0,
        "flags": 0,
        "texts": [],
    }
    for key in set(theirs["answers"]) & set(ours["answers"]):
        one, other = theirs["answers"][key], ours["answers"][key]
        if isinstance(one, dict):
            if one["text"] != other["text"]:
                found["texts"].append([one["prompt"], one["text"], other["text"]])
            continue
        found["largest"] = max(found["largest"], abs(one[0] - other[0]))
        found["flags"] += bool(one[1]) != bool(other[1])
    common = set(theirs["metrics"]) & set(ours["metrics"])
    found["metrics"] = {
        name: [theirs["metrics"][name], ours["metrics"][name]]
        for name in sorted(common)
        if abs(theirs["metrics"][name] - ours["metrics"][name]) > _METRIC
    }
    found["compared_metrics"] = len(common)
    found["tolerance"] = TOLERANCE.get(dtype, _LOW_PRECISION)
    return found


def judge(found: Mapping[str, Any]) -> str:
    """Return ``yes``, with the largest difference, or what does not agree."""
    faults = []
    if found["missing"]:
        faults.append(f"{found['missing']} questions asked by one side only")
    if found["largest"] > found["tolerance"]:
        faults.append("log-probabilities")
    if found["texts"] and found.get("ties", 0) < len(found["texts"]):
        faults.append(f"{len(found['texts']) - found.get('ties', 0)} texts")
    # A tie between two choices may fall either way; beyond the tolerance nothing is a tie.
    if found["metrics"] and not found["texts"]:
        faults.append(f"metrics {found['metrics']}")
    if not found["compared_metrics"]:
        faults.append("no metric in common")
    if faults:
        return "NO: " + "; ".join(faults)
    if found.get("ties"):
        return f"yes, {found['ties']} texts part at a tie"
    flags = f", {found['flags']} greedy flags differ" if found["flags"] else ""
    return (f"yes, {found['largest']:.0e}" if found["largest"] else "yes") + flags
