"""The nightly file: checked where it comes in, and a pin changes nothing else in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmeval.core import UsageError
from llmeval.nightly.file import Nightly, read_nightly, write_pin
from llmeval.reports.regress.baseline import Pin
from llmeval.reports.regress.settings import GateSettings
from tests.support.shared import ROOT

DIGEST = "0123456789abcdef" * 2
PIN: dict[str, Any] = {"path": "results/x", "digest": DIGEST}


def read(folder: Path, text: str) -> Nightly:
    path = folder / "nightly.yaml"
    path.write_text(text)
    return read_nightly(path)


def test_what_a_file_says(tmp_path: Path) -> None:
    text = """
    model: pocket
    baseline: results/a
    tasks: [gsm8k, mmlu]
    options: {limit: 50, num_fewshot: 5}
    tolerance: 0.03
    tolerances: {gsm8k: 0.05, mmlu: {acc: 0.01}}
    ranges: {ppl: [1, 100]}
    alpha: 0.1
    inconclusive: pass
    """
    nightly = read(tmp_path, text)
    assert nightly.name == "nightly"
    assert [entry.pin for entry in nightly.file.all_models] == [Pin("results/a")]
    gate = nightly.file.gate()
    assert (gate.alpha, gate.inconclusive) == (0.1, "pass")
    assert gate.tolerance_of("gsm8k", "exact_match") == 0.05
    assert gate.tolerance_of("mmlu", "acc") == 0.01
    assert gate.tolerance_of("other", "acc") == 0.03
    assert gate.range_of("ppl", 3, 4) == (1, 100)


def test_the_shortest_file_has_the_defaults_of_the_gate(tmp_path: Path) -> None:
    assert read(tmp_path, "{model: pocket, tasks: [pocket]}").file.gate() == GateSettings()


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("model: m\n", 1, "field 'tasks': it is missing"),
        ("tasks: [a]\n", 1, "no model is named"),
        ("model: m\ntasks: []\n", 2, "field 'tasks'"),
        ("model: m\ntasks: [a]\ntolerance: 0\n", 3, "field 'tolerance'"),
        ("model: m\ntasks: [a]\ntolerances:\n  a: {acc: -1}\n", 4, "field 'tolerances.a"),
        ("model: m\ntasks: [a]\nalpha: 0.7\n", 3, "field 'alpha'"),
        ("model: m\ntasks: [a]\nbaselin: x\n", 3, "did you mean 'baseline'"),
        ("model: m\ntasks: [a]\nmodels: [{model: k}]\n", 1, "beside a single model"),
        ("models: [{model: k}, {model: k}]\ntasks: [a]\n", 1, "two models are called 'k'"),
        ("model: openai:x\nmodel_settings:\n  bas_url: y\ntasks: [a]\n", 3, "bas_url"),
        ("model: m\ntasks: [a]\nranges: {b: [1, 0]}\n", 1, "the range of b is empty"),
        ("model: m\ntasks: [a]\nbaseline: {path: x, digest: zz}\n", 3, "field 'baseline"),
        ("model: m\ntasks: [a]\ninconclusive: maybe\n", 3, "field 'inconclusive'"),
        ("model: m\ntasks: [a]\nname: ../up\n", 3, "use letters, digits"),
        (f"model: m\ntasks: [a]\nname: {'a' * 61}\n", 3, "use letters, digits"),
        ("- a\n", 1, "FIELD: VALUE`; see docs/nightly.md"),
        ("model: m\ntasks: [a]\nzzzz: 1\n", 3, "unknown field (see docs/nightly.md)"),
        ("model: m\ntasks: [a]\nsentinel: {items: 0}\n", 3, "field 'sentinel.items'"),
    ],
)
def test_an_error_names_file_line_and_field(
    tmp_path: Path, text: str, line: int, what: str
) -> None:
    with pytest.raises(UsageError) as raised:
        read(tmp_path, text)
    assert str(raised.value).startswith(f"{tmp_path / 'nightly.yaml'}:{line}: ")
    assert what in str(raised.value)


PINS = [
    ("model: m  # mine\ntasks: [a]\n", "m"),
    ("# top\nmodel: m\nbaseline: old  # keep\ntasks: [a]\n", "m"),
    ("model: m\nbaseline:\n  path: a/b\n  digest: null\n# after\ntasks: [a]\n", "m"),
    ("model: m\nbaseline:\ntasks: [a]\n", "m"),
    ("tasks: [a]\nmodel: m\nbaseline:\n  path: a/b\n  repeats:\n    - x\n    - y\n", "m"),
    ("tasks: [a]\nmodel: m", "m"),
    (
        "tasks: [a]\nmodels:\n- model: k\n  baseline: q\n- model: m\n  name: mm\n  baseline:\n"
        "    path: a\n\n  model_settings: {}\n# end\n",
        "mm",
    ),
    ("tasks: [a]\nmodels:\n  - {model: k}\n  - {model: m}\n", "m"),
]


@pytest.mark.parametrize(("text", "label"), PINS)
def test_a_pin_changes_nothing_but_the_baseline(tmp_path: Path, text: str, label: str) -> None:
    before = read(tmp_path, text)
    after = read(tmp_path, write_pin(before, label, PIN))
    pins = {entry.label: entry.pin for entry in after.file.all_models}
    assert pins.pop(label) == Pin("results/x", DIGEST)
    others = {e.label: e.pin for e in before.file.all_models if e.label != label}
    assert pins == others
    comments = [line.partition("#")[2] for line in text.splitlines() if "#" in line]
    written = after.path.read_text()
    assert all(f"#{comment}" in written for comment in comments)
    again = read(tmp_path, write_pin(after, label, PIN))
    assert again.path.read_text() == written


def test_a_pin_with_repeats(tmp_path: Path) -> None:
    before = read(tmp_path, "{model: m, tasks: [a]}")
    after = read(tmp_path, write_pin(before, "m", {**PIN, "repeats": ["r/1", "r/2"]}))
    assert after.file.all_models[0].pin == Pin("results/x", DIGEST, ("r/1", "r/2"))


def test_the_files_that_the_documentation_shows_are_right(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "nightly.md").read_text()
    one, several = (part.partition("```")[0] for part in text.split("```yaml\n")[1:])
    nightly = read(tmp_path, one)
    assert nightly.file.gate().metrics_of("gsm8k") == ("exact_match,flexible-extract",)
    both = read(tmp_path, several + "tasks: [gsm8k]\n")
    assert [entry.label for entry in both.file.all_models] == ["openai:gpt-4o-mini", "ours"]
