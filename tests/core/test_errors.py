"""An error a person can mend is one line with an exit code."""

from __future__ import annotations

import pytest

from llmeval.core import (
    GateFailed,
    Interrupted,
    InvalidResult,
    LlmevalError,
    StorageError,
    UsageError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LlmevalError, 2),
        (UsageError, 2),
        (StorageError, 2),
        (GateFailed, 3),
        (InvalidResult, 4),
        (Interrupted, 130),
    ],
)
def test_exit_codes_are_those_of_the_contract(error: type[LlmevalError], code: int) -> None:
    assert error.exit_code == code


def test_the_line_says_what_where_and_how_to_mend() -> None:
    assert str(UsageError("no such task")) == "no such task"
    assert str(UsageError("no such task", where="-t")) == "-t: no such task"
    assert str(UsageError("no such task", mend="try ls")) == "no such task (try ls)"
    full = UsageError("no such task", where="-t", mend="try ls")
    assert str(full) == "-t: no such task (try ls)"
