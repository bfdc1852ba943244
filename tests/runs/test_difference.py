"""What differs between two records is named once, in the group where a reader looks for it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.runs import load_run
from llmeval.runs.difference import ABSENT, Difference, diff_manifests, diff_results, diff_runs
from tests.support.manifests import MANIFEST, SUMMARY, metric, summary, write_manifest


def test_a_run_does_not_differ_from_itself_nor_from_its_like_at_another_time(
    tmp_path: Path,
) -> None:
    one = load_run(write_manifest(tmp_path, "one"))
    later = {"started": "2027-01-01T00:00:00+00:00", "performance": {"seconds": 3.0}}
    slower = {**SUMMARY, "seconds": {"total": 99.0}, "usage": {"cached": 8}}
    two = load_run(write_manifest(tmp_path, "two", slower, **later))
    assert diff_runs(one, one) == diff_runs(one, two) == []


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        *outer, last = path.split("/")
        for key in outer:
            manifest = manifest[key]
        manifest[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (put("options/limit", 5), ("command and options", "options.limit", None, 5)),
        (put("command", ["x"]), ("command and options", "command", MANIFEST["command"], ["x"])),
        (put("model/settings/dtype", "float16"), ("model", "settings.dtype", "auto", "float16")),
        (put("tasks/colours/version", "2"), ("tasks and data", "colours.version", "1", "2")),
        (
            put("environment/packages/numpy", "2.1.0"),
            ("packages", "numpy", "2.0.0", "2.1.0"),
        ),
        (put("environment/packages/torch", "3"), ("packages", "torch", ABSENT, "3")),
        (put("environment/code/dirty", "ab"), ("code", "code.dirty", None, "ab")),
        (put("environment/cpus", 64), ("machine", "cpus", 2, 64)),
    ],
)
def test_each_change_is_named_in_its_group(
    change: Callable[[dict[str, Any]], None], expected: tuple[Any, ...]
) -> None:
    changed = copy.deepcopy(MANIFEST)
    change(changed)
    assert diff_manifests(MANIFEST, changed) == [Difference(*expected)]
    group, name, before, after = expected
    assert diff_manifests(changed, MANIFEST) == [Difference(group, name, after, before)]


def test_a_package_that_the_model_names_as_well_is_named_once() -> None:
    def manifest(version: str) -> dict[str, Any]:
        changed = copy.deepcopy(MANIFEST)
        changed["model"]["versions"] = {"torch": version}
        changed["environment"]["packages"]["torch"] = version
        return changed

    assert diff_manifests(manifest("2"), manifest("3")) == [
        Difference("packages", "torch", "2", "3")
    ]


def test_a_data_set_that_changed_is_named_by_its_fingerprint() -> None:
    changed = copy.deepcopy(MANIFEST)
    changed["tasks"]["colours"]["data"][0]["rows"] = 9
    (found,) = diff_manifests(MANIFEST, changed)
    assert (found.group, found.name) == ("tasks and data", "colours.data.0.rows")


def test_numbers_differ_where_they_are_not_equal_to_the_last_bit() -> None:
    after = summary({"colours": {"acc": metric(0.5 + 1e-16 * 2)}, "shapes": {"acc": metric(1.0)}})
    found = diff_results(SUMMARY, after)
    assert [(one.name, one.before) for one in found] == [
        ("colours.acc.value", 0.5),
        ("shapes", ABSENT),
    ]


def test_a_killed_run_differs_by_all_its_numbers(tmp_path: Path) -> None:
    whole = load_run(write_manifest(tmp_path, "whole"))
    killed = load_run(write_manifest(tmp_path, "killed", None))
    assert {one.after for one in diff_runs(whole, killed)} == {ABSENT}


def test_absent_is_not_null_in_json() -> None:
    assert Difference("model", "seed", None, ABSENT).to_plain() == {
        **{"group": "model", "name": "seed"},
        "before": None,
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)
STRANGE = st.dictionaries(st.sampled_from(sorted(MANIFEST)), JSON)


@given(STRANGE, STRANGE)
def test_whatever_two_manifests_hold_they_are_compared(one: Any, two: Any) -> None:
    found = diff_manifests(one, two)
    assert all(d.before != d.after for d in found)
    assert len(diff_manifests(two, one)) == len(found)
    assert diff_manifests(one, one) == []
    json.dumps([d.to_plain() for d in found])
