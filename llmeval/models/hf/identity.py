"""What a checkpoint is, whatever it is called: digests of its files, or the hub's commit."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# What can change an answer: weights, configuration, tokenizer, template, code.
_PATTERNS = (
    "*.safetensors", "*.bin", "*.index.json", "config.json", "generation_config.json",
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt",
    "*.model", "*.tiktoken", "chat_template*", "*.py", "adapter_config.json", "*quant*config.json",
)  # fmt: skip
_CHUNK = 1 << 22


def digest_folder(folder: Path) -> dict[str, str]:
    """Return the digest of every file of a checkpoint that can change an answer, by its name."""
    store = DigestStore()
    digests = {path.name: store.digest(path) for path in _list_files(folder)}
    store.save()
    return digests


def _list_files(folder: Path) -> Iterator[Path]:
    found = {path for pattern in _PATTERNS for path in folder.glob(pattern) if path.is_file()}
    return iter(sorted(found))


class DigestStore:
    """File digests kept in the user's cache folder by path, size, times of change and inode.

    A store that cannot be read or written costs time, no more.
    """

    def __init__(self) -> None:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        self._path = Path(base).expanduser() / "llmeval" / "digests.json"
        self._known = self._load()
        self._changed = False

    def digest(self, path: Path) -> str:
        """Return the BLAKE2b digest of a file's bytes, read only if it changed."""
        stat, key = path.stat(), str(path.resolve())
        # Size and mtime can be kept by who changes the bytes; the kernel's own stamps cannot.
        stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        known = self._known.get(key)
        if isinstance(known, list) and known[:-1] == stamp:
            return str(known[-1])
        value = _digest_file(path)
        self._known[key] = [*stamp, value]
        self._changed = True
        return value

    def save(self) -> None:
        """Write the store in one step, so that a run beside this one reads the old or the new."""
        if not self._changed:
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # A folder, because it goes with all that is in it, even where the disk is full.
            with tempfile.TemporaryDirectory(dir=self._path.parent, prefix="digests.") as folder:
                draft = Path(folder) / self._path.name
                draft.write_text(json.dumps(self._known), encoding="utf-8")
                draft.replace(self._path)

    def _load(self) -> dict[str, Any]:
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


def _digest_file(path: Path) -> str:
    state = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()
