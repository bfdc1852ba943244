"""What changed between two versions of a split: rows added, removed, changed."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmeval.core.errors import UsageError
from llmeval.core.hashes import canonical_json, digest
from llmeval.data.fingerprint import Rows, canonical_value, decoded_rows

Row = Mapping[str, Any]
Pair = tuple[int, int]

# Columns that may name a row, the likeliest first.
_KEY_NAMES = [re.compile(p) for p in ("_?id", "(uu|gu|u|q)id", "key", ".*_id", "idx", "index")]
_ALIKE = 0.5  # share of equal columns from which two rows are versions of one another


@dataclass(frozen=True, slots=True)
class NumberedRow:
    """A row and its position in its split, counted from 0."""

    index: int
    row: Row


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """One row before and after, and the columns that differ."""

    key: Any
    before: NumberedRow
    after: NumberedRow
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DataDiff:
    """The difference of two splits; `rule` says how changed rows were recognised."""

    rows_before: int
    rows_after: int
    unchanged: int
    reordered: bool
    added: list[NumberedRow]
    removed: list[NumberedRow]
    changed: list[ChangedRow]
    rule: str

    @property
    def same(self) -> bool:
        """Whether both hold the same rows in the same order, so that fingerprints are equal."""
        return not (self.added or self.removed or self.changed or self.reordered)


def diff(before: Rows, after: Rows, *, key: str | None = None) -> DataDiff:
    """Compare two splits row by row.

    Rows with equal canonical form are the same row, wherever they stand and as often as they occur.
    Of the others, two are versions of one row where they agree in the key column: `key`, else an
    id-like column with a distinct value in every row of both. Without one they are where they stand
    at the same position (equal row counts), or where at least half of their columns agree.

    Raises:
        UsageError: `key` is not a column of both, or does not tell all rows apart.
    """
    old, new = list(decoded_rows(before)), list(decoded_rows(after))
    kept = _match_equal(_digests(old), _digests(new))
    kept_old, kept_new = {i for i, _ in kept}, {j for _, j in kept}
    left_old = [i for i in range(len(old)) if i not in kept_old]
    left_new = [j for j in range(len(new)) if j not in kept_new]
    column = _checked_key(key, old, new) if key else _find_key(old, new)
    if column:
        rule = f"same {column}"
        pairs = _match_keys(old, new, left_old, left_new, column)
    elif len(old) == len(new):
        rule = "same position"
        both = set(left_old) & set(left_new)
        pairs = [(i, i) for i in left_old if i in both]
    else:
        rule = "at least half of the columns equal"
        pairs = _match_alike(old, new, left_old, left_new)
    paired_old, paired_new = {i for i, _ in pairs}, {j for _, j in pairs}
    return DataDiff(
        rows_before=len(old),
        rows_after=len(new),
        unchanged=len(kept),
        reordered=[j for _, j in kept] != sorted(kept_new),
        added=[NumberedRow(j, new[j]) for j in left_new if j not in paired_new],
        removed=[NumberedRow(i, old[i]) for i in left_old if i not in paired_old],
        changed=[_changed(old, new, i, j, column) for i, j in pairs],
        rule=rule,
    )


def _digests(rows: Sequence[Row]) -> list[str]:
    return [digest(canonical_json(canonical_value(row))) for row in rows]


def _match_equal(old: Sequence[str], new: Sequence[str]) -> list[Pair]:
    """Pair equal rows one to one, the first with the first; sorted by the old position."""
    places = defaultdict(list)
    for j in range(len(new) - 1, -1, -1):
        places[new[j]].append(j)
    return [(i, places[row].pop()) for i, row in enumerate(old) if places.get(row)]


def _key_values(rows: Sequence[Row], column: str) -> list[Any] | None:
    """Return the column's values where they are scalars, present and distinct, else None."""
    values = [row.get(column) for row in rows]
    if not all(isinstance(v, str | int) and not isinstance(v, bool) for v in values):
        return None
    return values if len(set(values)) == len(values) else None


def _find_key(old: Sequence[Row], new: Sequence[Row]) -> str | None:
    if not old or not new:
        return None
    columns = [name for name in old[0] if name in new[0]]
    for pattern in _KEY_NAMES:
        for name in columns:
            if (
                pattern.fullmatch(name.lower())
                and _key_values(old, name) is not None
                and _key_values(new, name) is not None
            ):
                return name
    return None


def _checked_key(key: str, old: Sequence[Row], new: Sequence[Row]) -> str:
    for side, rows in (("first", old), ("second", new)):
        if _key_values(rows, key) is None:
            counts = Counter(repr(row.get(key)) for row in rows)
            value, count = counts.most_common(1)[0]
            found = f"{value} stands in {count} rows" if count > 1 else f"it has {value}"
            raise UsageError(
                f"the column {key!r} does not tell the rows of the {side} apart: {found}",
                where="--key",
                mend="name a column of distinct strings or integers",
            )
    return key


def _match_keys(
    old: Sequence[Row],
    new: Sequence[Row],
    left_old: Sequence[int],
    left_new: Sequence[int],
    column: str,
) -> list[Pair]:
    places = {new[j][column]: j for j in left_new}
    return [(i, places[old[i][column]]) for i in left_old if old[i][column] in places]


def _match_alike(
    old: Sequence[Row], new: Sequence[Row], left_old: Sequence[int], left_new: Sequence[int]
) -> list[Pair]:
    """Pair each leftover row with the free one that shares most columns, the nearest on a tie."""
    fields_new = {j: _fields(new[j]) for j in left_new}
    holders: dict[tuple[str, bytes], list[int]] = defaultdict(list)
    for j, fields in fields_new.items():
        for field in fields:
            holders[field].append(j)
    pairs, taken = [], set()
    for i in left_old:
        fields = _fields(old[i])
        shared = Counter(j for field in fields for j in holders[field] if j not in taken)
        if not shared:
            continue
        best = min(shared, key=lambda j: (-shared[j], abs(i - j)))
        if shared[best] >= _ALIKE * max(len(fields), len(fields_new[best])):
            pairs.append((i, best))
            taken.add(best)
    return pairs


def _fields(row: Row) -> set[tuple[str, bytes]]:
    return {(k, canonical_json(canonical_value(v))) for k, v in row.items() if v is not None}


def _changed(
    old: Sequence[Row], new: Sequence[Row], i: int, j: int, column: str | None
) -> ChangedRow:
    differing = {name for name, _ in _fields(old[i]) ^ _fields(new[j])}
    names = dict.fromkeys([*old[i], *new[j]])
    return ChangedRow(
        key=old[i][column] if column else i,
        before=NumberedRow(i, old[i]),
        after=NumberedRow(j, new[j]),
        columns=tuple(name for name in names if name in differing),
    )
