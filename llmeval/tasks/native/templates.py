"""Jinja over a data row: compiled once, sandboxed, and strict about what a row does not have."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError
from jinja2.exceptions import SecurityError, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

Row = Mapping[str, Any]

_EXPRESSION = re.compile(r"\s*\{\{((?:(?!\{\{|\}\}).)*)\}\}\s*", re.DOTALL)
_NAMED = re.compile(r"'([^']+)' is undefined")


class TemplateError(Exception):
    """A template and a row that do not fit; the text says which field and which there are."""


def is_template(text: str) -> bool:
    """Say whether a text has Jinja in it."""
    return "{{" in text or "{%" in text


def compile_text(source: str, what: str) -> Callable[[Row], str]:
    """Return a function from a row to text. One newline at the template's end is dropped.

    Args:
        source: Jinja; the row's fields are variables, and ``row`` is the whole row.
        what: name of the template in messages.

    Raises:
        TemplateError: the source is no Jinja.
    """
    template = _compile(source, what)

    def render(row: Row) -> str:
        return str(_guard(lambda: template.render(_variables(row)), row, what))

    return render


def compile_value(source: str, what: str) -> Callable[[Row], Any]:
    """Return a function from a row to a value.

    Args:
        source: the name of a field (``choices``, or ``mc1_targets.choices`` for a field in a
            field), or Jinja. Jinja of one expression, ``{{ ... }}``, keeps the value's type: a list
            stays a list; anything else gives text.
        what: name of the template in messages.
    """
    if not is_template(source):
        return functools.partial(_look_up, source, what)
    single = _EXPRESSION.fullmatch(source)
    if single is None:
        return compile_text(source, what)
    _compile(source, what)  # its message on a syntax error is the better one
    expression = _environment().compile_expression(single[1], undefined_to_none=False)

    def evaluate(row: Row) -> Any:
        value = _guard(lambda: expression(_variables(row)), row, what)
        if isinstance(value, StrictUndefined):
            raise TemplateError(_undefined(value._undefined_message, row, what))
        return value

    return evaluate


@functools.cache
def _environment() -> Any:
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, finalize=_refuse_null)


def _refuse_null(value: Any) -> Any:
    if value is None:
        raise UndefinedError("a null would be printed as 'None'")
    return value


def _compile(source: str, what: str) -> Any:
    try:
        return _environment().from_string(source)
    except TemplateSyntaxError as error:
        raise TemplateError(f"{what} is no Jinja: {error.message}") from error


def _variables(row: Row) -> dict[str, Any]:
    return {"row": row, **row}


def _guard(render: Callable[[], Any], row: Row, what: str) -> Any:
    """Say in one line what went wrong in a template; any Python error can come out of one."""
    try:
        return render()
    except UndefinedError as error:
        raise TemplateError(_undefined(error.message or "undefined", row, what)) from error
    except SecurityError as error:
        raise TemplateError(f"{what} does what a template must not: {error}") from error
    except Exception as error:
        raise TemplateError(f"{what} fails: {type(error).__name__}: {error}") from error


def _look_up(name: str, what: str, row: Row) -> Any:
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise TemplateError(_undefined(f"{part!r} is undefined", row, what))
        value = value[part]
    return value


def _undefined(message: str, row: Row, what: str) -> str:
    named = _NAMED.search(message)
    near = difflib.get_close_matches(named[1], row, n=1) if named else []
    guess = f", did you mean {near[0]!r}?" if near else ""
    return f"{what}: {message}{guess} (the row's fields: {', '.join(row)})"
