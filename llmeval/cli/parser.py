"""A parser whose errors are one line: what, where, how to mend it."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from typing import Any, NoReturn

from llmeval.core.errors import UsageError


class Parser(argparse.ArgumentParser):
    """``argparse`` with our exit code, one line instead of the whole usage, and near names.

    Options are not abbreviated: a script must not change its meaning when an option is added.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **settings
        )

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found.

        Raises:
            UsageError: always.
        """
        raise UsageError(message.removeprefix("argument "), mend=f"see `{self.prog} --help`")

    # One type in, one out: argparse overloads it for namespaces of a caller's own.
    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse everything; an unknown option is named with the nearest known ones."""
        arguments, rest = self.parse_known_args(args, namespace)
        if rest:
            raise self.unknown(rest)
        return arguments

    def unknown(self, rest: Sequence[str]) -> UsageError:
        """Return the error about arguments that nothing takes."""
        option = next((word for word in rest if word.startswith("-")), rest[0])
        name = option.partition("=")[0]
        if not name.startswith("-"):
            return UsageError(f"unexpected {name!r}", mend=f"see `{self.prog} --help`")
        near = difflib.get_close_matches(name, self._option_string_actions, n=3, cutoff=0.7)
        guess = f"did you mean {' or '.join(near)}? " if near else ""
        return UsageError(f"unknown option {name}", mend=f"{guess}see `{self.prog} --help`")
