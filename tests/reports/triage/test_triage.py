"""Every item that moved gets a cause, on both sides, and they add up to the drop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmeval.core import Score
from llmeval.reports.regress.words import list_examples
from llmeval.reports.scores import read_scores
from llmeval.reports.triage import Triage, triage
from llmeval.reports.triage.changes import find_changes
from llmeval.runs.files import write_json
from tests.support.records import Item, items_of, write_record

REFUSAL = "I'm sorry, but I can't help with that."
ERRORED = Score("acc", status="errored", reason="the server gave no answer")


def triage_of(folder: Path, before: list[Item], after: list[Item]) -> Triage:
    runs = [
        write_record(folder / "before", {"task": before}),
        write_record(folder / "after", {"task": after}),
    ]
    return triage(read_scores(runs, names=True), ["task"], "acc")


def counts(found: Triage) -> dict[str, tuple[int, int]]:
    return {tally.cause: (tally.lost, tally.gained) for tally in found.tallies}


def test_causes_of_lost_and_gained_items(tmp_path: Path) -> None:
    before = items_of([1.0] * 30 + [0.0] * 10)
    before[32] = replace(before[32], answer=REFUSAL)
    after = items_of([1.0] * 30 + [0.0] * 10)
    for i in range(4):
        after[i] = replace(after[i], scores={"acc": 0.0}, answer=REFUSAL)
    for i in range(4, 6):
        after[i] = replace(after[i], scores={"acc": ERRORED})
    for i in range(6, 9):
        after[i] = replace(after[i], scores={"acc": 0.0})
    after[9] = replace(after[9], scores={"acc": 0.0}, question="another row")
    after[10] = replace(after[10], scores={"acc": 0.0}, prompt="asked otherwise")
    for i in (32, 33):
        after[i] = replace(after[i], scores={"acc": 1.0})
    found = triage_of(tmp_path, before, after)
    assert counts(found) == {
        "error": (2, 0),
        "data change": (1, 0),
        "prompt change": (1, 0),
        "refusal": (4, 1),
        "capability": (3, 1),
    }
    assert (found.items, found.lost, found.gained) == (40, 11, 2)
    assert found.drop == pytest.approx(9 / 40)
    assert found.says.startswith("first of several causes: refusal")


def test_an_empty_answer_is_no_lack_of_capability_and_is_shown_as_empty(tmp_path: Path) -> None:
    after = items_of([0.0] * 20, answer="")
    after[0] = replace(after[0], answer=" \n ")
    found = triage_of(tmp_path, items_of([1.0] * 20), after)
    assert counts(found) == {"empty answer": (20, 0)}
    assert found.says == "mostly empty answer (100% of the net drop): 20 of 20 lost items are empty"
    shown = list_examples(found)
    assert shown[0].startswith("empty answer (blanks only), task q0")
    assert shown[1].startswith("empty answer (no text), task q1")


def test_both_empty_is_not_why_one_is_worse(tmp_path: Path) -> None:
    found = triage_of(tmp_path, items_of([1.0], answer=""), items_of([0.0], answer=""))
    assert counts(found) == {"capability": (1, 0)}


def test_what_could_not_be_judged_is_not_called_worse(tmp_path: Path) -> None:
    unscored = Score("acc", status="unscored", reason="not learned: 40 items at most")
    after = items_of([0.0] * 10)
    after = [replace(item, scores={"acc": unscored}) for item in after]
    found = triage_of(tmp_path, items_of([1.0] * 10), after)
    assert counts(found) == {"not scored": (10, 0)}
    assert "have an answer that could not be judged (not learned: 40 items at" in found.says
    assert list_examples(found)[0].startswith("not scored (not learned: 40 items at most)")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=25))
def test_the_causes_add_up_to_the_drop(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[bool, bool, bool]]
) -> None:
    before = items_of([float(b) for b, _, _ in rows])
    after = [
        replace(item, answer=REFUSAL if refused else "x")
        for item, (_, _, refused) in zip(
            items_of([float(a) for _, a, _ in rows]), rows, strict=True
        )
    ]
    found = triage_of(tmp_path_factory.mktemp("t"), before, after)
    drop = sum(b - a for b, a, _ in rows) / len(rows)
    assert found.drop == pytest.approx(drop)
    assert sum(tally.net for tally in found.tallies) == pytest.approx(drop)
    if drop > 0:
        shares = [tally.share for tally in found.tallies if tally.share is not None]
        assert sum(shares) == pytest.approx(1.0)


def test_without_a_drop_nothing_is_explained(tmp_path: Path) -> None:
    found = triage_of(tmp_path, items_of([0.0, 1.0]), items_of([1.0, 1.0]))
    assert found.says == "no item is worse on balance"
    assert found.tallies[0].share is None


def test_what_the_server_said_that_it_was_is_compared(tmp_path: Path) -> None:
    items = {"task": items_of([1.0] * 10)}
    worse = {"task": items_of([0.0] * 10)}
    runs = [write_record(tmp_path / "a", items), write_record(tmp_path / "b", worse)]
    for run, version in zip(runs, ("gpt-x-1", "gpt-x-2"), strict=True):
        manifest = {**run.manifest, "performance": {"answered_by": {version: 10}}}
        manifest["model"] = {**manifest["model"], "identity": {"tokenizer": version}}
        write_json(run.path / "manifest.json", manifest)
    fresh = [type(run)(run.path) for run in runs]
    changes = find_changes(*fresh)
    found = triage(read_scores(fresh, names=True), ["task"], "acc", changes=changes)
    assert [change.kind for change in changes] == [
        "model at the provider",
        "tokenizer or chat template",
    ]
    assert "gpt-x-1 -> gpt-x-2" in found.says
