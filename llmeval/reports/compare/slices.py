"""Two runs on the parts of a task's samples: where a difference comes from.

Slices are cut by what the baseline's metadata say. The p-values of one cut are adjusted together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from llmeval.core import UsageError
from llmeval.reports.compare.build import Comparing, Options, check_runs, introduce
from llmeval.reports.compare.comparison import Contestant, Excluded, Row
from llmeval.reports.compare.flips import find_flips
from llmeval.reports.compare.measures import measure_task
from llmeval.reports.compare.pairs import Pairs
from llmeval.reports.compare.rows import decide, make_row
from llmeval.reports.slices import NONE, read_labels, sort_values
from llmeval.runs import Run


@dataclass(frozen=True, slots=True)
class Cut:
    """A task's slices by one key.

    Attributes:
        rows: a row each, whose name is the key's value.
        excluded: items of the task that are not compared.
    """

    task: str
    metric: str
    key: str
    rows: tuple[Row, ...]
    excluded: tuple[Excluded, ...]


@dataclass(frozen=True, slots=True)
class SliceComparison:
    """Every cut of two runs' tasks."""

    baseline: Contestant
    challenger: Contestant
    cuts: tuple[Cut, ...]


def compare_slices(
    runs: tuple[Run, Run], options: Options, keys: Sequence[str] | None = None
) -> SliceComparison:
    """Compare two runs on each part of their common items.

    Args:
        keys: only these; by default all that divide a task's samples into parts.

    Raises:
        UsageError: the runs are not comparable, or no task has such a key.
    """
    check_runs(runs, partial=options.partial)
    sides = introduce(runs)
    comparing = Comparing(runs, (sides[0], sides[1]), options)
    entries, _ = comparing.prepare()
    cuts = []
    for entry in entries:
        if entry.is_group or not runs[0].summary["tasks"][entry.name]["n"]:
            continue  # a run that was stopped may not have come to it
        labels = read_labels(runs[0], entry.name)
        chosen = labels.find_keys() if keys is None else keys
        for key in (key for key in chosen if key in labels.by_key):
            value_of = dict(zip(labels.sample_ids, labels.by_key[key], strict=True))
            for metric in entry.metrics:
                pairs = comparing.pair_items(entry.name, metric)
                across = comparing.is_across([pairs])
                rows = _cut(replace(pairs, excluded=()), value_of, across=across)
                cuts.append(Cut(entry.name, metric, key, rows, pairs.excluded))
    if not cuts:
        raise no_slices(runs[0], keys)
    return SliceComparison(sides[0], sides[1], tuple(cuts))


def no_slices(run: Run, keys: Sequence[str] | None) -> UsageError:
    """Return the error about a run whose samples cannot be divided."""
    what = "no task has metadata that divide its samples"
    if keys is not None:
        what = f"no task has metadata named {' or '.join(map(repr, keys))}"
    mend = "a task's YAML names them under `metadata`; without --key, all of them are taken"
    return UsageError(what, where=run.id, mend=mend)


def _cut(pairs: Pairs, value_of: dict[str, str], *, across: bool) -> tuple[Row, ...]:
    values = np.array([value_of.get(name, NONE) for name in pairs.sample_ids[0]], dtype=object)
    rows = []
    for value in sort_values(list(dict.fromkeys(values))):
        part = pairs.part(np.flatnonzero(values == value))
        measure = measure_task(part)
        flips = None
        if measure.values is not None:
            flips, _ = find_flips([part], measure.values, examples=0)
        rows.append(make_row(value, [part], measure, flips, across=across))
    return tuple(decide(rows))
