"""A headless Chromium, where the machine has one; tests that need it skip visibly elsewhere."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_PATIENCE = 20  # seconds, on a loaded machine


@contextmanager
def start_chromium() -> Iterator[Browser]:
    """Start the system's Chromium; skip the test where there is none."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("there is no Chromium: `make browser` installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page, and what went wrong on it."""

    page: Page
    troubles: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def wait(self, condition: str) -> Any:
        """Wait until an expression is true. The page's policy forbids Playwright's own waiting."""
        end = time.monotonic() + _PATIENCE
        while not (value := self.page.evaluate(condition)):
            assert time.monotonic() < end, f"never true: {condition}"
            time.sleep(0.01)
        return value

    def texts(self, selector: str) -> list[str]:
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]


@contextmanager
def open_page(browser: Browser, url: str, **context: Any) -> Iterator[Watched]:
    """Open an address; dialogs, errors, messages of the console and requests are noted."""
    settings = {"viewport": {"width": 1280, "height": 900}, **context}
    window = browser.new_context(**settings)
    page = window.new_page()
    watched = Watched(page)
    page.on("console", lambda message: watched.troubles.append(message.text))
    page.on("pageerror", lambda error: watched.troubles.append(str(error)))
    page.on("request", lambda request: watched.requests.append(request.url))

    def refuse(dialog: Any) -> None:
        watched.troubles.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("dialog", refuse)
    page.goto(url)
    yield watched
    window.close()
