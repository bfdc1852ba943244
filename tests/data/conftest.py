"""Every data test is cut off from the hub and from the user's own caches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llmeval.data import hub

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    import datasets

    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "LLMEVAL_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens
    # Both are read at import, so the variables come too late for a library that is loaded.
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf" / "datasets"))
    hub._answers.cache_clear()
    yield
    hub._answers.cache_clear()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write rows to ``tmp_path/PATH`` in the format that its suffix names."""

    def write(path: str, rows: Sequence[Mapping[str, Any]], **options: Any) -> Path:
        import orjson

        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(list(rows)), target, **options)
        elif target.suffix == ".json":
            target.write_bytes(orjson.dumps(list(rows)))
        else:
            target.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
        return target

    return write


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    path = tmp_path / "mirror"
    path.mkdir()
    return path
