"""The HTML shell of all reports: one self-contained file, read offline, that runs nothing foreign.

A page loads nothing and sends nothing. Its Content-Security-Policy names the digests of the scripts
and the style that this module puts in, so whatever else a model's text smuggles in does not run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from llmeval import __version__
from llmeval.reports import formats
from llmeval.reports.page import plots
from llmeval.reports.page.scripts import bundle
from llmeval.reports.page.text import show_controls

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent
_TEMPLATES = _FOLDER / "templates"
_STYLE = _FOLDER / "style.css"
_SCRIPT = _FOLDER / "page.js"


def render_page(
    template: str,
    *,
    title: str,
    scripts: Sequence[Path] = (),
    styles: Sequence[Path] = (),
    connect: str = "'none'",
    **context: Any,
) -> str:
    """Return a whole HTML page.

    Args:
        template: a file of ``templates/``, which extends ``base.html``.
        title: of the window; foreign text is safe here as in every value of ``context``.
        scripts: ES modules beside the shell's own; what they import comes with them.
        styles: style sheets beside the shell's own.
        connect: the policy's ``connect-src``: who the page may ask, nobody by default.
        context: what the template reads. Text is escaped, and control characters become visible.
    """
    code = [bundle(path) for path in (_SCRIPT, *scripts)]
    style = "\n".join(path.read_text(encoding="utf-8") for path in (_STYLE, *styles))
    return str(
        _environment()
        .get_template(template)
        .render(
            title=title,
            version=__version__,
            style=_trusted(style),
            scripts=[_trusted(text) for text in code],
            policy=_policy(code, style, connect),
            **context,
        )
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=show_controls,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        name: getattr(formats, f"format_{name}")
        for name in (
            "value",
            "difference",
            "interval",
            "pvalue",
            "share",
            "usd",
            "seconds",
            "bytes",
        )
    }
    environment.filters["part"] = partial(quote, safe="")  # of an address
    environment.globals["plots"] = plots
    return environment


def _trusted(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)


def _policy(scripts: Sequence[str], style: str, connect: str) -> str:
    allowed = " ".join(_digest(text) for text in scripts)
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {allowed}",
            f"style-src {_digest(style)}",
            f"connect-src {connect}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
