"""From ES modules to the text of one script element: a page has no files that it could import."""

from __future__ import annotations

import re
from pathlib import Path

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w/-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function|class|const|let)", re.MULTILINE)


def bundle(entry: Path) -> str:
    """Return a module with those that it imports before it, each once, in one scope.

    Modules import names as they are (no ``as``, no default) from files beside them, so leaving the
    ``import`` and ``export`` words out is all there is to do; two modules may not declare the same
    name.
    """
    parts: dict[Path, str] = {}
    _collect(entry.resolve(), parts)
    text = "\n".join(parts.values())
    if "</script" in text or "<!--" in text:
        raise ValueError(f"{entry}: a script that holds markup would end its own element")
    return text


def _collect(path: Path, parts: dict[Path, str]) -> None:
    text = path.read_text(encoding="utf-8")
    for name in _IMPORT.findall(text):
        needed = (path.parent / name).resolve()
        if needed not in parts:
            _collect(needed, parts)
    parts[path] = _EXPORT.sub("", _IMPORT.sub("", text))
