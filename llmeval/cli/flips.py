"""Items that changed sides, for people at a terminal: what was asked, and what both runs said."""

from __future__ import annotations

from collections.abc import Iterator

from llmeval.cli.page import Page
from llmeval.cli.streams import BOLD, DIM, paint
from llmeval.reports.compare import Pair, Row
from llmeval.reports.compare.comparison import Flip
from llmeval.reports.compare.words import say_prompt, tell_answer, tell_counts, tell_flip

_MOST = 12  # of one pair
_LABEL = 8
_INDENT = 4


def render_flips(pair: Pair, letter: str, page: Page, examples: int) -> Iterator[str]:
    """Yield the lines of some flips.

    Args:
        letter: what the challenger is called; the baseline is ``A``.
        examples: how many to tell of each headline in each direction.
    """
    told: set[tuple[str, str]] = set()
    for row in pair.rows:
        # Another metric of the same task mostly flips the same items.
        fresh = [f for f in _choose(row, examples) if (f.task, f.sample_id) not in told]
        fresh = fresh[: _MOST - len(told)]
        told |= {(flip.task, flip.sample_id) for flip in fresh}
        if fresh:
            title = f"{row.name} {row.metric}: {tell_counts(row)}, e.g."
            yield from ("", paint(page.crop(title), BOLD, page.color))
        for flip in fresh:
            yield from _tell(flip, row, letter, page)
    if len(told) >= _MOST:
        yield "more with --html FILE or --json"


def _choose(row: Row, examples: int) -> list[Flip]:
    if row.flips is None:
        return []
    flips = row.flips.examples
    return [
        flip
        for direction in ("lost", "gained")
        for flip in [flip for flip in flips if flip.direction == direction][:examples]
    ]


def _tell(flip: Flip, row: Row, letter: str, page: Page) -> Iterator[str]:
    yield "  " + page.crop(tell_flip(flip, row), 2)
    taken = _INDENT + _LABEL
    yield _line("asked", page.crop_left(say_prompt(flip), taken), page)
    if flip.target is not None:
        yield _line("target", page.crop(flip.target, taken), page)
    for side, name in enumerate(("A", letter)):
        extracted, answer = tell_answer(flip, side)
        if answer is None:
            yield _line(
                name, page.crop("no answer" if extracted is None else extracted, taken), page
            )
        elif extracted is None:
            yield _line(name, page.crop_left(answer, taken), page)
        else:  # the answer's end, where it came to what was read out of it
            read = page.crop(f"[{extracted}]", taken + page.width // 2)
            yield _line(name, f"{read} {page.crop_left(answer, taken + len(read) + 1)}", page)


def _line(label: str, text: str, page: Page) -> str:
    return " " * _INDENT + paint(label.ljust(_LABEL), DIM, page.color) + text
