"""Where a run is to be logged: ``mlflow:URI``, ``wandb:PROJECT``; never with a secret in it."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import Protocol

from llmeval.core.errors import UsageError
from llmeval.tracking.entries import Entries

TOOLS = ("mlflow", "wandb")
_FORMS = "mlflow:URI, wandb:PROJECT or wandb:ENTITY/PROJECT"

# Databases take a password with any sign in it but a blank.
_USER_INFO = re.compile(r"(?<=://)([^/\s:]*:\S*|[^/\s]*)@")
_SECRET_QUERY = re.compile(
    r"([?&][^=&\s]*(?:key|token|secret|password|pwd|auth|odbc_connect)[^=&\s]*=)[^&\s]*",
    re.IGNORECASE,
)


class Tool(Protocol):
    """A module of this room that knows one tracker."""

    def require(self, where: str) -> None:
        """Raise UsageError for what cannot work: a missing package, a malformed destination."""
        ...

    def log(self, where: str, entries: Entries) -> str:
        """Log a run, or the rest of one; return where it can be seen."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """A tracker and the place there; ``where`` is empty for the tool's own default."""

    tool: str
    where: str

    def __str__(self) -> str:
        return f"{self.tool}:{self.where}" if self.where else self.tool

    @property
    def module(self) -> Tool:
        """The module that knows the tool; imports nothing heavy by itself."""
        module: Tool = importlib.import_module(f"llmeval.tracking.{self.tool}_tool")
        return module


def parse_target(text: str) -> Target:
    """Read ``TOOL:WHERE``.

    Raises:
        UsageError: an unknown tool, or a secret in it, which would be written down.
    """
    tool, _, where = text.partition(":")
    if tool not in TOOLS:
        raise UsageError(f"unknown tracker {tool!r}", where="--track", mend=_FORMS)
    if _holds_secret(where):
        raise UsageError(
            f"{tool}: a user or password in it would be written down",
            where="--track",
            mend="leave it out, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            "set MLFLOW_TRACKING_URI to the whole and give --track mlflow",
        )
    return Target(tool, where)


def _holds_secret(where: str) -> bool:
    if _SECRET_QUERY.search(where):
        return True
    found = _USER_INFO.search(where)
    # A database's user is no secret, but a web server's may be a token.
    return found is not None and (":" in found[0] or where.startswith("http"))


def require_target(target: Target) -> None:
    """Find out before a run what would keep it from being logged after it.

    Raises:
        UsageError: a package is missing, or the destination is none.
    """
    target.module.require(target.where)


def hide_secrets(text: str) -> str:
    """Return a message without the user, password and tokens of any URL in it."""
    return _SECRET_QUERY.sub(r"\1...", _USER_INFO.sub("", text))
