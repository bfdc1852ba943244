"""What a run would take, for people."""

from __future__ import annotations

from llmeval.cli.streams import one_line
from llmeval.forecast import Forecast, TaskForecast

_HEAD = ("task", "samples", "questions", "journaled", "prompt tokens", "new tokens at most", "USD")


def print_forecast(found: Forecast) -> None:
    """Print a line a task and the sums."""
    total = found.total()
    rows = [_cells(task) for task in found.tasks]
    if len(rows) > 1:
        rows.append(_cells(total))
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
    print(f"{one_line(found.model)}  (dry run: nothing is asked)\n")
    for row in (_HEAD, *rows):
        name, *numbers = row
        cells = [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
        print("  ".join([name.ljust(widths[0]), *cells]).rstrip())
    print("\nprompt tokens: an estimate, four bytes each; new tokens, and USD by both: at most")
    for form in sorted({task.form for task in found.tasks if task.form}):
        print(f"choices are asked for as {form}")
    if total.usd is None:
        print("no price is known: set price_input and price_output, or add it to providers.yaml")


def _cells(task: TaskForecast) -> tuple[str, ...]:
    counts = (task.samples, task.questions, task.journaled)
    tokens = (task.prompt_tokens, task.completion_tokens)
    usd = "unknown" if task.usd is None else f"{task.usd:.4f}"
    return (one_line(task.name), *(f"{n:,}" for n in (*counts, *tokens)), usd)
