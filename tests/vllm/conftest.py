"""One vLLM engine and one Hugging Face model of the embedded checkpoint for all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmeval.models import ModelSettings
from llmeval.pocket import MODEL_DIR

DTYPE = "float32"


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Small caches, no hub, and digests kept out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def start() -> Callable[..., Any]:
    """Start vLLM with a folder and settings; the caller closes it."""
    pytest.importorskip("vllm", reason="vLLM is not installed here")
    from llmeval.models.vllm.model import load_vllm_model
    from llmeval.models.vllm.settings import VllmSettings

    def begin(folder: Path = MODEL_DIR, **settings: Any) -> Any:
        given = {"dtype": DTYPE, "enforce_eager": True} | settings
        return load_vllm_model(str(folder), "vllm:test", VllmSettings.from_mapping(given))

    return begin


@pytest.fixture(scope="session")
def served(start: Callable[..., Any]) -> Iterator[Any]:
    with closing(start()) as model:
        yield model


@pytest.fixture(scope="session")
def load() -> Callable[..., Any]:
    """Load a folder with the Hugging Face backend."""
    from llmeval.models import load_model

    def begin(folder: Path = MODEL_DIR, **settings: Any) -> Any:
        given = {"dtype": DTYPE, "device": "cpu"} | settings
        return load_model(f"hf:{folder}", ModelSettings.from_mapping(given))

    return begin


@pytest.fixture(scope="session")
def reference(load: Callable[..., Any]) -> Any:
    return load()
