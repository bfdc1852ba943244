"""What stands below a run's table: what was not scored, what it took, and how fast it went."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llmeval.cli.columns import wrap
from llmeval.cli.findings import has_finding
from llmeval.cli.streams import one_line
from llmeval.cli.training import describe_training
from llmeval.reports.formats import format_seconds, format_usd

FORM_MARK = "*"
_TASKS_SHOWN = 8
_REASONS_SHOWN = 3
_LONGEST = 200  # characters of a line
_LABEL = 8


def list_not_scored(summary: Mapping[str, Any]) -> list[str]:
    """Return a line for each task that has samples without a score: how many, and why."""
    lines = []
    for name, task in summary["tasks"].items():
        worst = max(task["metrics"].values(), key=lambda m: task["n"] - m["n"], default=None)
        if worst is None or not worst.get("not_scored"):
            continue
        lost = sum(worst["not_scored"].values())
        why = _list_reasons(worst["not_scored"])
        shown = one_line(f"not scored: {name}: {lost} of {task['n']}: {why}")
        lines.append(shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}...")
    if len(lines) > _TASKS_SHOWN:
        more = len(lines) - _TASKS_SHOWN
        lines[_TASKS_SHOWN:] = [f"not scored: samples of {more} more tasks, see summary.json"]
    return lines


def _list_reasons(reasons: Mapping[str, int]) -> str:
    """Return the most frequent reasons, each with its count where there are several."""
    if len(reasons) == 1:
        return next(iter(reasons))
    often = sorted(reasons.items(), key=lambda item: -item[1])
    shown = [f"{count} {reason}" for reason, count in often[:_REASONS_SHOWN]]
    if rest := sum(count for _, count in often[_REASONS_SHOWN:]):
        shown.append(f"{rest} for other reasons")
    return "; ".join(shown)


def list_forms(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name the forms that are not the tasks' own: their numbers compare with nothing else."""
    forms = sorted({entry["form"] for entry in entries if entry.get("form")})
    return [
        f"{FORM_MARK} asked as {form}: not comparable with other ways of asking" for form in forms
    ]


def list_cut(summary: Mapping[str, Any]) -> list[str]:
    """Count what was cut, where it is too little for a finding."""
    usage = summary["usage"]
    lines = []
    count = usage.get("truncated", 0)
    if count and not has_finding(summary, "cut prompts"):
        lines.append(f"{count:,} prompts were too long for the model and were cut from the left")
    count = usage.get("cut", 0)
    if count and not has_finding(summary, "cut answers"):
        lines.append(f"{count:,} answers ended at the token limit")
    return lines


def list_usage(summary: Mapping[str, Any], figures: Mapping[str, Any], width: int) -> list[str]:
    """Say how long a run took, what was asked and what that cost, and how fast its model was.

    Args:
        figures: what the model measured.
        width: columns of the terminal.
    """
    said = [*_time_and_questions(summary), *_performance(figures)]
    return [line for label, text in said for line in wrap(text, width, f"{label:{_LABEL}}")]


def _time_and_questions(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    # A record from before there were checks says nothing of them.
    if "health" in summary and not has_finding(summary):
        yield "health", _sum_up_health(summary)
    usage, seconds = summary["usage"], summary["seconds"]
    phases = ", ".join(f"{name} {seconds[name]:.1f}" for name in ("startup", "model", "scoring"))
    yield "time", f"{format_seconds(seconds['total'])} ({phases})"
    asked = f"{usage['requests']:,} questions"
    if usage["cached"]:
        asked += f", {usage['cached']:,} of them repeated or from the journal"
    if tokens := usage["prompt_tokens"] + usage["completion_tokens"]:
        asked += f"; {tokens:,} tokens, {usage['completion_tokens']:,} of them generated"
    yield "asked", asked
    if cost := _cost(summary):
        yield "cost", cost


def _sum_up_health(summary: Mapping[str, Any]) -> str:
    """Say that nothing was found, and in how much where that is not all."""
    tasks = summary["tasks"].values()
    done = sum(task["n"] for task in tasks)
    if not done:
        return "nothing could be checked: no sample is done"
    if not any(metric["n"] for task in tasks for metric in task["metrics"].values()):
        return "nothing could be checked: no sample was scored"
    if summary["status"] == "interrupted":
        return f"nothing found in the {done:,} samples that are done"
    return "nothing found"


def _cost(summary: Mapping[str, Any]) -> str:
    """Return what the run cost, and what its answers would cost anew where that is more."""
    usage = summary["usage"]
    priced = [task.get("usage") or {} for task in summary["tasks"].values()]
    usds = [usd for task in priced if (usd := task.get("usd")) is not None]
    paid, worth = usage.get("usd"), sum(usds)
    if paid is None and not usds:
        return ""
    parts = [format_usd(paid or 0.0)]
    if worth > 1.001 * (paid or 0.0):
        parts.append(f"{format_usd(worth)} without the journal and repeated questions")
    if cached := usage.get("cached_tokens", 0):
        parts.append(f"{cached:,} prompt tokens from the provider's cache")
    if thought := usage.get("reasoning_tokens", 0):
        parts.append(f"{thought:,} tokens of thoughts")
    return ", ".join(parts)


def _performance(figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say how fast the model computed, and why it did not pack; nothing where it does not tell."""
    computed, distinct = figures.get("computed_tokens"), figures.get("distinct_tokens")
    if computed:
        floor = f" ({computed / distinct:.2f} x distinct)" if distinct else ""
        parts = [f"computed {computed:,} tokens{floor}"]
        if rate := figures.get("tokens_per_second"):
            parts.append(f"{rate:,.0f} tokens/s")
        share = figures.get("matmul_share")
        if share and share <= 1:  # more: the machine was busy when its rate was measured
            parts.append(f"{share:.0%} of this machine's matrix rate")
        yield "speed", ", ".join(parts)
    if (traffic := figures.get("traffic")) and traffic["calls"]:
        yield "traffic", _traffic(traffic)
    if fallback := figures.get("fallback"):
        yield "note", f"scored in plain batches: {fallback}"
    if learned := describe_training(figures.get("training") or {}):
        yield "learned", learned


def _traffic(traffic: Mapping[str, Any]) -> str:
    """Say what went over the wire: what was tried again, and why mostly."""
    line = f"{traffic['calls']:,} calls, {traffic['most_in_flight']} at once at most"
    retries = traffic["retries"]
    if again := sum(retries.values()):
        reason = max(retries, key=retries.get)
        line += f"; {again:,} tried again, mostly ({retries[reason]:,}): {one_line(reason)}"
    return line
