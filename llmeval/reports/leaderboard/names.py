"""What rows are called: by their model, and by what tells them apart where models share a name."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from llmeval.reports.leaderboard.entries import Entry

_SHOWN = 2  # settings in a name
_LONGEST = 24  # letters of a setting's value


def name_rows(entries: Sequence[Entry], *, all_runs: bool) -> list[str]:
    """Return a name for each row that no other has.

    Rows of one model are told apart by their run where every run has a row; else by the settings
    in which the models differ, by the beginning of the fingerprint where those are too many, and
    by the run's id and folder where that is the same.

    Args:
        entries: one run of each row.
    """
    names = [_call(entry) for entry in entries]
    details = [] if all_runs else [_tell_settings(entries, names)]
    if not all_runs:
        details.append([entry.fingerprint[:6] for entry in entries])
    details.append([entry.run_id for entry in entries])
    details.append([f"#{number}" for number in range(1, len(entries) + 1)])
    for told in details:
        counts = Counter(names)
        names = [
            f"{name} {detail}" if counts[name] > 1 and detail else name
            for name, detail in zip(names, told, strict=True)
        ]
    return names


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


def _flatten(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return settings by name; what one resolved to stands for how it was given."""
    given = settings.get("settings")
    flat = dict(given) if isinstance(given, Mapping) else {}
    flat |= {key: value for key, value in settings.items() if not isinstance(value, Mapping)}
    return {key: str(value)[:_LONGEST] for key, value in flat.items() if value is not None}
