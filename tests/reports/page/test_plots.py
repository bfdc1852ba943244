"""Plots put numbers where they belong, and say them in words, too."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.reports.page.plots import (
    ForestRow,
    Point,
    forest,
    interval_bar,
    reliability_diagram,
    scatter,
)
from llmeval.stats import reliability
from tests.support import hostile

finite = st.floats(-1e6, 1e6, allow_nan=False)


def circles(svg: str) -> list[tuple[float, float]]:
    nodes = ElementTree.fromstring(svg).iter("circle")
    return [(float(node.attrib["cx"]), float(node.attrib["cy"])) for node in nodes]


def test_more_is_further_right_and_higher() -> None:
    (x0, y0), (x1, y1) = circles(str(scatter([Point(1, 0.2, "a"), Point(2, 0.9, "b")], "x", "y")))
    assert x1 > x0
    assert y1 < y0  # SVG counts from the top


def test_a_logarithmic_scale_makes_equal_ratios_equally_wide() -> None:
    points = [Point(x, 0.5, "p") for x in (0.01, 0.1, 1.0)]
    xs = sorted(x for x, _ in circles(str(scatter(points, "x", "y", log_x=True))))
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)


def test_a_logarithmic_scale_says_what_it_leaves_out() -> None:
    svg = str(scatter([Point(0, 0.5, "free"), Point(1, 0.5, "paid")], "cost", "y", log_x=True))
    assert len(circles(svg)) == 1
    assert "1 not shown: no cost above 0" in svg


@given(st.lists(st.tuples(finite, finite), max_size=20))
def test_any_points_make_a_plot_within_its_frame(places: list[tuple[float, float]]) -> None:
    svg = str(scatter([Point(x, y, "p") for x, y in places], "x", "y"))
    for x, y in circles(svg):
        assert 0 <= x <= 720
        assert 0 <= y <= 420


@pytest.mark.parametrize("text", hostile.TEXTS)
def test_labels_stay_text(text: str) -> None:
    svg = str(scatter([Point(1, 1, text)], text, text))
    table = str(forest([ForestRow(text, 0.1, 0.0, 0.2, text)]))
    for markup in (svg, table):
        tags = {node.tag for node in ElementTree.fromstring(markup).iter()}
        assert not tags & {"script", "img"}


def test_an_interval_bar_spans_its_interval() -> None:
    bar = str(interval_bar(0.5, 0.25, 0.75, mark=0.1))
    assert 'x="25.00"' in bar
    assert 'width="50.00"' in bar
    assert "M50.00 2V14" in bar
    assert "M10.00 1V15" in bar


def test_a_limit_is_drawn_on_the_scale_of_its_interval() -> None:
    """From -.1 to .1, the scale is widened by the limit at -.2 and that is its left end."""
    table = str(forest([ForestRow("a", 0.0, -0.1, 0.1, limit=-0.2)]))
    (limit,) = re.findall(r'class="limit" d="M([\d.]+) 0V16"', table)
    (start,) = re.findall(r'class="span" x="([\d.]+)"', table)
    assert float(limit) < float(start)
    assert "limit" not in str(forest([ForestRow("a", 0.0, -0.1, 0.1)]))


def test_nothing_measured_draws_neither_value_nor_interval() -> None:
    bar = str(interval_bar(None))
    assert "span" not in bar
    assert "value" not in bar


def test_a_forest_says_where_nothing_can_be_told() -> None:
    table = str(forest([ForestRow("a", 0.1, 0.0, 0.2), ForestRow("b", None)]))
    assert "+0.100" in table
    assert "not estimable" in table
    assert "0.000" in table  # the scale begins at zero difference


def test_a_reliability_diagram_has_a_point_for_each_filled_bin() -> None:
    bins = reliability([0.15, 0.15, 0.95, 0.95], [0, 1, 1, 1])
    svg = str(reliability_diagram(bins))
    points = circles(svg)
    assert len(points) == 2
    assert re.search(r"confidence 0.15, right 0.50, n 2", svg)
    (_, half), (_, all_right) = points
    assert all_right < half
