"""What the settings of every kind of served model share: read from text or YAML, checked once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from llmeval.core.errors import UsageError

_NOTHING = ("", "none", "null")


class Settings(BaseModel):
    """Settings of a model; a subclass lists them with their types, defaults and bounds.

    Values come from a command line (text) or a run file. ``none`` and an empty text stand for not
    set; a mapping may be given as JSON text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    KEEPS_NONE: ClassVar[frozenset[str]] = frozenset()
    """Settings for which ``none`` is a value."""

    SECRETIVE: ClassVar[frozenset[str]] = frozenset()
    """Settings whose values no message repeats, for they may hold a secret."""

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Read settings from a run file or a command line.

        Raises:
            UsageError: an unknown name or a value of the wrong kind, with the mend.
        """
        for name in values:
            if name not in cls.model_fields:
                raise _unknown(name, list(cls.model_fields))
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or None
            what = first["msg"].removeprefix("Value error, ")
            plain = first["type"] == "value_error" or where in cls.SECRETIVE
            given = "" if plain else f" (not {first['input']!r})"
            raise UsageError(f"{what[:1].lower()}{what[1:]}{given}", where=where) from None

    @model_validator(mode="before")
    @classmethod
    def _read_texts(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {
            name: _parse(value)
            for name, value in values.items()
            if not _means_nothing(value) or (name in cls.KEEPS_NONE and value == "none")
        }


def _means_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.lower() in _NOTHING)


def _parse(value: Any) -> Any:
    """Read a mapping or a list that a command line gives as JSON; leave all other text alone."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _unknown(name: str, known: list[str]) -> UsageError:
    near = difflib.get_close_matches(name, known, n=3)
    mend = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(known))}"
    return UsageError(f"unknown model setting {name!r}", mend=mend)
