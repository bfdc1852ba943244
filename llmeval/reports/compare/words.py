"""What every output of a comparison says in the same words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmeval.reports.compare.comparison import (
    POPULATION,
    Comparison,
    Excluded,
    Flip,
    Pair,
    Row,
    Verdict,
)
from llmeval.reports.compare.flips import end_of_prompt
from llmeval.reports.compare.forms import tell_difference
from llmeval.reports.formats import format_seconds, format_usd, format_value, some_of

FORM_MARK = "*"
_LETTERS = 600  # of a prompt's end

FOLDED_FROM = 9
"""Subtasks under one group from which on only those that differ are shown."""

MDE = (
    "MDE: the true difference that this n and spread find with 80% power (5%, two-sided, one test)."
)


TESTS = "Tests: McNemar's exact one, or random exchange of signs or sides, whole clusters at once."


def sum_up(pair: Pair, label: str, other: str) -> str:
    """Return the verdicts on the headlines in a sentence."""
    total = pair.family_size("headline")
    order: tuple[Verdict, ...] = ("worse", "better", "no difference seen", "not estimable")
    seen = [f"{verdict} in {pair.count(verdict)}" for verdict in order if pair.count(verdict)]
    names = {row.name for row in pair.rows if row.is_headline}
    what = ("task" if total == 1 else "tasks") if len(names) == total else "comparisons"
    return f"{label} against {other}: {', '.join(seen)} of {total} {what}"


def tell_family(pair: Pair) -> str:
    """Say which p-values were adjusted together."""
    parts = [f"p is adjusted by Holm over {_tests(pair.family_size('headline'))} of this pair"]
    if inner := pair.family_size("subtasks"):
        parts.append(f"subtasks are a family of their own ({_tests(inner)})")
    return "; ".join(parts) + "."


def _tests(count: int) -> str:
    return "the one test" if count == 1 else f"the {count} tests"


def tell_forms(pair: Pair) -> list[str]:
    """Say in which forms the marked rows were asked."""
    if not any(row.across for row in pair.rows):
        return []
    told = "; ".join(tell_difference(form) for form in pair.forms)
    how = told or "in other words"
    return [
        f"{FORM_MARK} asked in different forms: {how}. Such a difference is one of prompts and"
        " models together."
    ]


def list_excluded(pair: Pair, labels: tuple[str, str]) -> Iterator[str]:
    """Yield a sentence for each task with items that are not compared."""
    told = dict.fromkeys(
        (row.name, row.excluded)
        for row in pair.rows
        if row.excluded and (row.is_headline or not row.is_group)
    )
    folded = {row.name for row in pair.rows if row.is_group and row.is_headline}
    inner = {row.name for row in pair.rows if row.parent in folded}
    for name, excluded in told:
        if name not in inner:
            yield f"{name}: {'; '.join(_tell_excluded(excluded, labels))}"


def _tell_excluded(excluded: Sequence[Excluded], labels: tuple[str, str]) -> Iterator[str]:
    changed: dict[str, set[str]] = {}
    for found in excluded:
        side = labels[0] if found.side == "baseline" else labels[1]
        if found.reason in ("changed data", "changed prompt"):  # is so on both sides
            changed.setdefault(found.reason, set()).update(found.sample_ids)
            continue
        where = {"missing": "not in", "not scored": "not scored in"}[found.reason]
        yield f"{found.count:,} {where} {side} ({some_of(found.sample_ids, 3)})"
    for reason, names in changed.items():
        yield f"{len(names):,} with {reason} ({some_of(sorted(names), 3)})"


def list_notes(pair: Pair, labels: tuple[str, str]) -> list[str]:
    """Return what else a reader must know, a sentence each."""
    lines = list(pair.notes)
    for label, tasks in zip(labels, (pair.only_baseline, pair.only_challenger), strict=True):
        if tasks:
            lines.append(f"Only in {label}: {some_of(tasks)}.")
    lines += [f"{row.name} {row.metric}: {row.why}." for row in pair.rows if _needs_words(row)]
    return lines


def _needs_words(row: Row) -> bool:
    return row.verdict == "not estimable" and row.is_headline


def fold(pair: Pair) -> tuple[list[Row], int]:
    """Return the rows to show, and how many subtasks without a finding are left out."""
    leaves = [row.parent for row in pair.rows if row.parent and not row.is_group]
    large = {parent for parent in leaves if leaves.count(parent) >= FOLDED_FROM}
    shown = [
        row
        for row in pair.rows
        if row.is_group or row.parent not in large or row.verdict in ("better", "worse")
    ]
    return shown, len(pair.rows) - len(shown)


def tell_answer(flip: Flip, side: int) -> tuple[str | None, str | None]:
    """Return what was read out of an answer, and the answer where it says more."""
    extracted, answer = flip.extracted[side], flip.answers[side]
    if answer is not None and extracted is not None and answer.strip() == extracted.strip():
        return extracted, None
    return extracted, answer


def tell_flip(flip: Flip, row: Row) -> str:
    """Return which item of a row went which way; of a graded one, how far."""
    name = f"{flip.task}/{flip.sample_id}" if row.is_group else flip.sample_id
    if row.flips is None or not row.flips.graded:
        return f"{flip.direction}  {name}"
    word = {"lost": "worse", "gained": "better"}[flip.direction]
    return f"{word}  {name}  {format_value(flip.scores[0])} -> {format_value(flip.scores[1])}"


def tell_counts(row: Row) -> str:
    """Return how many of a row's items went which way."""
    if row.flips is None:
        return ""
    words = ("got worse", "got better") if row.flips.graded else ("lost", "gained")
    return f"{row.flips.lost:,} {words[0]}, {row.flips.gained:,} {words[1]} of {row.n:,}"


def say_prompt(flip: Flip) -> str:
    """Return the end of a flip's prompt, on which its question usually stands."""
    return end_of_prompt(flip.prompt, _LETTERS) or "nothing"


COST_HEAD = (
    *("run", "questions", "repeated", "tokens in", "tokens out"),
    *("cost", "model time", "total time"),
)
COST_NOTE = "Of the whole runs. Repeated questions were answered before and took nothing."


def cost_rows(comparison: Comparison, labels: Sequence[str]) -> list[list[str]]:
    """Return what each run took, under `COST_HEAD`."""
    return [
        [label, *_costs(one.usage, one.seconds)]
        for label, one in zip(labels, comparison.contestants, strict=True)
    ]


def _costs(usage: Mapping[str, Any], seconds: Mapping[str, Any]) -> list[str]:
    counts = ("requests", "cached", "prompt_tokens", "completion_tokens")
    known = [usage.get(name) for name in counts]
    return [
        *("unknown" if count is None else f"{count:,}" for count in known),
        format_usd(usage.get("usd")),
        format_seconds(seconds.get("model")),
        format_seconds(seconds.get("total")),
    ]


def list_fine_print(pair: Pair) -> list[str]:
    """Return what the numbers mean."""
    return [tell_family(pair), TESTS, MDE, POPULATION]
