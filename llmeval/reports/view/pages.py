"""The pages of a run and of two runs: what stands in them, and the data that they carry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llmeval.core import UsageError
from llmeval.reports import page
from llmeval.reports.view.calibration import calibrate
from llmeval.reports.view.chunks import dump, embed_json, pack, pack_in_chunks
from llmeval.reports.view.content import (
    RESULTS_HEAD,
    describe_run,
    label_runs,
    list_findings,
    list_notes,
    list_results,
)
from llmeval.reports.view.items import Items
from llmeval.reports.view.pair import PAIR_HEAD, list_changes
from llmeval.reports.view.panels import (
    CALIBRATION_HEAD,
    list_calibrations,
    list_parts,
    slice_head,
)
from llmeval.reports.view.slices import MOST_PANELS, Panel, cut_tasks
from llmeval.runs import Run

LARGE_PAGE = 150_000_000  # bytes: a browser takes seconds to open it
_MOST_TEXT = 4_000_000_000  # bytes of samples: no browser opens the page

_SHELL = Path(page.__file__).parent
_SCRIPT = _SHELL / "view" / "browser.js"
_STYLE = _SHELL / "view.css"


def write_page(runs: Sequence[Run], *, across_forms: bool = False) -> Iterator[str]:
    """Yield the text of a page that holds everything of one run, or of two side by side.

    Raises:
        UsageError: a record cannot be read, or its samples are too many for one page.
    """
    items = Items(runs)
    if items.size > _MOST_TEXT:
        raise UsageError(
            f"{items.size / 1e9:.1f} GB of samples are too many for one page",
            where=", ".join(run.id for run in runs),
            mend="llmeval view --serve shows them",
        )
    # The small parts come first: a page shows its head before its last chunk is read.
    chunks = list(pack_in_chunks(items.read()))
    meta = describe_items(items) | {"chunks": [count for count, _ in chunks], "api": ""}
    html = render(runs, meta, index=pack(dump(list_columns(items))), across_forms=across_forms)
    head, end = html.rsplit("</body>", 1)
    yield head
    for i, (_, packed) in enumerate(chunks):
        yield f'<script type="application/octet-stream" id="chunk-{i}">{packed}</script>\n'
    yield f"</body>{end}"


def render(
    runs: Sequence[Run], meta: dict[str, Any], *, index: str = "", across_forms: bool = False
) -> str:
    """Return the page of one run or two; where ``index`` is empty, it asks ``meta["api"]``."""
    from markupsafe import Markup

    about = [describe_run(run) for run in runs]
    name = " → ".join(label_runs(runs))
    shared: dict[str, Any] = {
        "title": f"{name} · llmeval",
        "scripts": (_SCRIPT,),
        "styles": (_STYLE,),
        "connect": "'self'" if meta["api"] else "'none'",
        "runs": about,
        "meta": Markup(embed_json(meta)),
        "index": Markup(index),
        "served": bool(meta["api"]),
    }
    if len(runs) == 2:
        changes = list_changes(runs[0], runs[1], across_forms=across_forms)
        return page.render_page("pair.html", **shared, head=PAIR_HEAD, changes=changes)
    summary, calibrations, panels = runs[0].summary, calibrate(runs[0]), cut_tasks(runs[0])
    return page.render_page(
        "run.html",
        **shared,
        head=RESULTS_HEAD,
        rows=list_results(summary),
        findings=list_findings(summary),
        notes=list_notes(summary),
        calibrations=calibrations,
        panels=panels,
        most_panels=MOST_PANELS,
        shown_panel=_pick_panel(panels),
        slice_head=slice_head,
        list_parts=list_parts,
        calibration_head=CALIBRATION_HEAD,
        calibration_rows=list_calibrations(calibrations),
    )


def describe_items(items: Items) -> dict[str, Any]:
    """Return what the browser of samples must know before it reads any: ``Meta`` of query.js."""
    return {
        "sides": [
            {"name": name, "id": run.id}
            for name, run in zip(label_runs(items.runs), items.runs, strict=True)
        ],
        "tasks": items.tasks,
        "metrics": [{"name": m.name, "higher": m.higher_is_better} for m in items.metrics],
        "facets": [asdict(facet) for facet in items.facets],
        "total": len(items),
    }


def list_columns(items: Items) -> dict[str, Any]:
    """Return the table of items as columns: what embedded.js reads."""
    columns = items.columns()
    code = {task["name"]: i for i, task in enumerate(items.tasks)}
    return {
        "task": [code[task] for task in columns["task"]],
        "id": columns["sample_id"],
        **{name: columns[name] for name in ("snippet", "target", "alike")},
        "facets": [columns[f"facet_{j}"] for j in range(len(items.facets))],
        "sides": [
            {
                **{name: columns[f"{name}_{k}"] for name in ("status", "answer")},
                "values": [columns[f"value_{k}_{m}"] for m in range(len(items.metrics))],
            }
            for k in range(len(items.runs))
        ],
    }


def _pick_panel(panels: Sequence[Panel]) -> Panel | None:
    """Return the panel that is open at first: one in which something differs."""
    telling = (panel for panel in panels if any(part.differs for part in panel.parts))
    return next(telling, panels[0] if panels else None)
