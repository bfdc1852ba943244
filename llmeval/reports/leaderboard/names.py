"""What rows are called: by their model, and by what tells them apart where models share a name."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from llmeval.reports.leaderboard.entries import Entry

_MOMENT = re.compile(r"\d{8}-\d{6}(?=-)")  # an id of a run begins with its time
_SHOWN = 2  # settings in a name
_LONGEST = 24  # letters of a setting's value


def name_rows(entries: Sequence[Entry]) -> list[str]:
    """Return a name for each row that no other has.

    Rows of one model are told apart by the settings in which the models differ, by the beginning of
    the fingerprint where those are too many, and by when the run began where that is the same.

    Args:
        entries: one run of each row.
    """
    names = [_call(entry) for entry in entries]
    names = _add(names, _tell_settings(entries, names))
    names = _add(names, _tell_fingerprints(entries, names))
    moments = [_MOMENT.match(entry.run_id) for entry in entries]
    names = _add(names, [m[0] if m else e.run_id for m, e in zip(moments, entries, strict=True)])
    names = _add(names, [entry.run_id.rpartition("-")[2] for entry in entries])
    return _add(names, [f"#{number}" for number in range(1, len(entries) + 1)])


def _add(names: Sequence[str], details: Sequence[str]) -> list[str]:
    """Add what tells names apart to those that are there more than once."""
    counts = Counter(names)
    return [
        f"{name} {detail}" if counts[name] > 1 and detail else name
        for name, detail in zip(names, details, strict=True)
    ]


def _call(entry: Entry) -> str:
    tool = (entry.imported or "").partition(" ")[0]
    return f"{entry.model} ({tool})" if tool else entry.model


def _tell_settings(entries: Sequence[Entry], names: Sequence[str]) -> list[str]:
    """Return ``dtype=bfloat16`` for models of one name that differ in a setting or two."""
    alike = defaultdict(list)
    for number, name in enumerate(names):
        alike[name].append(number)
    told = [""] * len(entries)
    for numbers in alike.values():
        settings = [_flatten(entries[number].settings) for number in numbers]
        keys = dict.fromkeys(key for each in settings for key in each)
        differing = [key for key in keys if len({each.get(key) for each in settings}) > 1]
        if not 0 < len(differing) <= _SHOWN:
            continue
        for number, each in zip(numbers, settings, strict=True):
            told[number] = " ".join(f"{key}={each.get(key, 'none')}" for key in differing)
    return told


def _tell_fingerprints(entries: Sequence[Entry], names: Sequence[str]) -> list[str]:
    """Return the beginnings of fingerprints where models of one name have several."""
    known = defaultdict(set)
    for name, entry in zip(names, entries, strict=True):
        known[name].add(entry.fingerprint)
    pairs = zip(names, entries, strict=True)
    return [entry.fingerprint[:6] if len(known[name]) > 1 else "" for name, entry in pairs]


def _flatten(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return settings by name; what one resolved to stands for how it was given."""
    given = settings.get("settings")
    flat = dict(given) if isinstance(given, Mapping) else {}
    flat |= {key: value for key, value in settings.items() if not isinstance(value, Mapping)}
    return {key: str(value)[:_LONGEST] for key, value in flat.items() if value is not None}
