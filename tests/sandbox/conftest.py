"""One sandbox for each tier that works here; the others are skipped, visibly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmeval.sandbox import Limits, Sandbox
from llmeval.sandbox.nursery import TIERS
from llmeval.sandbox.tiers import failure_of

LIMITS = Limits(
    cpu_seconds=1, wall_seconds=20, memory_mb=256, output_kb=256, file_kb=1024, processes=1
)


@pytest.fixture(scope="module", params=TIERS)
def tier(request: pytest.FixtureRequest) -> str:
    """The name of a tier that works on this machine."""
    name: str = request.param
    failure = failure_of(name)
    if failure is not None:
        pytest.skip(f"no {name} tier here: {failure}")
    return name


@pytest.fixture(scope="module")
def sandbox(tier: str) -> Iterator[Sandbox]:
    """A sandbox with small limits."""
    with Sandbox(LIMITS, tier=tier, allow_unsafe=True) as box:
        yield box
