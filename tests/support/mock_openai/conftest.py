"""One mock server for a module of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .launch import MockServer, serve
from .options import Options


@pytest.fixture(scope="module")
def shared() -> Iterator[MockServer]:
    with serve() as server:
        yield server


@pytest.fixture
def server(shared: MockServer) -> MockServer:
    """A server without faults, whatever the test before has set."""
    defaults = Options()
    shared.set(**{name: getattr(defaults, name) for name in shared.options})
    shared.set(hang_seconds=0.4, drip_seconds=0.2)
    shared.reset()
    return shared
