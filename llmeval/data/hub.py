"""The Hugging Face hub: can it be reached, and what does it or its local cache hold."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from llmeval.core.errors import UsageError
from llmeval.data.files import first_line

if TYPE_CHECKING:
    import datasets

PROBE_SECONDS = 2.0
_ON = {"1", "ON", "YES", "TRUE"}  # as huggingface_hub reads its switches


def load_from_hub(
    hub_id: str, config: str | None = None, *, revision: str | None = None, **options: Any
) -> datasets.DatasetDict:
    """Return all splits from the hub, or from the local cache where the hub is out of reach.

    Args:
        hub_id: ``org/name``.
        config: the hub's config name; None for its default.
        revision: branch, tag or commit.
        options: further arguments of ``datasets.load_dataset``, such as ``data_files``.

    Raises:
        UsageError: the data set is neither on the hub nor cached; at once if there is no network.
    """
    # Before `datasets`, whose import takes a second that a wrong id should not cost.
    obstacle = why_offline()
    if obstacle is None:
        loaded = _load(hub_id, config, revision, options, None)
    else:
        with _offline():
            loaded = _load(hub_id, config, revision, options, obstacle)
    _check_revision(hub_id, revision, loaded)
    return loaded


def config_names(hub_id: str, revision: str | None = None) -> list[str]:
    """Return the configs that the hub has for an id.

    Raises:
        UsageError: the hub cannot be reached or does not know the id.
    """
    if (obstacle := why_offline()) is not None:
        raise _unreachable(hub_id, None, obstacle)
    import datasets

    try:
        return list(datasets.get_dataset_config_names(hub_id, revision=revision))
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise _refused(hub_id, None, error) from error


def why_offline() -> str | None:
    """Return why the hub is not to be asked, or None where it can be."""
    for switch in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(switch, "").upper() in _ON:
            return f"{switch} is set"
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    return None if _answers(endpoint) else f"{endpoint} cannot be reached"


def commit_of(dataset: datasets.Dataset) -> str | None:
    """Return the commit that a data set's files were downloaded from, where it is recorded."""
    for url in dataset.info.download_checksums or {}:
        if match := re.search(r"@([0-9a-f]{40})/", url):
            return match[1]
    return None


@cache
def _answers(endpoint: str) -> bool:
    """Say whether a TCP connection to the endpoint, or to the proxy for it, comes about in time."""
    url = urlsplit(endpoint)
    host = url.hostname or ""
    proxy = getproxies().get(url.scheme)
    if proxy and not proxy_bypass(host):
        url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        host = url.hostname or ""
    port = url.port or (443 if url.scheme == "https" else 80)
    answered = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=PROBE_SECONDS).close()
        except OSError:
            finished.set()
            return
        answered.set()
        finished.set()

    # In a thread, because resolving a name has no time limit of its own and takes many seconds
    # where the name server is out of reach.
    finished = threading.Event()
    threading.Thread(target=connect, daemon=True, name="hub-probe").start()
    finished.wait(PROBE_SECONDS)
    return answered.is_set()


@contextmanager
def _offline() -> Iterator[None]:
    """Keep both libraries from asking the network, so that they look into their caches at once."""
    import datasets
    from huggingface_hub import constants

    saved = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = saved


def _load(
    hub_id: str,
    config: str | None,
    revision: str | None,
    options: dict[str, Any],
    obstacle: str | None,
) -> datasets.DatasetDict:
    import datasets

    try:
        loaded = datasets.load_dataset(hub_id, config, revision=revision, **options)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        if obstacle is not None and isinstance(error, OSError):
            raise _unreachable(hub_id, config, obstacle) from error
        raise _refused(hub_id, config, error) from error
    if not isinstance(loaded, datasets.DatasetDict):
        raise UsageError(f"{hub_id}: `split` and `streaming` are not for data sets of a task")
    return loaded


def _check_revision(hub_id: str, revision: str | None, loaded: datasets.DatasetDict) -> None:
    """Refuse another commit than the one asked for: offline, `datasets` takes the latest cached."""
    if revision is None or not re.fullmatch(r"[0-9a-f]{40}", revision):
        return
    found = {commit_of(dataset) for dataset in loaded.values()} - {None, revision}
    if found:
        raise UsageError(
            f"the cache holds {hub_id} at {found.pop()}, not at {revision}",
            mend="connect to the hub, or ask for the revision that is cached",
        )


def _unreachable(hub_id: str, config: str | None, obstacle: str) -> UsageError:
    wanted = hub_id + (f" (config {config})" if config else "")
    add = f"llmeval data add {hub_id}" + (f" --config {config}" if config else "")
    return UsageError(
        f"the data set {wanted} is not on this machine, and {obstacle}",
        mend=f"run `{add} --data DIR` where there is a network, then use --data DIR or "
        "set LLMEVAL_DATA=DIR",
    )


def _refused(hub_id: str, config: str | None, error: BaseException) -> UsageError:
    wanted = hub_id + (f", config {config}" if config else "")
    return UsageError(f"the data set could not be loaded: {first_line(error)}", where=wanted)
