"""One torch thread in this room: passes this small only wait for a second one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="package")
def single_thread() -> Iterator[None]:
    try:
        import torch
    except ImportError:  # the data and corpus tests need none
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
