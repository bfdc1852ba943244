"""What lm-eval offers, from a cached index: its own walk over 26,000 YAML files takes 7 seconds.

The index is made once per installed lm-eval with lm-eval's own code, and read in milliseconds
after that, without importing lm-eval.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import orjson

from llmeval.core import UsageError, fingerprint

log = logging.getLogger(__name__)

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A task, group or tag of lm-eval.

    Args:
        kind: ``task``, ``py_task``, ``group`` or ``tag``.
        path: its YAML, relative to lm-eval's tasks folder; None for tags.
        tags: for a tag, the tasks that carry it.
        output_type, dataset: what `llmeval tasks ls` shows.
    """

    name: str
    kind: str
    path: str | None
    tags: tuple[str, ...] = ()
    output_type: str | None = None
    dataset: str | None = None


def tasks_root() -> Path:
    """Return the folder of lm-eval's task files, without importing lm-eval."""
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise UsageError("lm-eval is not installed", mend="pip install 'lm-eval==0.4.13'")
    return Path(spec.submodule_search_locations[0]) / "tasks"


def cache_dir() -> Path:
    """Return the user's cache folder of llmeval."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "llmeval"


@lru_cache(maxsize=1)
def load_index() -> Mapping[str, IndexEntry]:
    """Return lm-eval's tasks, groups and tags by name; builds the cache where it is missing."""
    version = importlib.metadata.version("lm_eval")
    root = tasks_root()
    stamp = {"format": _FORMAT, "version": version, "root": str(root)}
    # Each installation has its own: two environments would else rewrite one file in turn.
    path = cache_dir() / f"lm-eval-{version}-{fingerprint(str(root), size=4)}.json"
    entries = _read(path, stamp)
    if entries is None:
        from llmeval.tasks.lmeval.adapter import build_index

        log.warning("indexing the tasks of lm-eval %s: once, about 10 seconds", version)
        entries = build_index(root)
        _write(path, stamp, entries)
    return {entry.name: entry for entry in entries}


def _read(path: Path, stamp: Mapping[str, object]) -> list[IndexEntry] | None:
    try:
        content = orjson.loads(path.read_bytes())
        if content["stamp"] != stamp:
            return None
        return [
            IndexEntry(name, kind, file, tuple(tags), output_type, dataset)
            for name, kind, file, tags, output_type, dataset in content["entries"]
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # missing, torn or of another form: it is made anew


def _write(path: Path, stamp: Mapping[str, object], entries: list[IndexEntry]) -> None:
    rows = [[e.name, e.kind, e.path, e.tags, e.output_type, e.dataset] for e in entries]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(orjson.dumps({"stamp": stamp, "entries": rows}))
        Path(file.name).replace(path)
    except OSError as error:
        log.warning("the index of lm-eval's tasks cannot be kept: %s", error)
