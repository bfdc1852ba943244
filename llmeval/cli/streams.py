"""Standard output and error as they really are: closed, full, of a poor encoding, or left."""

from __future__ import annotations

import io
import os
import select
import sys
from typing import TextIO

from llmeval.core.text import one_line as one_line

RED, BOLD, DIM = "31", "1", "2"


def open_streams() -> None:
    """Make both streams safe to write to: a symbol that they cannot show must not end a run."""
    # A closed descriptor is opened to nowhere first: else the next file would take its number,
    # and a library that writes to "standard error" would write into that file.
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123  stays open


def reader_left(stream: TextIO) -> bool:
    """Return whether nobody reads any more what is written to a stream."""
    try:
        poller = select.poll()
        poller.register(stream.fileno(), 0)  # asks for errors alone
        return any(event & select.POLLERR for _, event in poller.poll(0))
    except (OSError, ValueError):  # closed
        return True


def drop_stdout() -> None:
    """Let what is still to be printed go nowhere: the reader left, e.g. ``| head``."""
    sys.stdout = _nowhere()


def shows(text: str, stream: TextIO) -> bool:
    """Return whether a stream's encoding has every symbol of ``text``."""
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def has_color(stream: TextIO) -> bool:
    """Return whether to color: on a terminal that can, where ``NO_COLOR`` is not set."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and stream.isatty()


def paint(text: str, style: str, color: bool) -> str:
    """Return ``text`` in an ANSI style where there is color."""
    return f"\x1b[{style}m{text}\x1b[0m" if color and text else text


def say(text: str) -> None:
    """Write a line to stderr for people; a stderr that takes nothing ends no run."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        return  # nobody reads: the exit code and the record say what happened


def say_error(text: str) -> None:
    """Write an error to stderr: one line, red on a terminal."""
    say(paint(f"llmeval: {one_line(text)}", RED, has_color(sys.stderr)))
