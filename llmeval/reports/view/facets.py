"""By what a list of items can be filtered: keys of the samples' metadata that have few values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llmeval.reports.slices import MOST_VALUES, read_scalars, sort_values
from llmeval.runs import Run
from llmeval.runs.record import SAMPLES

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Facet:
    """A key and the values that samples have for it."""

    key: str
    values: tuple[str, ...]


def find_facets(runs: Sequence[Run]) -> tuple[list[Facet], list[pa.Table]]:
    """Return the facets of some runs, and for each run a table of its rows.

    The tables have ``row``, and for each facet ``facet_j``: a position in its values, NULL where
    the sample has no such key.
    """
    import pyarrow as pa

    read = [_read(run) for run in runs]
    facets = []
    columns: list[list[pa.Array]] = [[] for _ in runs]
    rows = max(len(codes) for codes, _ in read)
    for key in dict.fromkeys(key for _, plain in read for one in plain for key in one):
        found = {one[key] for _, plain in read for one in plain if key in one}
        if not 1 < len(found) <= min(MOST_VALUES, max(rows // 2, 2)):
            continue
        facet = Facet(key, tuple(sort_values(list(found))))
        facets.append(facet)
        place = {value: i for i, value in enumerate(facet.values)}
        for column, (codes, plain) in zip(columns, read, strict=True):
            numbers = pa.array(
                [place.get(one.get(key, "")) if key in one else None for one in plain], pa.int16()
            )
            column.append(numbers.take(pa.array(codes)))
    tables = [
        pa.table(
            [pa.array(np.arange(len(codes))), *column],
            names=["row", *(f"facet_{j}" for j in range(len(facets)))],
        )
        for column, (codes, _) in zip(columns, read, strict=True)
    ]
    return facets, tables


def _read(run: Run) -> tuple[NDArray[np.int64], list[dict[str, str]]]:
    """Return each row's position in a list of what samples say of themselves."""
    column = run.read_columns(SAMPLES, ["metadata"])["metadata"].combine_chunks()
    texts = column.fill_null("{}").dictionary_encode()
    plain = [read_scalars(text) for text in texts.dictionary.to_pylist()]
    return texts.indices.to_numpy(zero_copy_only=False), plain
