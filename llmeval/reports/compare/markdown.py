"""A comparison in GitHub's Markdown, ready for a pull request's comment.

What models and data say stands in code spans: it is no markup, links nowhere and mentions nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from llmeval.core.text import one_line
from llmeval.reports.compare.comparison import Comparison, Flip, Pair, Row
from llmeval.reports.compare.words import (
    COST_HEAD,
    COST_NOTE,
    FORM_MARK,
    cost_rows,
    fold,
    list_excluded,
    list_fine_print,
    list_notes,
    say_prompt,
    sum_up,
    tell_answer,
    tell_counts,
    tell_flip,
    tell_forms,
)
from llmeval.reports.formats import (
    code_span,
    escape_markdown,
    format_difference,
    format_interval,
    format_pvalue,
    format_value,
)
from llmeval.reports.formats import (
    to_markdown as table,
)

_SNIPPET = 200  # letters of a prompt or an answer
_EXAMPLES = 2  # of each headline, in each direction
_MOST = 20  # of a pair: a comment must stay readable, and below GitHub's 65,536 letters
_EXCLUDED = 20


def to_markdown(comparison: Comparison) -> str:
    """Return the report as Markdown text."""
    lines: list[str] = []
    for pair in comparison.pairs:
        lines += _pair(comparison, pair)
    labels = [one.label for one in comparison.contestants]
    lines += ["", "<details><summary>What the runs took</summary>", ""]
    lines += [table(COST_HEAD, cost_rows(comparison, labels)), "", COST_NOTE, "", "</details>"]
    for one in comparison.contestants:
        status = "" if one.status == "complete" else f" ({one.status})"
        lines.append(f"- {escape_markdown(one.label)}: run {code_span(one.run_id)}{status}")
    return "\n".join(lines)


def _pair(comparison: Comparison, pair: Pair) -> Iterator[str]:
    labels = comparison.baseline.label, pair.challenger.label
    yield f"### {escape_markdown(sum_up(pair, labels[1], labels[0]))}"
    yield ""
    rows, folded = fold(pair)
    yield tabulate_rows(rows, labels)
    yield ""
    left_out = [f"{folded} subtasks without a finding are left out."] if folded else []
    notes = [
        *left_out,
        *tell_forms(pair),
        *(f"Not compared: {told}" for told in _excluded(pair, labels)),
    ]
    for note in [*notes, *list_notes(pair, labels)]:
        yield f"- {escape_markdown(note)}"
    yield from _flips(pair, labels)
    yield ""
    yield f"<sub>{escape_markdown(' '.join(list_fine_print(pair)))}</sub>"
    yield ""


def tabulate_rows(rows: Sequence[Row], labels: tuple[str, str], what: str = "task") -> str:
    """Return rows as a Markdown table.

    Args:
        labels: what the two runs are called.
        what: what the rows are named after.
    """
    results = ("difference", "p (Holm)", "verdict", "lost, gained", "MDE")
    head = (what, "metric", "n", *labels, *results)
    return _emphasise(table(head, [_cells(row) for row in rows]), rows)


def _excluded(pair: Pair, labels: tuple[str, str]) -> list[str]:
    told = list(list_excluded(pair, labels))
    if len(told) > _EXCLUDED:
        told[_EXCLUDED:] = [f"items of {len(told) - _EXCLUDED} more tasks."]
    return told


def _cells(row: Row) -> list[str]:
    indent = "\u2003" * row.depth
    mark = f" {FORM_MARK}" if row.across else ""
    sides = [
        f"{format_value(side.value)} ({format_interval(side.ci95)})"
        for side in (row.baseline, row.challenger)
    ]
    difference = row.difference
    flips = row.flips
    return [
        f"{indent}{row.name}{mark}",
        f"{row.metric} {'↑' if row.higher_is_better else '↓'}",
        f"{row.n:,}",
        *sides,
        f"{format_difference(difference.value)} ({format_interval(difference.ci95, signed=True)})",
        "none" if row.test.p_holm is None else format_pvalue(row.test.p_holm),
        row.verdict,
        "" if flips is None else f"{flips.lost:,}, {flips.gained:,}",
        "unknown" if row.mde is None else format_value(row.mde),
    ]


def _emphasise(text: str, rows: Sequence[Row]) -> str:
    """Set the verdict that a reader must not miss in bold; a name cannot pass for it."""
    head, rule, *lines = text.split("\n")
    for place, row in enumerate(rows):
        if row.verdict == "worse":  # what stands behind it are numbers
            lines[place] = "| **worse** |".join(lines[place].rsplit("| worse |", 1))
    return "\n".join([head, rule, *lines])


def _flips(pair: Pair, labels: tuple[str, str]) -> Iterator[str]:
    left = _MOST
    for row in pair.rows:
        chosen = _choose(row)[:left]
        left -= len(chosen)
        if not chosen:
            continue
        title = escape(one_line(f"{row.name} {row.metric}: {tell_counts(row)}"))  # no Markdown here
        yield ""
        yield f"<details><summary>{title}</summary>"
        yield ""
        for flip in chosen:
            yield f"- {code_span(tell_flip(flip, row))}"
            yield from (f"  - {told}" for told in _tell(flip, labels))
        yield ""
        yield "</details>"


def _choose(row: Row) -> list[Flip]:
    flips: Sequence[Flip] = () if row.flips is None else row.flips.examples
    return [
        flip
        for direction in ("lost", "gained")
        for flip in [flip for flip in flips if flip.direction == direction][:_EXAMPLES]
    ]


def _tell(flip: Flip, labels: tuple[str, str]) -> Iterator[str]:
    yield f"asked: {code_span(_end(say_prompt(flip)))}"
    if flip.target is not None:
        yield f"target: {code_span(_start(flip.target))}"
    for side, label in enumerate(labels):
        extracted, answer = tell_answer(flip, side)
        said = [code_span(_start(extracted))] if extracted is not None else []
        said += (
            [f"in {code_span(_end(answer))}" if said else code_span(_end(answer))]
            if (answer is not None)
            else []
        )
        yield f"{escape_markdown(label)}: {' '.join(said) or 'no answer'}"


def _start(text: str) -> str:
    return text if len(text) <= _SNIPPET else f"{text[:_SNIPPET]}…"


def _end(text: str) -> str:
    return text if len(text) <= _SNIPPET else f"…{text[-_SNIPPET:]}"
