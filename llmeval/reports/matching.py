"""Which items of several runs are the same: the same data, asked in the same way.

An item is known by the digest of its data, so neither the order of a data set nor the names of its
rows matter. What differs is excluded by name; nothing is compared silently.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llmeval.reports.scores import Digests, Floats, Scores

Reason = Literal["changed data", "changed prompt", "missing", "not scored"]
"""Why an item of a run is not compared.

- ``changed data``: another run has a row of this name with other content.
- ``changed prompt``: the same data, asked in another way.
- ``missing``: the run does not have the item.
- ``not scored``: it has no number there (unscored or errored).
"""

_REASONS: tuple[Reason, ...] = ("changed data", "changed prompt", "missing", "not scored")
_CHANGED_DATA, _CHANGED_PROMPT, _MISSING, _NOT_SCORED = range(1, 5)

_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: spreads small numbers


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Items of one run that cannot be compared.

    Args:
        run: position of the run.
        sample_ids: the names of the items; empty where names were not read.
        count: how many they are.
    """

    run: int
    reason: Reason
    sample_ids: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Matched:
    """One task's scores of K runs over the union of their N items.

    Attributes:
        runs: [K] positions of the runs that have the task.
        values: [K, N], NaN where a run has no comparable number.
        clusters: [N] codes; None where every item stands alone.
        rows: [K, N] positions in the `Scores` that were matched, -1 where a run lacks the item.
        sample_ids: [N] names, where they were read.
        excluded: what is not compared, by run and reason.
    """

    runs: tuple[int, ...]
    values: Floats
    clusters: NDArray[np.int64] | None
    rows: NDArray[np.int64]
    sample_ids: tuple[str, ...]
    excluded: tuple[Exclusion, ...]

    @property
    def common(self) -> NDArray[np.bool_]:
        """[N]: the items that every run has a number for."""
        return np.asarray(~np.isnan(self.values).any(axis=0), dtype=bool)


def match(scores: Scores, *, across_prompts: bool = False) -> Matched:
    """Put the same items of all runs under one another.

    How an item must have been asked is what the first run says that asked it; where a run asked
    nothing (it broke before), nothing was asked otherwise.

    Args:
        across_prompts: compare items by their data alone, however they were asked.
    """
    starts = np.flatnonzero(np.diff(scores.run, prepend=-1))
    runs = scores.run[starts]
    ends = np.append(starts[1:], len(scores.run))
    item, first = _number_items(scores, starts, ends)
    size = len(first)
    rows = np.full((len(runs), size), -1, dtype=np.int64)
    for row, start, end in zip(rows, starts, ends, strict=True):
        row[item[start:end]] = np.arange(start, end)
    present = rows >= 0
    asked = np.where(present, scores.asked[rows], 0)
    was_asked = asked != 0
    reference = asked[was_asked.argmax(axis=0), np.arange(size)]
    other = was_asked & (asked != reference) & (not across_prompts)
    values = np.where(present & ~other, scores.value[rows], np.nan)
    ids = () if scores.sample_id is None else tuple(scores.sample_id[first])
    reasons = _tell_reasons(present, other, values, ids)
    return Matched(
        runs=tuple(int(run) for run in runs),
        values=values,
        clusters=_number_clusters(scores.cluster[first]),
        rows=rows,
        sample_ids=ids,
        excluded=tuple(_list_exclusions(runs, reasons, ids)),
    )


def _number_items(
    scores: Scores, starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return each row's item, and each item's first row; items stand in order of appearance.

    A data set may hold a row twice: its second occurrence in one run is that in the others.
    """
    item = np.empty(len(scores.run), dtype=np.intp)
    first: list[NDArray[np.intp]] = []
    known, numbers = np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.intp)  # sorted by key
    before, same = None, None
    for start, end in zip(starts, ends, strict=True):
        contents = scores.content[start:end]
        if before is None or same is None or not np.array_equal(contents, before):
            keys = _tell_occurrences(contents)
            new = np.flatnonzero(~np.isin(keys, known))
            first.append(start + new)
            numbers = np.concatenate([numbers, len(numbers) + np.arange(len(new))])
            known = np.concatenate([known, keys[new]])
            order = np.argsort(known)
            known, numbers = known[order], numbers[order]
            before, same = contents, numbers[np.searchsorted(known, keys)]
        item[start:end] = same
    return item, np.concatenate(first) if first else np.empty(0, dtype=np.intp)


def _tell_occurrences(contents: Digests) -> Digests:
    """Return one run's digests, in which the second occurrence of one has become another."""
    order = np.argsort(contents, kind="stable")
    starts = np.flatnonzero(np.diff(contents[order], prepend=contents[order][:1] + 1))
    counts = np.diff(np.append(starts, len(order)))
    occurrence = np.empty(len(order), dtype=np.uint64)
    occurrence[order] = np.arange(len(order)) - np.repeat(starts, counts)
    return np.asarray(contents + occurrence * _ODD, dtype=np.uint64)  # modulo 2^64


def _number_clusters(clusters: NDArray[np.uint64]) -> NDArray[np.int64] | None:
    """An item without a cluster stands for itself."""
    if not clusters.any():
        return None
    _, codes = np.unique(clusters, return_inverse=True)
    alone = clusters == 0
    codes[alone] = codes.max() + 1 + np.arange(alone.sum())
    _, dense = np.unique(codes, return_inverse=True)
    return dense.astype(np.int64)


def _tell_reasons(
    present: NDArray[np.bool_], other: NDArray[np.bool_], values: Floats, ids: tuple[str, ...]
) -> NDArray[np.uint8]:
    """Return [K, N]: 1 + the position in `_REASONS`, 0 where there is a comparable number."""
    reasons = np.zeros(present.shape, dtype=np.uint8)
    reasons[present & ~other & np.isnan(values)] = _NOT_SCORED
    reasons[other] = _CHANGED_PROMPT
    reasons[~present] = _MISSING
    counts = Counter(ids)
    renamed = np.array([counts[name] > 1 for name in ids], dtype=bool)
    if renamed.any():  # one name, two contents: each is missing where the other is
        reasons[:, renamed] = np.where(present[:, renamed], reasons[:, renamed], _CHANGED_DATA)
    return reasons


def _list_exclusions(
    runs: NDArray[np.int64], reasons: NDArray[np.uint8], ids: tuple[str, ...]
) -> list[Exclusion]:
    found = []
    for run, row in zip(runs, reasons, strict=True):
        for code in np.unique(row[row > 0]):
            where = np.flatnonzero(row == code)
            names = tuple(dict.fromkeys(ids[i] for i in where)) if ids else ()
            found.append(Exclusion(int(run), _REASONS[code - 1], names, len(where)))
    return found
