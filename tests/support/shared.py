"""Where the optional development data lie: real benchmarks and tiny models beside the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def shared_dir(*parts: str) -> Path:
    """Return a path in ``../shared``, or skip the calling test visibly when it is not there."""
    path = ROOT.parent.joinpath("shared", *parts)
    if not path.exists():
        pytest.skip(f"needs ../shared/{'/'.join(parts)}, which is absent here")
    return path
