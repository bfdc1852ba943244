"""One attempt at a run on the engine alone: no session, no record."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llmeval.core import InformedModel, Model, Score, Task
from llmeval.engine import Evaluated, Journal, Usage, evaluate
from llmeval.engine.journal import TokenCounts


@dataclass
class Attempt:
    """What an attempt gave before it ended, however it ended."""

    results: list[Evaluated] = field(default_factory=list)
    usage: Usage | None = None
    tokens: TokenCounts | None = None

    def scores(self) -> list[tuple[str, str, Score]]:
        return [(r.task.name, r.sample.id, s) for r in self.results for s in r.scores]

    def exchanges(self) -> list[object]:
        return [(r.task.name, r.sample.id, list(r.exchanges)) for r in self.results]


def attempt(
    tasks: Sequence[Task],
    model: Model | InformedModel,
    workspace: Path,
    *,
    spec: str = "spec",
    window: int = 4096,
    into: Attempt | None = None,
) -> Attempt:
    """Begin, or continue, the run of a specification; ``into`` survives an error."""
    made = into or Attempt()
    with Journal(workspace / "journal.sqlite") as journal:
        unfinished = journal.unfinished(spec)
        run = unfinished[0] if unfinished else journal.begin(spec, f"{spec} {secrets.token_hex(4)}")
        made.usage = evaluate(
            tasks, model, journal=journal, run=run, sink=made.results.extend, window=window
        )
        made.tokens = journal.tokens(run)
        journal.finish(run)
    return made


def journaled(workspace: Path) -> set[bytes]:
    """Return the keys that the journal in a workspace holds."""
    path = workspace / "journal.sqlite"
    if not path.exists():
        return set()
    with sqlite3.connect(path) as db:
        keys = {row[0] for row in db.execute("SELECT key FROM answers")}
    db.close()
    return keys
