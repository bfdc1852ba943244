"""Answers as no server should give them: any JSON, and good answers with one part replaced."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

_plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
json_values: st.SearchStrategy[Any] = st.recursive(
    _plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
"""What orjson reads: numbers are finite and of 64 bits."""

Path = tuple[Any, ...]


def _paths(value: Any, *without: str, at: Path = ()) -> Iterator[Path]:
    if at:
        yield at
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        if key not in without:
            yield from _paths(value[key], *without, at=(*at, key))


@st.composite
def bodies(draw: st.DrawFn, good: Any, *without: str) -> Any:
    """A good answer in which one or two parts are any JSON, or are missing; none of ``without``."""
    answer = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(list(_paths(answer, *without))))
        holder = answer
        for key in way:
            holder = holder[key]
        if draw(st.booleans()):
            holder[last] = draw(json_values)
        else:
            del holder[last]
        if not answer:
            break
    return answer
