"""The first page of the server: the runs that it shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from llmeval.core import UsageError
from llmeval.home import find_workspace
from llmeval.reports import page
from llmeval.reports.formats import format_interval, format_value
from llmeval.reports.view.content import Cell, number_cell
from llmeval.runs import Run
from llmeval.runs.catalog import CatalogRow, list_runs
from llmeval.runs.tags import read_tags

_TASKS_SHOWN = 3
_SHELL = Path(page.__file__).parent
_STYLE = _SHELL / "view.css"
_SCRIPT = _SHELL / "view" / "catalog.js"

_HEAD: list[Cell] = [
    "run",
    {"text": "", "sort": "none"},
    "model",
    "status",
    "started (UTC)",
    "tasks",
    {"text": "result", "class": "num"},
    {"text": "samples", "class": "num"},
]
_STATUS_CLASSES = {"complete": "quiet", "invalid": "bad", "broken": "bad"}


def list_folder(folder: Path) -> list[CatalogRow]:
    """Return the records of a folder, the latest first."""
    try:
        tags = read_tags(folder)
    except UsageError:  # a listing goes on without them
        tags = {}
    return list_runs(folder, find_workspace(), tags)


def list_named(runs: Sequence[Run]) -> list[CatalogRow]:
    """Return rows for some runs, in their order."""
    rows: dict[Path, CatalogRow] = {}
    for folder in dict.fromkeys(run.path.parent for run in runs):
        rows |= {row.path.resolve(): row for row in list_folder(folder)}
    return [rows[run.path.resolve()] for run in runs]


def render_catalog(rows: Sequence[CatalogRow]) -> str:
    """Return the page that lists runs; a record that cannot be read says so in its row."""
    return page.render_page(
        "catalog.html",
        title="runs · llmeval",
        scripts=(_SCRIPT,),
        styles=(_STYLE,),
        served=True,
        head=_HEAD,
        rows=[_row(row) for row in rows],
    )


def _row(row: CatalogRow) -> list[Cell]:
    from markupsafe import Markup

    link, box = (
        Markup('<a href="/view/{}">{}</a>'),
        Markup('<input type="checkbox" class="pick" value="{}" aria-label="side by side: {}">'),
    )
    broken = row.status == "broken"
    more = len(row.shown_tasks) - _TASKS_SHOWN
    tasks = ", ".join(row.shown_tasks[:_TASKS_SHOWN]) + (f" and {more} more" if more > 0 else "")
    main = row.main
    result = ""
    if main is not None:
        result = f"{main.metric} {format_value(main.value)} ({format_interval(main.ci95)})"
    return [
        row.id if broken else link.format(quote(row.id, safe=""), row.id),
        "" if broken else box.format(row.id, row.id),
        row.problem if broken else row.model or "",
        {"text": row.status, "class": _STATUS_CLASSES.get(row.status, "warn")},
        f"{row.when:%Y-%m-%d %H:%M}",
        tasks,
        number_cell(None if main is None else main.value, result),
        number_cell(row.n, "" if row.n is None else f"{row.n:,}"),
    ]
