"""``llmeval run --resume``: which command is to go on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmeval.core.errors import UsageError


def find_command(run_id: str, out: str | None = None) -> list[str]:
    """Return the command of a run that has not ended: the one named, or the newest.

    Args:
        run_id: empty for the newest.
        out: another folder of records than ``results``; runs of this workspace that were killed
            are found wherever their records are.

    Raises:
        UsageError: there is none, or its record does not hold its command.
    """
    from llmeval.home import find_workspace
    from llmeval.runs.unfinished import list_unfinished

    folder = Path(out or "results")
    if not folder.is_dir():
        folder = find_workspace() / "results"
    records = {*folder.glob("*"), *list_unfinished(find_workspace())}
    manifests = [_read(record / "manifest.json") for record in records]
    unfinished = [
        m for m in manifests if m.get("status") not in (None, "complete") and not m.get("rerun_of")
    ]
    if run_id:
        unfinished = [m for m in manifests if m.get("run_id") == run_id]
    if not unfinished:
        what = f"no run {run_id}" if run_id else "no run that has not ended"
        raise UsageError(what, where=f"--resume: {folder}", mend="give the run's own command again")
    # A night of `llmeval regress` goes on with its own command, and is no run of this verb.
    own = [m for m in unfinished if isinstance(m.get("command"), list) or m.get("rerun_of")]
    newest = max(own or unfinished, key=lambda manifest: str(manifest.get("started")))
    if original := newest.get("rerun_of"):
        where, mend = f"--resume: {run_id}", f"`llmeval rerun {original}` continues it"
        raise UsageError("it re-creates another run", where=where, mend=mend)
    command = newest.get("command")
    if not isinstance(command, list):
        raise UsageError(
            "its record does not hold a command",
            where=f"--resume: {newest.get('run_id')}",
            mend="it was not begun on the command line: give its own call again",
        )
    return [str(word) for word in command]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def merge(command: Sequence[str], more: Sequence[str]) -> list[str]:
    """Return a command with more arguments, which override it; model settings one by one."""
    before, own = _take_settings(command)
    behind, added = _take_settings(more)
    settings = ",".join(filter(None, [own, added]))
    return [*before, *behind, *(["-a", settings] if settings else [])]


def _take_settings(words: Sequence[str]) -> tuple[list[str], str]:
    """Return arguments without ``-a K=V,...``, and what that says."""
    kept: list[str] = []
    settings: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, sign, value = word.partition("=")
        if word in _SETTINGS and rest:
            settings.append(rest.pop(0))
        elif sign and name in _SETTINGS:
            settings.append(value)
        else:
            kept.append(word)
    return kept, ",".join(settings)


_SETTINGS = ("-a", "--model-args", "--model_args")


def without_resume(argv: Sequence[str]) -> list[str]:
    """Return the other arguments, which override those of the run (``--max-usd``)."""
    kept: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--resume":
            if words and not words[0].startswith("-"):
                words.pop(0)
        elif not word.startswith("--resume="):
            kept.append(word)
    return kept
