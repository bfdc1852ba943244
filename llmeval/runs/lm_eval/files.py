"""The files that a run of lm-eval left, and where they lie."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from llmeval.core import UsageError, digest, fingerprint

_VERSION = 1  # of the conversion: a new one converts anew
_LATEST = 250_000_000_000  # in the year 9892
_DEPTH = 3  # folders below the one named: OUTPUT_PATH/MODEL/results_*.json
_DATE = re.compile(r"_\d{4}-\d{2}-\d{2}T[\d.-]+")


@dataclass(frozen=True, slots=True)
class LmEvalFiles:
    """The files of one run of lm-eval.

    Attributes:
        results: its ``results*.json``.
        samples: by task; a task whose samples were not logged is absent.
    """

    results: Path
    samples: Mapping[str, Path]

    def read(self) -> dict[str, Any]:
        """Return the content of the results file.

        Raises:
            UsageError: it is none of lm-eval's.
        """
        content: dict[str, Any] = read_json(self.results)
        if not _is_lm_eval(content):
            raise UsageError(
                "no results file of lm-eval's",
                where=str(self.results),
                mend="it has 'results', 'configs' and 'versions'",
            )
        return content

    def digest(self) -> str:
        """Return a name that changes with the files."""
        stamps = [
            [task, path.name, (stat := path.stat()).st_size, stat.st_mtime_ns]
            for task, path in sorted(self.samples.items())
        ]
        return fingerprint([_VERSION, digest(self.results.read_bytes()), stamps], 12)


def require_lm_eval(path: str | Path) -> list[LmEvalFiles]:
    """Return all runs of lm-eval in a folder, oldest first.

    Raises:
        UsageError: there are none.
    """
    found = find_lm_eval(path)
    if not found:
        raise UsageError(
            "no results of lm-eval here",
            where=str(path),
            mend="name its --output_path, or a results_*.json",
        )
    return found


def find_lm_eval(path: str | Path) -> list[LmEvalFiles]:
    """Return the runs of lm-eval in a folder and the folders in it, oldest first; may be none.

    Raises:
        UsageError: there are none, but a file that may have been one and is not JSON.
    """
    path = Path(path)
    broken: list[UsageError] = []
    try:
        if path.is_file():
            results = [path] if path.suffix == ".json" else []
        else:
            results = sorted(_walk(path, _DEPTH))
        found = [
            (read_date(content), LmEvalFiles(one, _find_samples(one, content)))
            for one in results
            if (content := _peek(one, broken)) is not None
        ]
    except (OSError, ValueError):  # too long for a path, or not ours to read
        return []
    if broken and not found:
        raise broken[0]
    return [files for _, files in sorted(found, key=lambda pair: (pair[0], str(pair[1].results)))]


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """Yield files that may be results; a record of llmeval's has a ``results.json`` of its own."""
    if not folder.is_dir() or (folder / "manifest.json").exists():
        return
    for path in folder.iterdir():
        if path.is_dir():
            if depth and not path.name.startswith("."):
                yield from _walk(path, depth - 1)
        elif path.suffix == ".json" and "results" in path.name:
            yield path


def _peek(path: Path, broken: list[UsageError]) -> dict[str, Any] | None:
    """Return the content of results of lm-eval's; what cannot be read is kept as an error."""
    try:
        content = read_json(path)
    except UsageError as error:
        broken.append(error)
        return None
    return content if _is_lm_eval(content) else None


def _is_lm_eval(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and isinstance(content.get("results"), dict)
        and isinstance(content.get("configs"), dict)
        and "versions" in content
    )


def read_json(path: Path) -> Any:
    """Read JSON as Python writes it: with NaN and Infinity.

    Raises:
        UsageError: it is not JSON.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    try:
        return parse(data)
    except ValueError as error:
        raise UsageError(f"not JSON: {error}", where=str(path)) from error


def parse(data: bytes) -> Any:
    """Parse JSON quickly, and what only Python takes for JSON slowly."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data)


def read_date(content: Mapping[str, Any]) -> float:
    """Return when lm-eval began, in seconds since 1970; 0 where it does not say."""
    date = content.get("date")
    if isinstance(date, int | float) and 0 < date < _LATEST:
        return float(date)
    return 0.0


def _find_samples(results: Path, content: Mapping[str, Any]) -> dict[str, Path]:
    """Return each task's samples: of the same date; or of any, where there is but one."""
    date = _DATE.search(results.stem)
    suffix = date.group() if date else ""
    found = {}
    for task in content["configs"]:
        names = [f"samples_{task}{suffix}.jsonl", f"samples_{task}{suffix}.jsonl.gz"]
        path = next((p for name in names if (p := results.with_name(name)).is_file()), None)
        if path is None and not date:
            dated = re.compile(re.escape(f"samples_{task}") + _DATE.pattern + r"\.jsonl(\.gz)?")
            others = [p for p in results.parent.iterdir() if dated.fullmatch(p.name)]
            path = others[0] if len(others) == 1 else None
        if path is not None:
            found[task] = path
    return found


def model_name(content: Mapping[str, Any]) -> str:
    """Return what lm-eval called the model."""
    config = content.get("config") or {}
    return str(content.get("model_name") or config.get("model") or "unknown model")
