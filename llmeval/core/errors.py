"""Errors with an exit code: the one place that says how a fault ends the command.

Every error that a person can cause or mend is one line: what is wrong, where, and how to mend it.
"""

from __future__ import annotations


class LlmevalError(Exception):
    """Base of all errors that the command line shows as one line.

    Args:
        what: what is wrong, as a sentence without a full stop.
        where: the file, line, field or name that is meant.
        mend: what the reader can do about it.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str | None = None, mend: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.mend = mend

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line} ({self.mend})" if self.mend else line


class UsageError(LlmevalError):
    """Wrong use or configuration: unknown name, malformed file, missing data. Exit code 2."""


class StorageError(LlmevalError):
    """The disk or the journal refused: full, read-only, corrupt or from a newer version.

    Exit code 2: nothing is wrong with the model or the answers so far, which stay in the journal.
    """


class InvalidResult(LlmevalError):
    """A run ended but its result must not be used: too many errors or nothing measured. Exit 4."""

    exit_code = 4


class GateFailed(LlmevalError):
    """A check that guards something did not pass (doctor, regression gate). Exit code 3."""

    exit_code = 3


class Interrupted(LlmevalError):
    """The run was stopped by a signal; the same command continues it. Exit code 130."""

    exit_code = 130


class BudgetReached(Interrupted):
    """A limit that the user set (dollars, requests, minutes) ended the run before its end.

    What was answered is kept; the same command with a higher limit continues. Exit code 130.
    """


class Submitted(LlmevalError):
    """The questions are with the provider's batch service; nothing is wrong. Exit code 0."""

    exit_code = 0


class TryAgain(Exception):
    """A served model gave no answer this time, but may give one later.

    Args:
        reason: what happened, as one line without secrets.
        after: seconds that the server asks to wait; None where it does not say.
        overloaded: the server has too much to do, so others should wait as well.
        unreachable: nothing says that the server is there at all.
    """

    def __init__(
        self,
        reason: str,
        *,
        after: float | None = None,
        overloaded: bool = False,
        unreachable: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after
        self.overloaded = overloaded
        self.unreachable = unreachable
