"""What foreign task code raises, as one line that says which task it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from llmeval.core import LlmevalError, UsageError

log = logging.getLogger(__name__)


@contextmanager
def one_line_errors(name: str, doing: str) -> Iterator[None]:
    """Raise anything that goes wrong within as a :class:`UsageError`.

    Args:
        name: the task.
        doing: what is being done with it, as a verb: ``build``.
    """
    try:
        yield
    except LlmevalError as error:
        error.where = error.where or name
        raise
    except ImportError as error:
        raise UsageError(
            f"lm-eval needs a package to {doing} the task: {first_line(error)}",
            where=name,
            mend="install it, or the older version that still has it; see lm-eval's extras",
        ) from error
    except Exception as error:
        log.debug("%s", name, exc_info=error)
        raise UsageError(
            f"lm-eval cannot {doing} the task: {type(error).__name__}: {first_line(error)}",
            where=name,
        ) from error


def first_line(error: Exception) -> str:
    """Return the first line of what an error says."""
    return next(iter(str(error).strip().splitlines()), "")
