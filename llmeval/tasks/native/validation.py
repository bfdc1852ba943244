"""Errors of pydantic as one line each: file, line, field, what is wrong, and the mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from llmeval.core import UsageError
from llmeval.tasks.native.yaml_source import Document, Place


class Misfit(ValueError):
    """Fields that do not fit together, and the mend."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend


def validate(document: Document, kind: Any, *, discriminator: str | None = None) -> Any:
    """Return the content of a file as ``kind``: a pydantic model, or a union of them.

    Args:
        discriminator: the field that tells a union's members apart.

    Raises:
        UsageError: one line about the first fault, and how many more there are.
    """
    wanted: Any = Annotated[kind, Field(discriminator=discriminator)] if discriminator else kind
    try:
        return TypeAdapter(wanted).validate_python(document.data)
    except ValidationError as error:
        raise _explain(document, error, _Shape(kind, discriminator)) from error


@dataclass(frozen=True, slots=True)
class _Shape:
    kind: Any
    discriminator: str | None


def _explain(document: Document, error: ValidationError, shape: _Shape) -> UsageError:
    faults = [_describe(document, fault, shape) for fault in error.errors(include_url=False)]
    # One fault a place: a field that takes several types is refused once for each of them. A field
    # that is misspelt comes before the one that is therefore missing.
    places = {fault.place: fault for fault in reversed(faults)}
    ranked = sorted(places.values(), key=lambda f: (f.rank, document.line_of(f.place)))
    rest = len(ranked) - 1
    more = f"; and {rest} more fault{'s' if rest > 1 else ''}" if rest else ""
    return document.error(ranked[0].what + more, ranked[0].place, ranked[0].mend)


@dataclass(frozen=True, slots=True)
class _Fault:
    what: str
    place: Place
    mend: str | None
    rank: int = 1


def _describe(document: Document, fault: Any, shape: _Shape) -> _Fault:
    # In a union every location but that of a bad tag starts with the tag.
    kind, loc = fault["type"], fault["loc"][1 if shape.discriminator else 0 :]
    place = _written(document, loc)
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(place[-1]), _fields_beside(fault["loc"], shape), n=1)
        mend = f"did you mean {near[0]!r}?" if near else f"see {document.guide}"
        return _Fault("unknown field", place, mend, rank=0)
    if kind == "missing":
        return _Fault("it is missing", (*place, loc[-1]), "add it", rank=2)
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return _describe_tag(fault, place)
    if kind == "value_error":
        error = fault["ctx"]["error"]
        return _Fault(str(error), place, getattr(error, "mend", None))
    if kind == "model_type":
        return _Fault(f"should hold fields, not {_shorten(fault['input'])}", place, "indent them")
    said = fault["msg"].replace("Input should", "should", 1)
    return _Fault(f"{said}, not {_shorten(fault['input'])}", place, _MENDS.get(kind))


_MENDS = {
    "string_type": "quote it",
    "int_type": "write a whole number without quotes",
    "bool_type": "write true or false",
    "list_type": "write a list, [a, b]",
}


def _describe_tag(fault: Any, place: Place) -> _Fault:
    known = fault["ctx"].get("expected_tags", "").replace("'", "")
    given = fault["input"].get("type") if isinstance(fault["input"], dict) else fault["input"]
    if given is None:
        return _Fault("it is missing", (*place, "type"), "say which type it is")
    near = difflib.get_close_matches(str(given), known.split(", "), n=1)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return _Fault(f"unknown type {given!r}", (*place, "type"), f"{guess}there are {known}")


def _written(document: Document, loc: Sequence[str | int]) -> Place:
    """Return the place in the file: pydantic's location has the names of union members too."""
    place: Place = ()
    for part in loc:
        if (*place, part) in document.lines:
            place = (*place, part)
    return place


def _fields_beside(loc: Sequence[str | int], shape: _Shape) -> list[str]:
    """Return the fields that an unknown one may have been meant as: its model's, else all."""
    models = list(_models(shape.kind))
    if shape.discriminator and len(loc) == 2:
        models = [m for m in models if loc[0] in _tags(m, shape.discriminator)]
    elif not shape.discriminator and len(loc) == 1:
        models = models[:1]
    return sorted({name for model in models for name in model.model_fields})


def _models(kind: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a type is made of, outermost first."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for field in kind.model_fields.values():
            yield from _models(field.annotation)
    else:
        for part in get_args(kind):
            yield from _models(part)


def _tags(model: type[BaseModel], discriminator: str) -> tuple[Any, ...]:
    field = model.model_fields.get(discriminator)
    return get_args(field.annotation) if field else ()


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
