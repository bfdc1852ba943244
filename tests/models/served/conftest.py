"""A mock server for each module, as new for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.mock_openai.launch import MockServer, serve
from tests.support.mock_openai.options import Options


@pytest.fixture(scope="module")
def shared() -> Iterator[MockServer]:
    with serve() as running:
        yield running


@pytest.fixture
def mock(shared: MockServer) -> MockServer:
    defaults = Options()
    shared.set(**{name: getattr(defaults, name) for name in shared.options})
    shared.reset()
    return shared
