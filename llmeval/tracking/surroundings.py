"""What trackers' libraries read from the environment, set for as long as they work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def usual_variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that the user has not set, and take them back in the end."""
    ours = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
