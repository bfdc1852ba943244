"""Where a run belongs: the workspace, whose journal it shares. Imports nothing of ours."""

from __future__ import annotations

import os
from pathlib import Path


def find_workspace() -> Path:
    """Return ``LLMEVAL_HOME``, or the working folder."""
    return Path(os.environ.get("LLMEVAL_HOME") or ".").resolve()
