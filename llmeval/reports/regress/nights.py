"""What is kept from night to night: the evidence of each unit, and a line of history a night.

``state.json`` holds the log e-values of every night that counts. A night counts once, by its name
and by the id of its run; the evidence begins anew where what it is about changed: the pinned
baseline, the tolerance, the form of asking, the model's settings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmeval.core import fingerprint
from llmeval.reports.files import write_report
from llmeval.reports.regress.faults import Fault
from llmeval.reports.regress.pairing import Pairs
from llmeval.reports.regress.verdicts import Evidence, Key
from llmeval.runs.files import write_json
from llmeval.stats import clustered_stderr, combine_nights, night_evidence

STATE, HISTORY, LOCK = "state.json", "history.jsonl", "lock"
VERSION = 1

_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
_Number = Annotated[float, Field(allow_inf_nan=False)]


class CountedNight(BaseModel):
    """One night of one unit.

    Attributes:
        sd: of the paired differences; what the next nights are planned with.
        log_evidence: log e-values, one a bet.
    """

    model_config = _STRICT

    run_id: str
    night: str
    n: Annotated[int, Field(ge=1)]
    sd: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    log_evidence: Annotated[list[_Number], Field(min_length=1)]


class UnitState(BaseModel):
    """The nights of one unit since its evidence began.

    Attributes:
        about: digest of what the evidence is about; ``settings`` says it in words.
    """

    model_config = _STRICT

    model: str
    task: str
    metric: str
    about: str
    settings: dict[str, str]
    nights: list[CountedNight] = Field(default_factory=list)


class State(BaseModel):
    """Everything that is kept."""

    model_config = _STRICT

    version: Literal[1] = 1
    units: list[UnitState] = Field(default_factory=list)

    def find(self, key: Key) -> UnitState | None:
        """Return what is kept of a unit."""
        return next((u for u in self.units if (u.model, u.task, u.metric) == key), None)


@dataclass(frozen=True, slots=True)
class About:
    """What a unit's evidence is about: where any of it changes, evidence begins anew.

    Args:
        baseline: digest of the pinned scores.
        form: how it is asked.
        model: the model's name and settings.
    """

    baseline: str
    form: str
    model: str

    def of(self, pairs: Pairs) -> dict[str, str]:
        """Return everything by name, as texts."""
        return {
            "baseline": self.baseline,
            "tolerance": f"{pairs.tolerance!r}",
            "range": f"{pairs.range!r}",
            "form of asking": self.form,
            "model settings": self.model,
        }


def read_state(folder: Path) -> State | Fault:
    """Return what earlier nights left; a state that cannot be read is never begun anew silently."""
    path = folder / STATE
    mend = f"restore {path}, or move it away: the evidence over nights then begins anew"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return State()
    except (OSError, UnicodeDecodeError) as error:
        return Fault("nights unreadable", f"{path}: {error}", mend)
    try:
        plain = json.loads(text)
        if isinstance(plain, dict) and plain.get("version", VERSION) != VERSION:
            what = f"{path} has version {plain['version']!r}, this llmeval reads {VERSION}"
            return Fault("nights unreadable", what, "use the newer llmeval, or " + mend)
        state = State.model_validate(plain)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return Fault("nights unreadable", f"{path}: {place}: {first['msg']}", mend)
    except ValueError as error:
        return Fault("nights unreadable", f"{path} is not JSON: {error}", mend)
    if len({len(n.log_evidence) for u in state.units for n in u.nights}) > 1:
        return Fault("nights unreadable", f"{path}: nights have unequal numbers of bets", mend)
    return state


def write_state(folder: Path, state: State) -> None:
    """Keep a state: a reader sees the old one or the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / STATE, state.model_dump())


def count_night(
    state: State,
    key: Key,
    pairs: Pairs,
    about: About,
    *,
    run_id: str,
    night: str,
    threshold: float,
    why_not: str | None = None,
) -> tuple[UnitState, Evidence]:
    """Add a night to a unit's evidence, unless it is counted already.

    Args:
        threshold: where an alarm stands.
        why_not: a reason why this run is no evidence; earlier nights still speak.
    """
    said = about.of(pairs)
    kept, begun_anew = _continue(state.find(key), key, said)
    nights = list(kept.nights)
    known = run_id in {n.run_id for n in nights}
    if not known and why_not is None and night in {n.night for n in nights}:
        why_not = f"night {night} counts already, with another run"
    if not known and why_not is None:
        nights.append(_weigh(pairs, run_id, night))
    kept = kept.model_copy(update={"nights": nights})
    e_value = combine_nights([n.log_evidence for n in nights]) if nights else 1.0
    return kept, Evidence(
        e_value=e_value,
        threshold=threshold,
        nights=len(nights),
        since=nights[0].night if nights else None,
        counted=why_not is None,
        why_not=why_not,
        begun_anew=begun_anew,
    )


def _continue(
    kept: UnitState | None, key: Key, said: dict[str, str]
) -> tuple[UnitState, str | None]:
    """Return the evidence to go on with, and why it begins anew where it does."""
    about = fingerprint(said)
    if kept is not None and kept.about == about:
        return kept, None
    model, task, metric = key
    fresh = UnitState(model=model, task=task, metric=metric, about=about, settings=said)
    if kept is None or not kept.nights:
        return fresh, None
    changed = [name for name in said if said[name] != kept.settings.get(name)]
    return fresh, f"{' and '.join(changed) or 'what is kept'} changed"


def _weigh(pairs: Pairs, run_id: str, night: str) -> CountedNight:
    evidence = night_evidence(pairs.differences, pairs.tolerance, pairs.bounds)
    n = len(pairs.differences)
    return CountedNight(
        run_id=run_id, night=night, n=n, sd=_spread(pairs), log_evidence=evidence.tolist()
    )


def _spread(pairs: Pairs) -> float:
    """Return the SD of the differences; of clustered ones, what independent ones would have."""
    n = len(pairs.differences)
    if pairs.clusters is not None:
        return (clustered_stderr(pairs.differences, pairs.clusters) or 0.0) * math.sqrt(n)
    return float(pairs.differences.std(ddof=1)) if n > 1 else 0.0


def write_history(folder: Path, night: str, line: Mapping[str, Any]) -> None:
    """Keep one line a night: that of a night which is judged again is replaced.

    Lines that cannot be read stay as they are.
    """
    path = folder / HISTORY
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    kept = [text for text in lines if text.strip() and not _is_of(text, night)]
    new = json.dumps(line, ensure_ascii=False, allow_nan=False)
    write_report(path, "".join(f"{text}\n" for text in [*kept, new]))


def _is_of(line: str, night: str) -> bool:
    try:
        plain = json.loads(line)
    except ValueError:
        return False
    return isinstance(plain, dict) and plain.get("night") == night


def keep_units(state: State, units: Sequence[UnitState]) -> State:
    """Return a state in which some units are replaced or added."""
    new = {(u.model, u.task, u.metric): u for u in units}
    kept = {(u.model, u.task, u.metric): u for u in state.units} | new
    return State(units=list(kept.values()))


def leave_out(state: State, night: str) -> State:
    """Return a state as it would be without a night."""
    units = [
        unit.model_copy(update={"nights": [n for n in unit.nights if n.night != night]})
        for unit in state.units
    ]
    return State(units=units)


def forget_nights(state: State) -> State:
    """Return a state without any night: evidence begins anew."""
    return State(units=[unit.model_copy(update={"nights": []}) for unit in state.units])
