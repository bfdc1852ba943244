"""How progress, warnings and tables look: rich on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

from llmeval.engine.progress import Meter

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.table import Table

_PLAIN_SECONDS = 10.0


def set_up_logging(quiet: bool = False) -> None:
    """Show our warnings on stderr as one line each; hush the libraries' own."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    root = logging.getLogger("llmeval")
    root.handlers[:] = [handler]
    root.setLevel(logging.ERROR if quiet else logging.WARNING)
    root.propagate = False
    for name in ("lm_eval", "lm-eval", "datasets", "evaluate", "transformers", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)


class _OneLine(logging.Formatter):
    """A traceback belongs in a bug report, not between a run's lines."""

    def format(self, record: logging.LogRecord) -> str:
        return f"llmeval: {record.levelname.lower()}: {record.getMessage()}"


def make_progress(stream: IO[str] | None = None) -> RichBar | PlainLines:
    """Return what shows a run's progress on ``stream`` (stderr)."""
    stream = stream or sys.stderr
    return RichBar() if stream.isatty() else PlainLines(stream)


class RichBar:
    """A bar with rate and time left, on a terminal."""

    def __init__(self) -> None:
        self._bar: RichProgress | None = None
        self._meter = Meter(0)

    def start(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._meter = Meter(total)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._id = self._bar.add_task("evaluating", total=total, speed="")
        self._bar.start()

    def advance(self, task: str) -> None:
        self._meter.advance()
        if self._bar is not None:
            speed = _speed(self._meter)
            self._bar.update(self._id, advance=1, description=task, speed=speed)

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()


class PlainLines:
    """A line every ten seconds, for logs and pipes."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._meter = Meter(0)
        self._said = time.monotonic()

    def start(self, total: int) -> None:
        self._meter = Meter(total)
        self._said = time.monotonic()

    def advance(self, task: str) -> None:
        self._meter.advance()
        if time.monotonic() - self._said >= _PLAIN_SECONDS:
            self._said = time.monotonic()
            done, total = self._meter.done, self._meter.total
            line = f"llmeval: {done}/{total} samples, {_speed(self._meter)}, at {task}"
            print(line, file=self._stream, flush=True)

    def stop(self) -> None:
        pass


def _speed(meter: Meter) -> str:
    left = meter.seconds_left
    eta = "?" if left is None else time.strftime("%H:%M:%S", time.gmtime(left))
    return f"{meter.rate:.1f}/s, {eta} left"


def results_table(summary: Mapping[str, Any]) -> Table:
    """Return the table of a run: never a number without its n, interval and coverage."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=_title(summary), title_justify="left")
    for name, justify in (
        ("task", "left"),
        ("metric", "left"),
        ("value", "right"),
        ("95% interval", "right"),
        ("n", "right"),
        ("scored", "right"),
        ("chance", "right"),
        ("shots", "right"),
    ):
        table.add_column(name, justify=justify, no_wrap=name != "task")  # type: ignore[arg-type]
    for name, group in summary["groups"].items():
        _add_rows(table, f"[bold]{name}[/bold]", group["metrics"], "")
    for name, task in summary["tasks"].items():
        _add_rows(table, name, task["metrics"], str(task["num_fewshot"]))
    return table


def _title(summary: Mapping[str, Any]) -> str:
    return f"{summary['model']['name']}  ({summary['status']})"


def _add_rows(table: Table, name: str, metrics: Mapping[str, Any], shots: str) -> None:
    for number, (key, metric) in enumerate(metrics.items()):
        arrow = "↑" if metric["higher_is_better"] else "↓"
        ci95 = metric["ci95"]
        table.add_row(
            name if number == 0 else "",
            f"{key} {arrow}",
            _number(metric["value"]),
            f"{_number(ci95[0])} … {_number(ci95[1])}" if ci95 else "unknown",
            str(metric["n"]),
            f"{metric['coverage']:.1%}",
            _number(metric["chance"]) if metric["chance"] is not None else "",
            shots if number == 0 else "",
        )


def _number(value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"
