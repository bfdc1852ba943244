"""Peak memory is what the system says, in bytes."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from llmeval.runs.memory import measure_peak_memory

PROGRAM = """
from llmeval.runs.memory import measure_peak_memory
before = measure_peak_memory()["host"]
block = bytearray(100_000_000)
block[::4096] = b"x" * len(block[::4096])
print(measure_peak_memory()["host"] - before)
"""


def test_what_is_taken_is_counted() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    assert int(done.stdout) == pytest.approx(100e6, rel=0.1)


def test_devices_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        device_count=lambda: 2,
        max_memory_allocated=lambda device: [7, 5][device],
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert measure_peak_memory()["device"] == 12


def test_a_process_that_used_no_device_has_no_figure_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert measure_peak_memory()["device"] is None
