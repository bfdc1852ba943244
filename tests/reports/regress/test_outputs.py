"""What is made of a night: JUnit, Markdown, JSON, a page; hostile text does nothing in any."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from llmeval.reports.regress.junit import render_junit
from llmeval.reports.regress.markdown import render_markdown
from llmeval.reports.regress.night import Night
from llmeval.reports.regress.page import render_night
from llmeval.reports.regress.plain import to_plain
from llmeval.reports.regress.settings import GateSettings
from tests.reports.regress.support import night_of, records, wrong
from tests.support.records import Item, items_of

HOSTILE = "<script>alert('x')</script> | ]]> & \x00\x1b[31m\ud800\ufffe **b** `c` \n## head"


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A night with every outcome, and with foreign text wherever it can be."""
    good, bad = [1.0] * 200, wrong(60, of=200)
    before = {name: items_of(good) for name in ("fine", "worse")}
    before |= {"few": items_of(good[:20]), "changed": items_of(good[:50])}
    evil = [replace(item, id=f"{item.id} {HOSTILE[:60]}", answer=HOSTILE) for item in items_of(bad)]
    before["worse"] = [replace(item, scores={"acc": 1.0}) for item in evil]
    after = {"fine": items_of(good), "worse": evil, "few": items_of(good[:20])}
    after |= {"changed": [Item(f"q{i}", {"acc": 1.0}, question=HOSTILE) for i in range(50)]}
    runs = records(tmp_path_factory.mktemp("night"), before, after, model=f"model {HOSTILE}")
    return night_of(runs, GateSettings(tolerance=0.03), stale="journaled")[0]


def test_junit_is_valid_and_comes_back(night: Night) -> None:
    text = render_junit(night)
    schema = etree.XMLSchema(etree.parse(str(Path(__file__).with_name("junit.xsd"))))
    schema.assertValid(etree.fromstring(text.encode()))
    suite = ET.fromstring(text.encode())[0]
    outcomes = {
        case.get("name"): [child.tag for child in case] for case in suite.findall("testcase")
    }
    assert outcomes == {
        "fine acc": [],
        "worse acc": ["failure"],
        "few acc": ["failure"],
        "changed acc": ["error"],
    }
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "4", "failures": "2", "errors": "1", "skipped": "0"}
    failure = suite.find("testcase[@name='worse acc']/failure")
    assert failure is not None and failure.text is not None
    assert "<script>" in failure.text  # as text, which the parser gave back


def test_an_undecided_task_that_may_pass_is_skipped(night: Night) -> None:
    lenient = replace(night, settings=GateSettings(inconclusive="pass"))
    suite = ET.fromstring(render_junit(lenient).encode())[0]
    skipped = suite.find("testcase[@name='few acc']/skipped")
    assert skipped is not None and "would" in str(skipped.get("message"))
    assert (suite.get("failures"), suite.get("skipped")) == ("1", "1")


def test_markdown_holds_no_markup_of_the_models(night: Night) -> None:
    text = render_markdown(night)
    assert text.startswith("## INVALID: ")
    assert "<script>" not in text
    lines = text.splitlines()
    assert "## head" not in lines
    table = [line for line in lines if line.startswith("| ")]
    assert {line.count("|") - line.count("\\|") for line in table[:6]} == {9}
    assert "capability" in text


def test_json_is_strict_and_says_everything(night: Night) -> None:
    plain = json.loads(json.dumps(to_plain(night), allow_nan=False))
    assert (plain["verdict"], plain["exit_code"]) == ("INVALID", 4)
    (model,) = plain["models"]
    verdicts = {unit["task"]: unit["verdict"] for unit in model["units"]}
    assert verdicts == {
        "fine": "PASS",
        "worse": "REGRESSED",
        "few": "INCONCLUSIVE",
        "changed": "INVALID",
    }
    worse = next(unit for unit in model["units"] if unit["task"] == "worse")
    assert worse["difference"]["value"] == pytest.approx(-0.3)
    assert worse["triage"]["tallies"][0]["lost"] == 60
    changed = next(unit for unit in model["units"] if unit["task"] == "changed")
    assert changed["fault"]["kind"] == "data changed"
    assert changed["difference"] is None


def test_the_page_escapes_what_models_say(night: Night) -> None:
    html = render_night(night)
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html
    assert "Content-Security-Policy" in html


def test_the_page_draws_the_tolerance_of_every_judged_unit(night: Night) -> None:
    assert render_night(night).count('class="limit"') == 3  # and none of what is invalid
