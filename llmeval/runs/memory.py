"""The most memory that this process has taken."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_UNIT = 1 if sys.platform == "darwin" else 1024  # of `ru_maxrss`, in bytes
_STATUS = Path("/proc/self/status")


def measure_peak_memory() -> dict[str, int | None]:
    """Return bytes at the peak since the process began: of main memory, and of all its GPUs.

    ``device`` is None where this process computed on none. Other processes of a model (its further
    workers, an engine of its own) are not in it.
    """
    return {"host": _measure_host(), "device": _measure_devices() or None}


def _measure_host() -> int:
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024
    except (OSError, StopIteration, ValueError):
        # Elsewhere than on Linux, where this figure would begin with the parent's.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


def _measure_devices() -> int:
    torch = sys.modules.get("torch")  # where nobody loaded it, nobody used it
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return 0
    devices = range(torch.cuda.device_count())
    return sum(int(torch.cuda.max_memory_allocated(device)) for device in devices)
