"""What a page says of a run, and of two."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from llmeval.core import Score, TaskGroup, UsageError
from llmeval.core.metrics import GroupMetric
from llmeval.reports.view import write_page
from llmeval.reports.view.content import describe_run, list_findings
from llmeval.runs import Run
from tests.reports.view.samples import choice, completion, hostile_items
from tests.support import hostile
from tests.support.records import Item, items_of, write_record


def page_of(*runs: Run, **options: Any) -> str:
    return "".join(write_page(runs, **options))


def text_of(html: str) -> str:
    body = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def packed(html: str, name: str) -> Any:
    found = re.search(rf'id="{name}">([^<]*)</script>', html)
    assert found is not None
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


def amend(run: Run, **about: Any) -> Run:
    """Write values into both JSON files of a record."""
    for name in ("summary.json", "manifest.json"):
        path = run.path / name
        path.write_text(json.dumps(json.loads(path.read_text()) | about))
    return Run(run.path)


def test_the_numbers_stand_with_their_interval_n_and_coverage(tmp_path: Path) -> None:
    lost = Item("x", {"acc": Score("acc", status="unscored", reason="no answer found")})
    run = write_record(tmp_path / "r", {"quiz": [*items_of([1.0, 1.0, 0.0]), lost]}, model="mine")
    text = text_of(page_of(run))
    # Wilson's interval: statsmodels' proportion_confint(2, 3, method="wilson")
    assert "quiz acc ↑ 0.667 0.208 … 0.939 3 75.0% 0" in text
    assert "quiz, acc: 1 of 4 not scored: unscored: no answer found (1)" in text
    assert text.startswith("mine · llmeval llmeval run mine complete")


def test_groups_come_before_their_subtasks(tmp_path: Path) -> None:
    group = TaskGroup("all", ("a", "b"), ("a", "b"), (GroupMetric("acc"),))
    tasks = {"a": items_of([1.0, 0.0]), "b": items_of([1.0, 1.0])}
    html = page_of(write_record(tmp_path / "r", tasks, groups=[group]))
    names = re.findall(r'<th scope="row"(?: class="([^"]*)")?[^>]*>(\w+)</th>', html)
    assert names[:3] == [("strong", "all"), ("in-1", "a"), ("in-1", "b")]


@pytest.mark.parametrize(
    ("status", "words"),
    [("interrupted", "stopped before its end"), ("invalid", "must not be used")],
)
def test_a_run_that_is_not_complete_says_what_that_means(
    tmp_path: Path, status: str, words: str
) -> None:
    run = write_record(tmp_path / "r", {"t": items_of([1.0])}, status=status)
    assert words in text_of(page_of(run))


def test_findings_stand_first_with_what_to_do_and_lead_to_samples(tmp_path: Path) -> None:
    run = write_record(tmp_path / "r", {"t": [Item("a/b", {"acc": 1.0})]})
    summary = run.summary
    about = {"check": "c", "count": 1, "n": 1}
    summary["health"] = [
        {**about, "severity": "warning", "what": "all is odd", "mend": "look", "examples": []}
    ]
    summary["tasks"]["t"]["health"] = [
        {
            **about,
            "severity": "error",
            "what": "it is broken",
            "mend": "mend it",
            "examples": ["a/b"],
        }
    ]
    assert [one["task"] for one in list_findings(summary)] == ["t", None]
    html = page_of(amend(run, **summary))
    text = text_of(html)
    assert text.index("t : it is broken. Mend it.") < text.index("all is odd. Look.")
    assert text.index("all is odd") < text.index("Results task")
    assert '<a href="#t/a%2Fb">a/b</a>' in html


def test_how_a_run_was_made_is_told(tmp_path: Path) -> None:
    run = write_record(tmp_path / "r", {"t": items_of([1.0])}, usage={"usd": 1.25, "requests": 1})
    code = {"revision": "0123456789abcdef", "dirty": "ff"}
    run = amend(
        run,
        started="2026-03-04T05:06:07+00:00",
        command=["-m", "a b", "-t", "t"],
        environment={"python": "3.11.7", "cpus": 2, "code": code, "packages": {"numpy": "2"}},
    )
    told = describe_run(run)
    facts = dict(told["facts"]) | dict(told["details"])
    assert facts["when"] == "04 March 2026, 05:06 UTC"
    assert facts["command"] == "llmeval run -m 'a b' -t t"
    assert facts["code"] == "0123456789ab, with changes of its own"
    assert facts["cost"] == "$1.25"
    assert facts["packages"] == "numpy 2"


def test_a_page_holds_every_sample(tmp_path: Path) -> None:
    items = [choice(str(i), [-1.0, -2.0, -3.0, -4.0], i % 4) for i in range(30)]
    html = page_of(write_record(tmp_path / "r", {"t": items}))
    index = packed(html, "index")
    assert index["id"] == [str(i) for i in range(30)]
    assert [item[0]["id"] for item in packed(html, "chunk-0")] == index["id"]


def test_panels_stand_only_where_there_are_data(tmp_path: Path) -> None:
    plain = text_of(page_of(write_record(tmp_path / "r", {"t": items_of([1.0] * 60)})))
    assert "Slices" not in plain
    assert "Calibration" not in plain
    items = [
        choice(str(i), [-1.0, -2.0, -3.0, -4.0], i % 4, metadata={"half": i % 2}) for i in range(60)
    ]
    full = text_of(page_of(write_record(tmp_path / "s", {"t": items})))
    assert "t, acc by half" in full
    assert "the picked choice's share of the choices' probability" in full
    assert "n 60" in full


def test_hostile_texts_add_no_element_to_a_page(tmp_path: Path) -> None:
    name = hostile.EVERYTHING.replace(hostile.SURROGATE, "")
    run = write_record(
        tmp_path / "r", {name: hostile_items()}, model=name, options={"system_instruction": name}
    )
    html = page_of(run)
    scripts = re.findall(r"<script[^>]*>", html)
    assert all(re.fullmatch(r'<script type="[\w/.-]+"( id="[\w-]+"| async)>', s) for s in scripts)
    assert "<img" not in html
    assert "window.harmed = &#39;script&#39;" in html  # it stands there as text
    html.encode("utf-8")


def test_two_runs_say_what_changed(tmp_path: Path) -> None:
    before = write_record(tmp_path / "a", {"t": items_of([0.0] * 20 + [1.0] * 20)}, model="old")
    after = write_record(tmp_path / "b", {"t": items_of([1.0] * 39 + [0.0])}, model="new")
    text = text_of(page_of(before, after))
    assert "old → new" in text
    assert "t acc ↑ 0.500 0.975 +0.475" in text
    assert re.search(r"\+0\.475 \S+ … \S+ 1 20 \S+ 40 better", text)


def test_runs_that_were_asked_differently_are_compared_on_demand_only(tmp_path: Path) -> None:
    one = write_record(tmp_path / "a", {"t": items_of([0.0, 1.0])}, model="m", num_fewshot=0)
    other = write_record(tmp_path / "b", {"t": items_of([0.0, 1.0])}, model="m", num_fewshot=5)
    with pytest.raises(UsageError, match="--across-forms"):
        page_of(one, other)
    assert "What changed" in text_of(page_of(one, other, across_forms=True))


def test_an_invalid_run_beside_another_has_samples_and_no_numbers(tmp_path: Path) -> None:
    good = write_record(tmp_path / "a", {"t": items_of([0.0, 1.0])}, model="good")
    bad = write_record(tmp_path / "b", {"t": items_of([0.0, 1.0])}, model="bad", status="invalid")
    text = text_of(page_of(good, bad))
    assert "b is invalid" in text
    assert "p (Holm)" not in text


def test_a_chat_of_one_run_is_shown_once_for_both(tmp_path: Path) -> None:
    runs = [
        write_record(tmp_path / name, {"t": [completion("x", name, 1.0)]}, model=name)
        for name in ("a", "b")
    ]
    (item,) = packed(page_of(*runs), "chunk-0")
    assert item[0]["prompt"] == item[1]["prompt"]
    assert [side["exchanges"][0]["response"]["text"] for side in item] == ["a", "b"]


def test_records_with_next_to_nothing_have_pages(tmp_path: Path) -> None:
    empty = write_record(tmp_path / "empty", {"t": []}, status="interrupted")
    silent = write_record(tmp_path / "silent", {"t": [Item("1", {"acc": 1.0}, exchanges=[])]})
    unjudged = write_record(tmp_path / "unjudged", {"t": [Item("1", {})]})
    assert packed(page_of(empty), "index")["id"] == []
    for run in (silent, unjudged):
        assert packed(page_of(run), "index")["id"] == ["1"]


def test_a_record_of_before_items_had_digests_has_a_page_of_its_own_only(tmp_path: Path) -> None:
    new, old = (write_record(tmp_path / n, {"t": items_of([1.0, 0.0])}, model=n) for n in "ab")
    for name in ("samples.parquet", "scores.parquet"):
        table = pq.read_table(old.path / name).drop_columns(["content", "asked"])
        pq.write_table(table, old.path / name)
    old = Run(old.path)
    assert packed(page_of(old), "index")["id"] == ["q0", "q1"]
    with pytest.raises(UsageError, match="an older llmeval wrote it"):
        page_of(new, old)
