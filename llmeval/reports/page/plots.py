"""Plots as inline SVG, drawn from plain numbers; the page's style gives them their colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from llmeval.reports.formats import format_difference, format_value
from llmeval.reports.page.text import show_controls
from llmeval.stats.calibration import ReliabilityBin

_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 20, 16, 44
_LETTER = 6.4  # width of a letter of a label, on average


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a scatter plot; ``low`` and ``high`` bound ``y``."""

    x: float
    y: float
    label: str
    low: float | None = None
    high: float | None = None
    on_front: bool = False


@dataclass(frozen=True, slots=True)
class ForestRow:
    """An estimate with its interval.

    Args:
        note: stands at the end of its line.
        limit: a line of its own that the interval is held against, such as a tolerance.
    """

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""
    limit: float | None = None


# -- scatter ---------------------------------------------------------------------------------------


def scatter(
    points: Sequence[Point], x_label: str, y_label: str, log_x: bool = False, title: str = ""
) -> Any:
    """Return points with their intervals, and a line through those on the Pareto front.

    With ``log_x``, points whose x is not above 0 are left out and the plot says how many.
    """
    shown = [
        p for p in points if math.isfinite(p.x) and math.isfinite(p.y) and (p.x > 0 or not log_x)
    ]
    if not shown:
        return _svg(f"{y_label} by {x_label}", [_text(_WIDTH / 2, _HEIGHT / 2, "nothing to plot")])
    x_ticks, to_x = _axis([p.x for p in shown], _LEFT, _WIDTH - _RIGHT, log=log_x)
    ys = [y for p in shown for y in (p.y, p.low, p.high) if y is not None and math.isfinite(y)]
    y_ticks, to_y = _axis(ys, _HEIGHT - _BOTTOM, _TOP)
    parts = _frame(x_ticks, to_x, y_ticks, to_y, x_label, y_label)
    front = sorted((p for p in shown if p.on_front), key=lambda p: p.x)
    if len(front) > 1:
        path = " ".join(f"{to_x(p.x):.1f},{to_y(p.y):.1f}" for p in front)
        parts.append(f'<polyline class="front" points="{path}"/>')
    parts += [_point(p, to_x(p.x), to_y) for p in sorted(shown, key=lambda p: p.on_front)]
    parts += _labels(sorted(shown, key=lambda p: not p.on_front), to_x, to_y)
    if left_out := len(points) - len(shown):
        note = f"{left_out} not shown: no {x_label} above 0"
        parts.append(_text(_WIDTH - _RIGHT, _TOP + 10, note, "end"))
    return _svg(title or f"{y_label} by {x_label}", parts)


def _point(point: Point, x: float, to_y: Callable[[float], float]) -> str:
    bar = ""
    if point.low is not None and point.high is not None:
        bar = f'<path class="whisker" d="M{x:.1f} {to_y(point.low):.1f}V{to_y(point.high):.1f}"/>'
    told = f"{point.label}: {format_value(point.y)} at {_short(point.x)}"
    name = "point on-front" if point.on_front else "point"
    dot = f'<circle class="{name}" cx="{x:.1f}" cy="{to_y(point.y):.1f}" r="4.5"/>'
    return f"<g><title>{_escape(told)}</title>{bar}{dot}</g>"


def _labels(
    points: Iterable[Point], to_x: Callable[[float], float], to_y: Callable[[float], float]
) -> list[str]:
    """Write the labels that find room, the front's first; every point tells its name anyway."""
    points = list(points)
    taken = [(to_x(p.x) - 5, to_y(p.y) - 5, to_x(p.x) + 5, to_y(p.y) + 5) for p in points]
    parts = []
    for point in points:
        label = point.label if len(point.label) <= 34 else f"{point.label[:33]}…"
        x, y, wide = to_x(point.x), to_y(point.y), len(label) * _LETTER
        for dx, dy, anchor in (
            (9, 4, "start"),
            (-9, 4, "end"),
            (0, -10, "middle"),
            (0, 18, "middle"),
        ):
            start = x + dx - {"start": 0, "end": wide, "middle": wide / 2}[anchor]
            box = (start, y + dy - 10, start + wide, y + dy + 3)
            inside = box[0] >= _LEFT and box[2] <= _WIDTH - 2 and box[1] >= 0
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                parts.append(_text(x + dx, y + dy, label, anchor, "label"))
                break
    return parts


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


# -- intervals -------------------------------------------------------------------------------------


def forest(rows: Sequence[ForestRow], zero: float | None = 0.0) -> Any:
    """Return estimates with their intervals under one another, on one scale.

    Args:
        zero: where "no difference" is; None for plain values, which have no such line.
    """
    bounds = [
        b
        for r in rows
        for b in (r.value, r.low, r.high, r.limit)
        if b is not None and math.isfinite(b)
    ]
    domain = _widen([*bounds, *([zero] if zero is not None else [])] or [0.0, 1.0])
    write = format_value if zero is None else format_difference
    lines = []
    for row in rows:
        bar = interval_bar(row.value, row.low, row.high, domain=domain, mark=zero, limit=row.limit)
        number = "not estimable" if row.value is None else write(row.value)
        lines.append(
            f'<tr><th scope="row">{_escape(row.label)}</th><td class="bar">{bar}</td>'
            f'<td class="num">{number}</td><td class="quiet">{_escape(row.note)}</td></tr>'
        )
    scale = f"<span>{write(domain[0])}</span><span>{write(domain[1])}</span>"
    foot = f'<tfoot><tr><td></td><td class="scale">{scale}</td><td></td><td></td></tr></tfoot>'
    return _markup(f'<table class="forest"><tbody>{"".join(lines)}</tbody>{foot}</table>')


def interval_bar(
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    *,
    domain: tuple[float, float] = (0.0, 1.0),
    mark: float | None = None,
    limit: float | None = None,
) -> Any:
    """Return a bar from ``low`` to ``high`` with a tick at ``value``, as wide as its cell.

    Args:
        domain: the ends of the scale.
        mark: a line to compare with: zero, or chance.
        limit: a line that the interval ought not to cross.
    """
    span = domain[1] - domain[0] or 1.0

    def place(number: float) -> float:
        return min(100.0, max(0.0, 100 * (number - domain[0]) / span))

    parts = ['<path class="rail" d="M0 8H100"/>']
    if mark is not None:
        parts.append(f'<path class="mark" d="M{place(mark):.2f} 1V15"/>')
    if limit is not None:
        parts.append(f'<path class="limit" d="M{place(limit):.2f} 0V16"/>')
    if low is not None and high is not None:
        start, width = place(low), max(place(high) - place(low), 0.4)
        parts.append(f'<rect class="span" x="{start:.2f}" y="5" width="{width:.2f}" height="6"/>')
    if value is not None:
        parts.append(f'<path class="value" d="M{place(value):.2f} 2V14"/>')
    return _markup(
        '<svg class="interval" viewBox="0 0 100 16" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )


# -- calibration -----------------------------------------------------------------------------------


def reliability_diagram(bins: Sequence[ReliabilityBin]) -> Any:
    """Return how often the model is right against how sure it is; the diagonal is calibrated.

    Under it stands how many answers each bin holds.
    """
    size, left, top, bars = 300, 52, 10, 48
    shown = [(b, b.confidence, b.accuracy.value) for b in bins]
    filled = [
        _Bin(b, sure, right) for b, sure, right in shown if sure is not None and right is not None
    ]
    base = top + size + bars

    def place(sure: float, right: float) -> tuple[float, float]:
        return left + size * sure, top + size * (1 - right)

    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = place(tick, tick)
        parts.append(f'<path class="grid" d="M{left} {y:.1f}h{size}"/>')
        parts.append(_text(left - 8, y + 4, f"{tick:g}", "end"))
        parts.append(_text(x, base + 18, f"{tick:g}", "middle"))
    parts.append(f'<path class="diagonal" d="M{left} {top + size}L{left + size} {top}"/>')
    largest = max((one.bin.n for one in filled), default=1)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(o.sure, o.right) for o in filled))
    parts.append(f'<polyline class="front" points="{points}"/>')
    parts += [_draw_bin(one, place, base, (bars - 10) * one.bin.n / largest) for one in filled]
    parts.append(_text(left + size / 2, base + 36, "confidence", "middle", "axis"))
    parts.append(_turned(14, top + size / 2, "share right"))
    name = "Share of right answers by confidence"
    return _svg(name, parts, width=left + size + 20, height=base + 44)


@dataclass(frozen=True, slots=True)
class _Bin:
    bin: ReliabilityBin
    sure: float
    right: float


def _draw_bin(
    one: _Bin, place: Callable[[float, float], tuple[float, float]], base: float, tall: float
) -> str:
    x, y = place(one.sure, one.right)
    told = f"confidence {one.sure:.2f}, right {one.right:.2f}, n {one.bin.n:,}"
    whisker = ""
    if one.bin.accuracy.ci95:
        low, high = one.bin.accuracy.ci95
        ends = place(0, max(0.0, low))[1], place(0, min(1.0, high))[1]
        whisker = f'<path class="whisker" d="M{x:.1f} {ends[0]:.1f}V{ends[1]:.1f}"/>'
        told += f", interval {low:.2f} … {high:.2f}"
    return (
        f"<g><title>{told}</title>{whisker}"
        f'<rect class="count" x="{x - 7:.1f}" y="{base - tall:.1f}" width="14"'
        f' height="{tall:.1f}"/>'
        f'<circle class="point on-front" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/></g>'
    )


# -- axes and pieces -------------------------------------------------------------------------------


def _axis(
    values: Sequence[float], start: float, end: float, *, log: bool = False
) -> tuple[list[float], Callable[[float], float]]:
    """Return round ticks, and the function from a value to its place between start and end."""
    if log:
        low, high = (math.log10(bound) for bound in (min(values), max(values)))
        first, last = math.floor(low), max(math.ceil(high), math.floor(low) + 1)
        ticks = [10.0**power for power in range(first, last + 1, max(1, (last - first) // 6))]
        return ticks, lambda v: start + (end - start) * (math.log10(v) - first) / (last - first)
    bottom, top = _widen(values)
    step = _round_step((top - bottom) / 5)
    first, last = math.floor(bottom / step), math.ceil(top / step)
    ticks = [round(i * step, 12) for i in range(first, last + 1)]
    return ticks, lambda v: start + (end - start) * (v / step - first) / (last - first)


def _widen(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of a scale that is never of width zero."""
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _round_step(step: float) -> float:
    """Return the least of 1, 2 and 5 times a power of ten that is not below ``step``."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * 0.999)


def _frame(
    x_ticks: Sequence[float],
    to_x: Callable[[float], float],
    y_ticks: Sequence[float],
    to_y: Callable[[float], float],
    x_label: str,
    y_label: str,
) -> list[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = [f'<path class="grid" d="M{_LEFT} {to_y(t):.1f}H{right}"/>' for t in y_ticks]
    parts += [_text(_LEFT - 8, to_y(t) + 4, _short(t), "end") for t in y_ticks]
    parts += [_text(to_x(t), bottom + 18, _short(t), "middle") for t in x_ticks]
    parts.append(_text((_LEFT + right) / 2, _HEIGHT - 6, x_label, "middle", "axis"))
    parts.append(_turned(14, (_TOP + bottom) / 2, y_label))
    return parts


def _turned(x: float, y: float, text: str) -> str:
    return (
        '<text class="axis" text-anchor="middle"'
        f' transform="translate({x:.1f} {y:.1f}) rotate(-90)">{_escape(text)}</text>'
    )


def _text(x: float, y: float, text: str, anchor: str = "middle", name: str = "tick") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{name}" {place}>{_escape(text)}</text>'


def _short(number: float) -> str:
    size = abs(number)
    if size >= 10_000:
        return (
            f"{number / 1e9:g}G"
            if size >= 1e9
            else f"{number / 1e6:g}M"
            if size >= 1e6
            else f"{number / 1e3:g}k"
        )
    return f"{number:.3g}"


def _svg(title: str, parts: Iterable[str], width: float = _WIDTH, height: float = _HEIGHT) -> Any:
    name = "plot wide" if width > 500 else "plot"
    return _markup(
        f'<svg class="{name}" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
        f' height="{height:g}" role="img" aria-label="{_escape(title)}">{"".join(parts)}</svg>'
    )


def _escape(text: str) -> str:
    from markupsafe import escape

    return str(escape(show_controls(text)))


def _markup(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)
