"""Tables of any verb: aligned, never torn, and nothing foreign moves the cursor."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from llmeval.cli.columns import crop, lay_out, pad, print_lines, terminal_width

CELLS = st.text(max_size=12)


def test_texts_stand_left_and_numbers_right() -> None:
    rows = [["short", "1.5", "yes"], ["a longer name", "10.25", "no"]]
    assert lay_out(["name", "value", "why"], rows, text=["why"]) == [
        "name           value  why",
        "─" * 25,
        "short            1.5  yes",
        "a longer name  10.25  no ",
    ]


def test_an_empty_column_is_left_out() -> None:
    lines = lay_out(["a", "b", "c"], [["x", "", "1"], ["y", "", "2"]])
    assert [line.split() for line in lines if "─" not in line] == [
        ["a", "c"],
        ["x", "1"],
        ["y", "2"],
    ]


def test_a_table_without_rows_is_its_head() -> None:
    assert lay_out(["a", "b"], []) == ["a  b", "────"]


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=6))
def test_all_lines_are_equally_wide_whatever_the_letters(rows: list[tuple[str, ...]]) -> None:
    widths = {cell_len(line) for line in lay_out(["任务", "b", "c"], rows)}
    assert len(widths) == 1


@given(st.text(min_size=1), st.integers(1, 20))
def test_a_cropped_text_fits(text: str, width: int) -> None:
    line = "".join(c for c in text if c.isprintable())
    assert cell_len(crop(line, width)) <= width


def test_the_widest_text_is_cropped_to_the_terminal_and_numbers_never() -> None:
    rows = [["t" * 50, "0.123456", "why " * 20]]
    lines = lay_out(["task", "value", "why"], rows, text=["why"], width=60)
    assert all(cell_len(line) <= 60 for line in lines)
    assert "0.123456" in lines[2]
    assert lines[2].count("…") == 2


def test_control_characters_in_cells_are_shown_not_obeyed() -> None:
    assert "\x1b" not in "".join(lay_out(["a"], [["x\x1b[2J\r\ny"]]))


def test_a_style_is_only_added() -> None:
    rows = [["a", "1"], ["b", "22"]]
    plain = lay_out(["t", "n"], rows)
    colored = lay_out(["t", "n"], rows, color=True, style=lambda row, i: "31" if i else None)
    assert "\x1b[31m22\x1b[0m" in colored[3]
    assert [re.sub(r"\x1b\[\d*m", "", line) for line in colored] == plain


def test_wide_letters_are_counted_twice() -> None:
    assert pad("任务", 6) == "任务  "
    assert pad("任务", 6, right=True) == "  任务"


def test_a_stream_without_the_symbols_gets_plain_ones() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    print_lines(["acc ↑  0.1 … 0.2", "──"], stream)
    stream.flush()
    assert raw.getvalue().decode() == "acc ^  0.1 .. 0.2\n--\n"


def test_a_pipe_is_as_wide_as_somebody_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for said, width in ((None, 120), ("60", 60), ("200", 200), ("0", 120), ("wide", 120)):
        monkeypatch.delenv("COLUMNS", raising=False)
        if said is not None:
            monkeypatch.setenv("COLUMNS", said)
        assert terminal_width(io.StringIO()) == width
