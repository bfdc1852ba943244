"""The pages of `llmeval view` in a real browser, from files and from the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from llmeval.core import Score
from llmeval.reports.files import write_report
from llmeval.reports.view import write_page
from llmeval.reports.view.serve import Library, ViewServer
from llmeval.runs import Run
from tests.reports.view.samples import choice, completion, failure, hostile_items
from tests.support import hostile
from tests.support.browser import Watched, open_page, start_chromium
from tests.support.records import Item, write_record

Open = Callable[..., AbstractContextManager[Watched]]

TALLY = "document.querySelector('#tally').textContent"
QUIET = "!document.querySelector('#items').hasAttribute('aria-busy')"
OPEN = "Boolean(document.querySelector('#item')?.open)"
BACK = f"!{OPEN} && document.activeElement.id === 'items'"
LISTED = "[...document.querySelectorAll('.item .where')].map((n) => n.textContent.split(' · ')[1])"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with start_chromium() as browser:
        yield browser


def records(folder: Path, name: str, shift: float) -> Run:
    """Ten choices and five completions, half of them right; ``shift`` changes which."""
    colours = [
        choice(f"c{i}", [-1.0, -2.0, -3.0 + shift * (i % 3), -9.0], i % 2, metadata={"half": i % 2})
        for i in range(10)
    ]
    unread = Score("exact_match", status="unscored", reason="no number")
    sums = [
        completion("s0", f"The sum of {name} is forty-two.", 1.0),
        completion("s1", "The sum is forty.", 0.0 if shift else 1.0),
        completion("s2", "I am not sure.", unread),
        failure("s3", "the server left"),
        completion("s/4", "odd <id>", 1.0),
    ]
    return write_record(folder / name, {"colours": colours, "sums": sums}, model=f"model {name}")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("runs")
    return [records(folder, "a", 0.0), records(folder, "b", 2.5)]


@pytest.fixture(scope="module")
def filed(runs: list[Run], browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Open one run or both, in a page that holds everything."""
    folder = tmp_path_factory.mktemp("pages")
    urls = {
        count: write_report(folder / f"{count}.html", write_page(runs[:count])).as_uri()
        for count in (1, 2)
    }
    return lambda count=1, fragment="", **context: open_page(
        browser, urls[count] + fragment, **context
    )


@pytest.fixture(scope="module")
def served(runs: list[Run], browser: Browser) -> Iterator[Open]:
    """Open one run or both from the server."""
    with ViewServer(Library(runs, Path("unused"))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield lambda count=1, fragment="", **context: open_page(
            browser, server.url_of(runs[:count]) + fragment, **context
        )
        server.shutdown()
        thread.join()


@pytest.fixture(params=["filed", "served"])
def look(request: pytest.FixtureRequest) -> Open:
    """Open one run or both in either way."""
    opened: Open = request.getfixturevalue(request.param)
    return opened


def ready(watched: Watched) -> None:
    watched.wait("document.querySelectorAll('.item').length > 0")


def ids(watched: Watched) -> list[str]:
    """The ids of the samples that are listed, in order."""
    watched.wait(QUIET)
    return [text.split(" · ")[1] for text in watched.texts(".item .where")]


ALL = [*(f"c{i}" for i in range(10)), "s0", "s1", "s2", "s3", "s/4"]


# -- reading --------------------------------------------------------------------------------------


def test_a_page_loads_without_a_complaint_and_asks_nobody_else(look: Open) -> None:
    for count in (1, 2):
        with look(count) as watched:
            ready(watched)
            assert ids(watched) == ALL
            assert watched.page.inner_text("#tally") == "15 samples"
            hosts = {url.split("/")[2] for url in watched.requests}
            assert len(hosts) == 1  # "" of a file, or the server
            assert watched.troubles == []


def test_the_table_of_results_sorts_both_ways_and_back(filed: Open) -> None:
    with filed() as watched:
        head = watched.page.locator("#results-table").get_by_role("columnheader", name="value")
        names = "#results-table tbody td:nth-child(2)"
        before = watched.texts(names)
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "descending"
        assert watched.texts(names) == ["exact_match ↑", "acc ↑"]
        head.get_by_role("button").press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        assert watched.texts(names) == ["acc ↑", "exact_match ↑"]
        head.get_by_role("button").press("Enter")
        assert head.get_attribute("aria-sort") is None
        assert watched.texts(names) == before


FILTERED: list[tuple[dict[str, str], list[str]]] = [
    ({"task": "sums (5)"}, ["s0", "s1", "s2", "s3", "s/4"]),
    ({"score": "wrong"}, ["c1", "c3", "c5", "c7", "c9"]),
    ({"score": "right", "task": "sums (5)"}, ["s0", "s1", "s/4"]),
    ({"status": "unscored"}, ["s2"]),
    ({"status": "errored"}, ["s3"]),
    ({"slice": "half: 1", "score": "right"}, []),
    ({"order": "worst first", "slice": "half: 0"}, ["c0", "c2", "c4", "c6", "c8"]),
    ({"order": "by id", "task": "sums (5)"}, ["s/4", "s0", "s1", "s2", "s3"]),
]


def test_samples_are_filtered_and_ordered(look: Open) -> None:
    with look() as watched:
        ready(watched)
        for choices, expected in FILTERED:
            for name, label in choices.items():
                watched.page.select_option(f"#by-{name}", label=label)
            watched.wait(f"{TALLY} === '{len(expected)} of 15 samples'")
            assert ids(watched) == expected, choices
            shown = watched.page.locator(".browser").inner_text()
            assert ("No sample matches." in shown) == (not expected)
            watched.page.get_by_role("button", name="Clear").click()
            watched.wait(f"{TALLY} === '15 samples'")
        watched.page.select_option("#by-score", "between")
        watched.page.fill("#low", "0.5")
        watched.wait(f"{TALLY} === '8 of 15 samples'")


SEARCHED: list[tuple[str, list[str]]] = [
    ("FORTY", ["s0", "s1"]),
    ("be careful", ["s0", "s1", "s2", "s/4"]),
    ("which is c7", ["c7"]),
    ("server left", ["s3"]),
    ("no number", ["s2"]),
    ("<id>", ["s/4"]),
    ("logprob", []),
]


def test_the_search_reads_prompts_answers_and_verdicts(look: Open) -> None:
    with look() as watched:
        ready(watched)
        for words, expected in SEARCHED:  # no two neighbours find the same
            watched.page.fill("#search", words)
            watched.wait(f"{QUIET} && {LISTED}.join() === '{','.join(expected)}'")
            assert watched.page.inner_text("#tally") == f"{len(expected)} of 15 samples"


def test_an_open_sample_shows_everything(filed: Open) -> None:
    with filed() as watched:
        ready(watched)
        watched.page.click(".item >> nth=1")
        watched.wait(OPEN)
        text = watched.page.inner_text("#item")
        assert "Question: which is c1?" in text
        assert "10 tokens" in text  # of the 12 that were read, two are the choice's
        rows = watched.texts(".choices tbody tr")
        assert rows[0].split("\t")[:3] == ["red", "-1.000", "2"]
        assert "picked: acc" in rows[0]
        assert rows[1].startswith("greenright")
        assert watched.page.inner_text("#item-place") == "2 of 15"


def test_a_chat_shows_its_turns_and_how_the_answer_ended(filed: Open) -> None:
    with filed(fragment="#sums/s0") as watched:
        watched.wait(OPEN)
        assert watched.texts(".turn .role") == ["system", "user"]
        assert watched.texts(".turn .text") == ["Be careful.", "What is s0?"]
        text = watched.page.inner_text("#item")
        assert "ended by stop" in text
        assert "The sum of a is forty-two." in text


def test_a_link_leads_to_a_sample_and_the_address_follows(look: Open) -> None:
    with look(fragment="#sums/s%2F4") as watched:
        watched.wait(OPEN)
        assert watched.page.inner_text("#item-title") == "s/4"
        watched.page.keyboard.press("Escape")
        watched.wait(f"!{OPEN}")
        watched.wait("location.hash === ''")
        watched.page.click(".item >> nth=0")
        watched.wait("location.hash === '#colours/c0'")
        watched.page.go_back()
        watched.wait(f"!{OPEN}")


def test_a_link_to_nothing_is_said(look: Open) -> None:
    with look(fragment="#sums/nowhere") as watched:
        watched.wait(f"{TALLY}.includes('no sample nowhere')")


def test_everything_can_be_done_by_keys(look: Open) -> None:
    with look() as watched:
        ready(watched)
        keys = watched.page.keyboard
        for key in ("j", "j", "k", "ArrowDown", "Enter"):
            keys.press(key)
        watched.wait(OPEN)
        assert watched.page.inner_text("#item-title") == "c2"
        keys.press("j")
        watched.wait("document.querySelector('#item-title').textContent === 'c3'")
        keys.press("ArrowLeft")
        watched.wait("document.querySelector('#item-title').textContent === 'c2'")
        keys.press("Escape")
        watched.wait(f"!{OPEN}")
        keys.press("End")
        active = "document.querySelector('#items').getAttribute('aria-activedescendant')"
        watched.wait(f"{active} === 'item-14'")
        keys.press("/")
        watched.wait("document.activeElement.id === 'search'")
        keys.type("jk?")  # letters, not commands
        assert watched.page.input_value("#search") == "jk?"
        keys.press("Escape")
        keys.press("?")
        watched.wait("document.querySelector('#help').open")


# -- two runs -------------------------------------------------------------------------------------


def test_flips_are_filtered_and_answers_stand_side_by_side(look: Open) -> None:
    with look(2) as watched:
        ready(watched)
        watched.page.select_option("#by-score", "lost")
        watched.wait(f"{TALLY} === '4 of 15 samples'")
        assert ids(watched) == ["c2", "c4", "c8", "s1"]
        watched.page.fill("#search", "forty")
        watched.wait(f"{TALLY} === '1 of 15 samples'")
        assert ids(watched) == ["s1"]
        assert watched.texts(".item .marks") == ["right\n→\nwrong\nlost"]


def test_the_words_that_differ_are_marked(filed: Open) -> None:
    with filed(2, "#sums/s0") as watched:
        watched.wait(OPEN)
        assert watched.texts(".columns h4") == ["model a", "model b"]
        assert watched.texts(".columns del") == ["a"]
        assert watched.texts(".columns ins") == ["b"]
        assert watched.texts(".chat .turn .role") == ["system", "user"]  # asked alike: once


def test_choices_of_both_runs_stand_in_one_table(filed: Open) -> None:
    with filed(2, "#colours/c2") as watched:
        watched.wait(OPEN)
        rows = watched.texts(".choices tbody tr")
        assert len(rows) == 4
        assert rows[0].count("picked: acc") == 1
        assert rows[2].count("picked: acc") == 1


# -- hostile texts --------------------------------------------------------------------------------


@pytest.mark.parametrize("served", [False, True])
def test_a_hostile_answer_does_nothing(tmp_path: Path, browser: Browser, served: bool) -> None:
    run = write_record(
        tmp_path / "run", {hostile.SCRIPT: hostile_items()}, model=hostile.HANDLER + hostile.SCRIPT
    )
    with ViewServer(Library([run], tmp_path)) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        url = server.url_of([run])
        if not served:
            url = write_report(tmp_path / "page.html", write_page([run])).as_uri()
        with open_page(browser, url) as watched:
            ready(watched)
            count = len(hostile_items())
            for at in range(count):
                watched.page.locator(".item").nth(at).click()
                watched.wait(f"document.querySelector('#item-place').textContent[0] === '{at + 1}'")
                for summary in watched.page.locator("#item-body summary").all():
                    summary.click()
                turned = "[...document.querySelectorAll('.page, dialog')].map((n) => n.textContent)"
                assert "\u202e" not in "".join(watched.page.evaluate(turned))
                watched.page.keyboard.press("Escape")
                watched.wait(BACK)
            watched.page.fill("#search", "</script>")
            watched.wait(f"{TALLY}.includes(' of ')")
            assert watched.page.evaluate("window.harmed") is None
            assert watched.page.locator("img, .item script, #item script").count() == 0
            assert watched.troubles == []
        server.shutdown()


def test_a_script_that_got_into_the_page_would_not_run(tmp_path: Path, browser: Browser) -> None:
    run = write_record(tmp_path / "run", {"t": [Item("1", {"acc": 1.0})]})
    html = "".join(write_page([run]))
    inside = "<script>window.harmed = 1</script><img src=x onerror='window.harmed = 2'>"
    path = tmp_path / "page.html"
    path.write_text(html.replace("<footer", f"{inside}<footer"))
    with open_page(browser, path.as_uri()) as watched:
        ready(watched)
        assert watched.page.evaluate("window.harmed") is None
        assert any("Content Security Policy" in trouble for trouble in watched.troubles)


def test_control_characters_are_shown_and_turn_nothing(tmp_path: Path, browser: Browser) -> None:
    items = [completion("b", hostile.BIDI, 1.0), completion("c", hostile.CONTROLS, 1.0)]
    run = write_record(tmp_path / "run", {"t": items})
    path = write_report(tmp_path / "page.html", write_page([run]))
    with open_page(browser, path.as_uri() + "#t/b") as watched:
        watched.wait(OPEN)
        assert watched.texts("#item .columns .control, #item section:last-of-type .control")
        assert "U+202E" in watched.page.inner_text("#item")
        assert "\u202e" not in watched.page.inner_text("body")
        watched.page.keyboard.press("j")
        watched.wait("document.querySelector('#item-title').textContent === 'c'")
        shown = watched.page.inner_text("#item")
        assert all(code in shown for code in ("U+0000", "U+001B", "U+2028", "U+0085"))


def test_a_long_answer_shows_its_beginning_first(tmp_path: Path, browser: Browser) -> None:
    answer = hostile.LONG[:42_000]
    run = write_record(tmp_path / "run", {"t": [completion("l", answer, 1.0)]})
    path = write_report(tmp_path / "page.html", write_page([run]))
    with open_page(browser, path.as_uri() + "#t/l") as watched:
        watched.wait(OPEN)
        blocks = "[...document.querySelectorAll('#item .text')].map((b) => b.textContent.length)"
        assert max(watched.page.evaluate(blocks)) == 20_000
        watched.page.get_by_role("button", name="Show all 42,000 characters").click()
        assert max(watched.page.evaluate(blocks)) == len(answer)


# -- looks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(filed: Open, width: int) -> None:
    for count in (1, 2):
        with filed(count, "#sums/s0", viewport={"width": width, "height": 844}) as watched:
            watched.wait(OPEN)
            wide = "document.documentElement.scrollWidth"
            assert watched.page.evaluate(wide) <= width
            body = "document.querySelector('#item-body')"
            assert watched.page.evaluate(f"{body}.scrollWidth <= {body}.clientWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(filed: Open, scheme: str) -> None:
    """WCAG AA: a contrast of at least 4.5 for every text of the page and of an open sample."""
    with filed(2, "#colours/c2", color_scheme=scheme) as watched:
        watched.wait(OPEN)
        assert watched.page.evaluate(_LOW_CONTRAST) == []


def test_the_theme_can_be_chosen_and_is_kept(filed: Open) -> None:
    with filed() as watched:
        theme = "document.documentElement.dataset.theme"
        assert watched.page.evaluate(theme) == "auto"
        watched.page.click(".theme")
        watched.page.click(".theme")
        assert watched.page.evaluate(theme) == "dark"
        watched.page.reload()
        watched.wait(f"{theme} === 'dark'")


_LOW_CONTRAST = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim());
    const { color, visibility, opacity } = getComputedStyle(node);
    if (!own || !node.checkVisibility() || visibility === "hidden" || opacity < 1) continue;
    if (parse(color)[3] === 0 || node.closest("svg, .unseen, :disabled")) continue;
    const [a, b] = [light(parse(color)), light(ground(node))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    const told = `${node.className} ${node.textContent.trim().slice(0, 30)}`;
    if (contrast < 4.5) low.push(`${told} ${contrast.toFixed(2)}`);
  }
  return low;
}"""


# -- large runs -----------------------------------------------------------------------------------


def many(count: int) -> list[Item]:
    examples = "\n\n".join(f"Question: example {i} of several\nAnswer: yes" for i in range(20))
    return [
        completion(
            f"n{i}", f"{examples}\n\nthe answer to {i} is {i * 7919 % 1000}", float(i % 3 == 0)
        )
        for i in range(count)
    ]


@pytest.mark.slow
def test_a_run_of_15_000_samples_stays_quick(tmp_path: Path, browser: Browser) -> None:
    run = write_record(tmp_path / "run", {"t": many(15_000)})
    began = time.monotonic()
    path = write_report(tmp_path / "page.html", write_page([run]))
    told = [f"page of {path.stat().st_size / 1e6:.1f} MB in {time.monotonic() - began:.1f} s"]

    def timed(what: str, act: Callable[[], Any], condition: str) -> None:
        start = time.monotonic()
        act()
        watched.wait(condition)
        seconds = time.monotonic() - start
        told.append(f"{what} {seconds * 1000:.0f} ms")
        assert seconds < 15  # generous: it is about hanging, not about speed

    began = time.monotonic()
    with open_page(browser, path.as_uri()) as watched:
        page = watched.page
        timed("first rows", lambda: None, "document.querySelectorAll('.item').length > 0")
        told.append(f"opened in {time.monotonic() - began:.2f} s")
        assert page.locator(".item").count() < 60  # only what is in sight exists
        timed("filter", lambda: page.select_option("#by-score", "right"), f"{TALLY}[0] === '5'")
        page.select_option("#by-score", "")
        found = f"{TALLY} === '1 of 15,000 samples'"
        timed("search", lambda: page.fill("#search", "the answer to 14999 is"), found)
        timed("open", lambda: page.click(".item"), OPEN)
        page.keyboard.press("Escape")
        watched.wait(BACK)  # else the focus would come back while the search is being emptied
        page.fill("#search", "")
        watched.wait(f"{TALLY} === '15,000 samples'")
        page.focus("#items")
        last = "document.querySelector('[data-at=\"14999\"]') !== null"
        timed("to the end", lambda: page.keyboard.press("End"), last)
        timed("open the last", lambda: page.keyboard.press("Enter"), OPEN)
        assert page.inner_text("#item-title") == "n14999"
        assert watched.troubles == []
    print("; ".join(told))
