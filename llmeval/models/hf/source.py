"""Where a checkpoint comes from: a folder, the hub's cache, or the hub, found out at once."""

from __future__ import annotations

import re
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from llmeval.core.errors import UsageError

_REACH_SECONDS = 2.0
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt",
    "spiece.model", "sentencepiece.bpe.model", "*.tiktoken",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """What ``from_pretrained`` takes.

    Args:
        target: folder or hub id.
        folder: the folder, None for the hub.
        revision: for the hub.
        offline: take the hub's cache as it is.
    """

    target: str
    folder: Path | None
    revision: str | None
    offline: bool

    @property
    def options(self) -> dict[str, object]:
        return {"revision": self.revision, "local_files_only": self.offline}


def find_source(target: str, where: str, file: str, revision: str | None = None) -> Source:
    """Find a folder or a hub repository.

    Args:
        target: folder or hub id.
        where: the model's name on the command line, for messages.
        file: a file that must be there (``config.json``), by which the cache is looked up.
        revision: for the hub.

    Raises:
        UsageError: no such folder, or neither cached nor to be reached.
    """
    folder = Path(target).expanduser()
    if folder.is_dir():
        return Source(str(folder), folder, None, offline=True)
    if folder.exists():
        raise UsageError(f"{target} is a file", where=where, mend="give the checkpoint's folder")
    if not _HUB_ID.fullmatch(target) or target.startswith("."):
        raise UsageError(
            f"there is no folder {target}", where=where, mend="give a checkpoint's folder or hub id"
        )
    cached = _find_cached(target, file, revision) is not None
    if not _reach_hub():
        if cached:
            return Source(target, None, revision, offline=True)
        raise UsageError(
            f"{target} is no folder here, is not in the Hugging Face cache, "
            "and the hub cannot be reached",
            where=where,
            mend=f"give a folder, or run `hf download {target}` where there is a network",
        )
    return Source(target, None, revision, offline=False)


def find_checkpoint(target: str, where: str, revision: str | None = None) -> Source:
    """Find a checkpoint as :func:`find_source` does; a folder must hold a whole one."""
    source = find_source(target, where, "config.json", revision)
    if source.folder is None:
        return source
    if (source.folder / "adapter_config.json").is_file():  # transformers would load its base
        raise UsageError(
            f"{source.folder} holds an adapter, no whole model",
            where=where,
            mend="name its base model, and this folder with the setting peft=DIR",
        )
    if (source.folder / "config.json").is_file():
        return source
    raise UsageError(
        f"{source.folder} has no config.json",
        where=where,
        mend="give a folder that save_pretrained wrote",
    )


def check_tokenizer(source: Source, where: str) -> None:
    """Raise UsageError for a folder without tokenizer files: transformers would make one up."""
    if source.folder is None or any(
        next(source.folder.glob(pattern), None) for pattern in _TOKENIZER_FILES
    ):
        return
    raise UsageError(
        f"{source.folder} has no tokenizer",
        where=where,
        mend="name one with the setting tokenizer=ID_OR_DIR",
    )


def find_commit(source: Source) -> str:
    """Return the commit of a hub repository that was loaded, from where its files lie."""
    for file in ("config.json", "adapter_config.json", *_TOKENIZER_FILES):
        if path := _find_cached(source.target, file, source.revision):
            return path.parent.name  # .../snapshots/COMMIT/FILE
    raise UsageError(
        "cannot tell which commit was loaded", where=source.target, mend="give a local folder"
    )


def _find_cached(target: str, file: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(target, file, revision=revision)
    return Path(path) if isinstance(path, str) else None


def _reach_hub() -> bool:
    """Whether the hub answers within two seconds, name look-up included."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    answered = threading.Event()

    def knock() -> None:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=_REACH_SECONDS).close()
        except urllib.error.HTTPError:
            pass  # it answered
        except (OSError, ValueError):
            return
        answered.set()

    # A thread, because a look-up of the host's name knows no time-out.
    threading.Thread(target=knock, daemon=True).start()
    return answered.wait(_REACH_SECONDS)
