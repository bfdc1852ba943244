"""The shell: one file, which runs and loads nothing but what the shell itself put in."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from jinja2 import ChoiceLoader, DictLoader

from llmeval.reports import page
from llmeval.reports.page import render_page
from llmeval.reports.page.scripts import bundle
from llmeval.reports.page.text import show_controls
from tests.support import hostile

TEMPLATE = """{% extends "base.html" %}{% import "macros.html" as m %}
{% block content %}<h1>{{ name }}</h1>{{ m.facts([("what", name)]) }}
{{ m.sortable_table(head, rows, name, "numbers") }}{% endblock %}"""


@pytest.fixture
def render(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Render a small page that shows one text everywhere."""
    environment = page._environment()
    loader = ChoiceLoader([environment.loader, DictLoader({"small.html": TEMPLATE})])
    monkeypatch.setattr(environment, "loader", loader)

    def render(text: str) -> str:
        head = [text, {"text": "value", "class": "num"}]
        rows = [[text, {"text": text, "sort": 1.5, "title": text, "class": "num"}], ["none", ""]]
        return render_page("small.html", title=text, name=text, head=head, rows=rows)

    return render


def test_a_page_names_no_other_file_and_no_address(render: Any) -> None:
    html = render("plain")
    assert re.findall(r'(?:src|href)="([^"]*)"', html) == ["data:,"]
    assert "@import" not in html
    assert not re.search(r"url\(", html)


@pytest.mark.parametrize("text", hostile.TEXTS)
def test_a_hostile_text_adds_no_element(render: Any, text: str) -> None:
    def tags(html: str) -> list[str]:
        return re.findall(r"<[a-zA-Z/!][^>]*>", re.sub(r'="[^"]*"', "", html))

    assert tags(render(text)) == tags(render("plain"))


def test_control_characters_are_spelled_out() -> None:
    assert show_controls("a\u202eb\x00\n\t") == "a⟨U+202E⟩b⟨U+0000⟩\n\t"
    assert show_controls("\ud83d") == "\ufffd"
    assert show_controls(3.5) == 3.5


def test_the_policy_names_the_digests_of_what_is_inlined(render: Any) -> None:
    html = render("plain")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    allowed = re.findall(r"sha256-[\w+/=]+", policy[1])
    inlined = re.findall(r"<script type=\"module\" async>(.*?)</script>", html, re.DOTALL)
    inlined += re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digests = [hashlib.sha256(text.encode()).digest() for text in inlined]
    assert allowed == [f"sha256-{base64.b64encode(digest).decode()}" for digest in digests]
    assert "default-src &#39;none&#39;" in policy[1]
    assert "connect-src &#39;none&#39;" in policy[1]
    assert "unsafe" not in policy[1]


def test_a_template_without_a_value_fails_loudly(render: Any) -> None:
    with pytest.raises(Exception, match="head"):
        render_page("small.html", title="t", name="n")


def test_modules_are_bundled_once_in_the_order_of_their_needs(tmp_path: Path) -> None:
    (tmp_path / "c.js").write_text("export const c = 1;\n")
    (tmp_path / "b.js").write_text('import { c } from "./c.js";\nexport function b() {}\n')
    (tmp_path / "a.js").write_text(
        'import { b } from "./b.js";\nimport { c } from "./c.js";\nb(c);\n'
    )
    assert bundle(tmp_path / "a.js") == "const c = 1;\n\nfunction b() {}\n\nb(c);\n"


def test_a_script_that_would_end_its_element_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('const text = "</script>";\n')
    with pytest.raises(ValueError, match="end its own element"):
        bundle(tmp_path / "a.js")


def test_no_module_makes_markup_of_text() -> None:
    root = Path(page.__file__).parent
    for path in [root / "page.js", *sorted((root / "view").glob("*.js"))]:
        text = path.read_text(encoding="utf-8")
        words = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
        assert not re.search(words, text), path.name
        assert len(text.splitlines()) < 250, path.name


def test_no_two_modules_of_a_bundle_declare_the_same_name() -> None:
    root = Path(page.__file__).parent / "view"
    for entry in ("browser.js", "catalog.js"):
        names = re.findall(
            r"^(?:async )?(?:function|class|const|let) (\w+)", bundle(root / entry), re.MULTILINE
        )
        assert len(names) == len(set(names)), entry
