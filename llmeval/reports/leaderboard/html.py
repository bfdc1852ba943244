"""A leaderboard as one self-contained page: sortable tables, plots, what a reader must know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmeval.reports.formats import format_share, format_value
from llmeval.reports.leaderboard.board import Average, Board, Cell, Column, Row, Spot, Tradeoff
from llmeval.reports.leaderboard.words import (
    known_figures,
    say_average,
    say_cell,
    say_tier,
)
from llmeval.reports.page import plots, render_page

_STYLE = Path(__file__).parent.parent / "page" / "leaderboard.css"
_WIDE = 20  # from the largest figure by the smallest on, an axis is logarithmic
_BARS = 60  # rows of a plot of intervals


def to_html(board: Board) -> str:
    """Return the page."""
    folded = [column for column in board.columns if column.parent is not None]
    figures = known_figures(board.rows)
    took = [row for row in board.rows if any(column.say(row.figures) for column in figures)]
    return render_page(
        "leaderboard.html",
        title="Leaderboard",
        styles=[_STYLE],
        board=board,
        lead=_lead(board),
        head=_head(board, board.top_columns),
        rows=[_line(board, row, board.top_columns) for row in board.rows],
        folded_head=[{"text": "model"}, *(_title(column) for column in folded)],
        folded_rows=[
            [_name(row), *(_cell(board, row, column) for column in folded)]
            for row in board.rows
            if any(column.key in row.cells for column in folded)
        ],
        bars=_bars(board),
        took_head=[
            "model",
            *({"text": c.title, "title": c.about, "class": "num"} for c in figures),
        ],
        took_rows=[[_name(row), *(_figure(row, c) for c in figures)] for row in took],
        tradeoffs=[(found, _scatter(found)) for found in board.tradeoffs],
        run_rows=_list_runs(board),
        left_out_rows=[[left.name, left.reason] for left in board.left_out],
    )


def _lead(board: Board) -> str:
    models, baselines = len(board.models), sum(r.kind == "baseline" for r in board.rows)
    parts = [f"{models} {'model' if models == 1 else 'models'}"] if models else []
    parts += [f"{baselines} {'baseline' if baselines == 1 else 'baselines'}"] if baselines else []
    top = len(board.top_columns)
    parts.append(f"{top} {'column' if top == 1 else 'columns'} of results")
    return f"{', '.join(parts)}; best first by {board.sort or 'average'}"


# -- the table -------------------------------------------------------------------------------------


def _head(board: Board, columns: Sequence[Column]) -> list[Any]:
    head: list[Any] = [{"text": "model"}]
    if _is_placed(board):
        head += [{"text": "tier", "class": "num"}, {"text": "rank", "class": "num"}]
    if board.average is not None:
        head.append({"text": "average", "class": "num", "title": board.average})
    return [*head, *(_title(column) for column in columns)]


def _is_placed(board: Board) -> bool:
    return any(say_tier(board, row) != ("", "") for row in board.rows)


def _title(column: Column) -> dict[str, Any]:
    from markupsafe import Markup

    form = Markup('<span class="form">{}</span>').format(column.label) if column.label else ""
    arrow = "↑" if column.higher_is_better else "↓"
    text = Markup('{}{}<span class="under">{} {} n {:,}</span>').format(
        column.task, form, column.metric, arrow, column.n
    )
    return {"text": text, "class": "num", "title": column.no_tiers or ""}


def _line(board: Board, row: Row, columns: Sequence[Column]) -> list[Any]:
    line = [_name(row)]
    if _is_placed(board):
        tier, ranks = say_tier(board, row)
        best = ranks.partition("-")[0]
        line += [
            {"text": tier, "class": "num", "sort": tier},
            {"text": ranks, "class": "num", "sort": best},
        ]
    if board.average is not None:
        line.append(_average(row))
    return [*line, *(_cell(board, row, column) for column in columns)]


def _name(row: Row) -> dict[str, Any]:
    return {"text": row.name, "sort": row.name, "class": f"who {row.kind}", "title": row.name}


def _average(row: Row) -> dict[str, Any]:
    if row.average is None:
        lacks = f"lacks {', '.join(row.missing)}" if row.missing else ""
        return {"text": "", "sort": "", "class": f"num {row.kind}", "title": lacks}
    words = say_average(row)
    return {
        "text": _stack(words.value, words.interval, _is_top(row.average)),
        "sort": repr(row.average.value),
        "class": f"num {row.kind}",
        "title": row.average.unplaced or "",
    }


def _cell(board: Board, row: Row, column: Column) -> dict[str, Any]:
    cell = row.cells.get(column.key)
    if cell is None:
        return {"text": "", "sort": "", "class": f"num {row.kind}"}
    words = say_cell(cell, column)
    under = ", ".join(part for part in (words.interval, words.n, words.coverage) if part)
    value = cell.measured.value
    return {
        "text": _stack(words.value + words.marks, under, _is_top(cell)),
        "sort": "" if value is None else repr(value),
        "class": f"num {row.kind}",
        "title": _tell(board, cell),
    }


def _is_top(holder: Cell | Average) -> bool:
    return holder.standing is not None and holder.standing.tier == 1


def _stack(value: str, under: str, is_top: bool) -> Any:
    from markupsafe import Markup

    shown = Markup("<b>{}</b>").format(value) if is_top else value
    return Markup('{}<span class="under">{}</span>').format(shown, under) if under else shown


def _tell(board: Board, cell: Cell) -> str:
    """Return all that is known of a cell."""
    measured = cell.measured
    if cell.run is None:
        return measured.method
    parts = [f"n {measured.n:,}", f"{format_share(measured.coverage)} scored", measured.method]
    parts += [f"standard error {format_value(measured.stderr)}"] if measured.stderr else []
    parts += [f"chance {format_value(measured.chance)}"] if measured.chance is not None else []
    if cell.standing is not None:
        parts.append(f"tier {cell.standing.tier}, rank {cell.standing.ranks}")
    parts += [f"not in tiers: {cell.unplaced}"] if cell.unplaced else []
    parts += [*cell.faults, board.entries[cell.run].run_id]
    return "; ".join(parts)


def _bars(board: Board) -> list[plots.ForestRow]:
    """Return the intervals of what the board is sorted by, of models and baselines."""
    bars = []
    for row in board.rows:
        if board.sort is None:
            value, ci95 = (row.average.value, row.average.ci95) if row.average else (None, None)
        else:
            cell = row.cells.get(board.sort)
            value, ci95 = (cell.measured.value, cell.measured.ci95) if cell else (None, None)
        if value is not None:
            low, high = ci95 or (None, None)
            tier = say_tier(board, row)[0]
            note = f"tier {tier}" if tier else row.kind if row.kind != "model" else ""
            bars.append(plots.ForestRow(row.name, value, low, high, note))
    return bars[:_BARS]


# -- what it took ----------------------------------------------------------------------------------


def _figure(row: Row, column: Any) -> dict[str, Any]:
    value = getattr(row.figures, column.field)
    sort = "" if value is None else repr(value)
    return {"text": column.say(row.figures), "sort": sort, "class": "num"}


def _scatter(tradeoff: Tradeoff) -> Any:
    xs = [spot.x for spot in tradeoff.spots]
    wide = min(xs) > 0 and max(xs) / min(xs) > _WIDE
    points = [_point(spot) for spot in tradeoff.spots]
    return plots.scatter(points, tradeoff.axis.title, tradeoff.value, log_x=wide)


def _point(spot: Spot) -> plots.Point:
    low, high = spot.ci95 or (None, None)
    return plots.Point(spot.x, spot.y, spot.row, low, high, spot.on_front)


def _list_runs(board: Board) -> list[list[Any]]:
    rows = []
    for row in board.rows:
        for run in row.runs:
            entry = board.entries[run]
            day = entry.started.strftime("%Y-%m-%d %H:%M") if entry.started.year > 1 else ""
            tasks = sum(task.members is None for task in entry.tasks.values())
            source = entry.imported or "llmeval"
            rows.append([row.name, entry.run_id, day, {"text": str(tasks), "class": "num"}, source])
    return rows
