"""A task's configuration as plain data that says the same in every process."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any


def describe_config(value: Any) -> Any:
    """Return a configuration without addresses: the manifest and the resume key hold it.

    A function is described by its source, so a changed function is a changed task.
    """
    if isinstance(value, Mapping):
        return {str(key): describe_config(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [describe_config(part) for part in value]
    if callable(value):
        try:
            return inspect.getsource(value)
        except (OSError, TypeError):
            return getattr(value, "__qualname__", type(value).__qualname__)
    return re.sub(r" at 0x[0-9a-f]+", "", value) if isinstance(value, str) else value
