"""Which processes come from this one: the sandbox must leave none."""

from __future__ import annotations

import os
import time
from pathlib import Path


def descendants(root: int | None = None) -> set[int]:
    """Return the living (not zombie) descendants of process `root`, by default this one."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(path.parent.name)] = int(parent)
    found = {os.getpid() if root is None else root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found - {os.getpid() if root is None else root}
        found |= more


def wait_until_gone(pids: set[int], seconds: float = 10.0) -> set[int]:
    """Wait for processes to end; return those that did not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pids = {pid for pid in pids if _lives(pid)}
        if not pids:
            break
        time.sleep(0.05)
    return pids


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
