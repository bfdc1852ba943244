"""On what a run ran: code revision, package versions, machine. Never a secret."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmeval.core import digest

_PACKAGES = (
    "llmeval",
    "lm_eval",
    "datasets",
    "jinja2",
    "numpy",
    "openai",
    "pyarrow",
    "sacrebleu",
    "scikit-learn",
    "scipy",
    "tokenizers",
    "torch",
    "transformers",
    "vllm",
)
# What a user edits and may not have added yet; records and caches beside it do not count.
_UNTRACKED = ("ls-files", "--others", "--exclude-standard", "--", "*.py", "*.yaml", "*.yml")
# Settings that change numbers or speed. Named one by one: an environment holds keys and tokens.
_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "HF_DATASETS_OFFLINE",
    "HF_HUB_OFFLINE",
    "LLMEVAL_DATA",
    "LLMEVAL_HOME",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "TOKENIZERS_PARALLELISM",
)


def describe_environment(workspace: Path) -> dict[str, Any]:
    """Return code revisions, package versions, machine and the settings that matter."""
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "packages": _versions(),
        "code": describe_code(Path(__file__).parent, tracked="environment.py"),
        "workspace": describe_code(workspace),
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


@functools.cache
def _versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def describe_code(folder: Path, tracked: str | None = None) -> Mapping[str, Any] | None:
    """Return the git revision of a folder and a digest of what is not committed, or None.

    ``tracked`` names a file that must be under version control: an installed package may lie inside
    somebody's checkout without being part of it.
    """
    if tracked and _git(folder, "ls-files", "--error-unmatch", tracked) is None:
        return None
    revision = _git(folder, "rev-parse", "HEAD")
    if revision is None:
        return None
    changes = (_git(folder, "diff", "HEAD") or "") + (_git(folder, *_UNTRACKED) or "")
    return {"revision": revision, "dirty": digest(changes.encode(), 8) if changes else None}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
