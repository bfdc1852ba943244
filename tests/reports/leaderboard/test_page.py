"""The page of a board in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from llmeval.core import GroupMetric, TaskGroup
from llmeval.reports.leaderboard import to_html
from tests.reports.leaderboard.support import board_of, record, right
from tests.support.browser import Watched, open_page, start_chromium

SHARES = {"good": 0.8, "fair": 0.6, "poor": 0.3, "<img src=x onerror=alert(1)>": 0.5}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with start_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("records")
    groups = [TaskGroup("g", ("s", "t"), ("s", "t"), (GroupMetric("acc"),))]
    for seed, (name, share) in enumerate(SHARES.items()):
        tasks = {task: right(share, 100, seed * 5 + k) for k, task in enumerate(("s", "t", "u"))}
        record(folder, name, tasks, groups=groups)
    path = tmp_path_factory.mktemp("page") / "leaderboard.html"
    path.write_text(to_html(board_of(folder)), encoding="utf-8")
    return path.as_uri()


def names(page: Watched) -> list[str]:
    return page.texts("#board tbody th")


def test_it_opens_without_trouble_and_asks_nobody(browser: Browser, address: str) -> None:
    with open_page(browser, address) as page:
        assert names(page)[0] == "good"
        assert page.troubles == []
        assert page.requests == [address]


def test_columns_sort_by_their_numbers(browser: Browser, address: str) -> None:
    with open_page(browser, address) as page:
        best_first = names(page)
        head = page.page.locator("#board thead th", has_text="u").locator("button")
        head.click()
        values = [float(text.split()[0]) for text in page.texts("#board tbody td:last-child")]
        assert values == sorted(values, reverse=True)
        head.press("Enter")
        values = [float(text.split()[0]) for text in page.texts("#board tbody td:last-child")]
        assert values == sorted(values)
        head.press("Enter")
        assert names(page) == best_first


def test_the_parts_of_groups_unfold(browser: Browser, address: str) -> None:
    with open_page(browser, address) as page:
        assert not page.page.locator("#folded").is_visible()
        page.page.locator("summary").click()
        assert page.page.locator("#folded").is_visible()


def test_a_narrow_window_scrolls_the_table_and_not_the_page(browser: Browser, address: str) -> None:
    with open_page(browser, address, viewport={"width": 360, "height": 800}) as page:
        width = page.page.evaluate("document.documentElement.scrollWidth")
        assert width <= 360
