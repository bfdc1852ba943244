"""What stands below a run's table: what was not scored, what it took, and how fast it went."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmeval.cli.streams import one_line

FORM_MARK = "*"
_REASONS_SHOWN = 8


def list_not_scored(summary: Mapping[str, Any]) -> list[str]:
    """Return a line for each task that has samples without a score: how many, and mostly why."""
    lines = []
    for name, task in summary["tasks"].items():
        worst = max(task["metrics"].values(), key=lambda m: task["n"] - m["n"], default=None)
        if worst is None or not worst.get("not_scored"):
            continue
        reason, count = max(worst["not_scored"].items(), key=lambda item: item[1])
        lost = sum(worst["not_scored"].values())
        mostly = reason if count == lost else f"mostly ({count}) {reason}"
        shown = one_line(f"not scored: {name}: {lost} of {task['n']}: {mostly}")
        lines.append(shown if len(shown) <= 200 else f"{shown[:197]}...")
    if len(lines) > _REASONS_SHOWN:
        more = len(lines) - _REASONS_SHOWN
        lines[_REASONS_SHOWN:] = [f"not scored: samples of {more} more tasks, see summary.json"]
    return lines


def list_forms(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name the forms that are not the tasks' own: their numbers compare with nothing else."""
    forms = sorted({entry["form"] for entry in entries if entry.get("form")})
    return [
        f"{FORM_MARK} asked as {form}: not comparable with other ways of asking" for form in forms
    ]


def list_cut(summary: Mapping[str, Any]) -> list[str]:
    usage = summary["usage"]
    lines = []
    if count := usage.get("truncated", 0):
        lines.append(f"{count:,} prompts were too long for the model and were cut from the left")
    if count := usage.get("cut", 0):
        lines.append(f"{count:,} answers ended at the token limit")
    return lines


def list_usage(summary: Mapping[str, Any]) -> list[str]:
    usage, seconds = summary["usage"], summary["seconds"]
    asked = f"{usage['requests']:,} questions"
    if usage["cached"]:
        asked += f", {usage['cached']:,} of them repeated or from the journal"
    phases = ", ".join(f"{name} {seconds[name]:.1f}" for name in ("startup", "model", "scoring"))
    took = f"{seconds['total']:.1f} s ({phases})"
    if tokens := usage["prompt_tokens"] + usage["completion_tokens"]:
        took = f"{tokens:,} tokens, {usage['completion_tokens']:,} of them generated; {took}"
    lines = [asked, took]
    if usage.get("usd") is not None:
        cached, thought = usage.get("cached_tokens", 0), usage.get("reasoning_tokens", 0)
        parts = [f"${usage['usd']:.4f}"]
        parts += [f"{cached:,} prompt tokens from the provider's cache"] if cached else []
        parts += [f"{thought:,} tokens of thoughts"] if thought else []
        lines.append(", ".join(parts))
    return lines


def list_performance(figures: Mapping[str, Any]) -> list[str]:
    """Say how fast the model computed, and why it did not pack; nothing where it does not tell."""
    computed, distinct = figures.get("computed_tokens"), figures.get("distinct_tokens")
    parts = []
    if computed:
        floor = f" ({computed / distinct:.2f} x distinct)" if distinct else ""
        parts.append(f"computed {computed:,} tokens{floor}")
        if rate := figures.get("tokens_per_second"):
            parts.append(f"{rate:,.0f} tokens/s")
        if share := figures.get("matmul_share"):
            parts.append(f"{share:.0%} of this machine's matrix rate")
    lines = [", ".join(parts)] if parts else []
    if (traffic := figures.get("traffic")) and traffic["calls"]:
        lines.append(_traffic(traffic))
    if fallback := figures.get("fallback"):
        lines.append(one_line(f"scored in plain batches: {fallback}"))
    return lines


def _traffic(traffic: Mapping[str, Any]) -> str:
    """Say what went over the wire: what was tried again, and why mostly."""
    line = f"{traffic['calls']:,} calls, {traffic['most_in_flight']} at once at most"
    retries = traffic["retries"]
    if again := sum(retries.values()):
        reason = max(retries, key=retries.get)
        line += f"; {again:,} tried again, mostly ({retries[reason]:,}): {one_line(reason)}"
    return line
