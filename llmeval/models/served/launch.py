"""A server that is started for a run, waited for, and stopped with it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmeval.core.errors import UsageError
from llmeval.core.hashes import fingerprint

_GUARDIAN = Path(__file__).with_name("guardian.py")
_LOOK = 0.5  # seconds between two looks at whether it answers
_LEAVE = 15.0  # seconds that a server has to end by itself
_TAIL = 3  # lines of its log in an error


class ServerSpec(BaseModel):
    """``server`` of a model's settings: what to start.

    Attributes:
        vllm: id or folder of a checkpoint, served by vLLM's OpenAI-compatible server.
        command: instead of ``vllm``, any command; ``{port}`` in it is the port to listen on.
        args: more arguments for vLLM.
        python: the interpreter whose environment has vLLM; None is this one.
        env: environment variables of the server.
        wait: seconds until it must answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    vllm: str | None = None
    command: list[str] = Field(default_factory=list)
    args: list[str] = Field(default_factory=list)
    python: str | None = None
    env: dict[str, str] = Field(default_factory=dict)
    wait: float = Field(default=900.0, gt=0)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.vllm is None) == (not self.command):
            raise ValueError("a server is started either by vllm: CHECKPOINT or by command: [...]")
        if self.command and not any("{port}" in word for word in self.command):
            raise ValueError("the server's command must take a port: put {port} where it belongs")
        return self

    def words(self, model: str, port: int) -> list[str]:
        """Return the command line that serves ``model`` on a port of this machine."""
        if self.command:
            return [word.replace("{port}", str(port)) for word in self.command]
        return [
            *(self.python or sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
            *("--model", str(self.vllm), "--served-model-name", model),
            *("--host", "127.0.0.1", "--port", str(port), *self.args),
        ]

    def describe(self) -> dict[str, Any]:
        """Return what is started, for the record; of the environment only names."""
        words = {"args": _mask(self.args), "command": _mask(self.command)}
        return {**self.model_dump(exclude_defaults=True), **words, "env": sorted(self.env)}

    @property
    def may_hold_secrets(self) -> bool:
        """Whether what is described is not all that is started."""
        words = [*self.args, *self.command]
        return bool(self.env) or _mask(words) != words

    def identity(self) -> str:
        """Return what stands for the server's address, which is another one each time."""
        content: Any = self.vllm
        if self.vllm is not None and Path(self.vllm).is_dir():
            from llmeval.models.hf.identity import digest_folder

            content = digest_folder(Path(self.vllm))
        words = [_digest_if_folder(word) for word in (*self.command, *self.args)]
        return f"served {fingerprint([content, words, self.env], 8)}"


_SECRET_FLAG = re.compile(r"--?[\w-]*(key|token|secret|password)(=.*)?\Z", re.IGNORECASE)


def _mask(words: Sequence[str]) -> list[str]:
    """Return words without what follows a flag that looks like a secret's."""
    masked: list[str] = []
    hides = False
    for word in words:
        flag = _SECRET_FLAG.match(word)
        if hides and not word.startswith("-"):
            masked.append("***")
        elif flag and flag[2]:
            masked.append(f"{word.partition('=')[0]}=***")
        else:
            masked.append(word)
        hides = bool(flag and not flag[2])
    return masked


def _digest_if_folder(word: str) -> Any:
    """Return a word, and the content of the folder that it names, as ``NAME=FOLDER`` too."""
    from llmeval.models.hf.identity import digest_folder

    folder = Path(word.rpartition("=")[2])
    return [word, digest_folder(folder)] if word and folder.is_dir() else word


class Server:
    """A running server; :meth:`stop` ends it, and it ends with this process, however that ends.

    Attributes:
        url: its base URL, with ``/v1``.
    """

    def __init__(self, words: Sequence[str], port: int, env: Mapping[str, str], log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            try:
                # The guardian reads a pipe of ours: when that closes, it ends the server.
                self._process = subprocess.Popen(
                    [sys.executable, str(_GUARDIAN), *words],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **env},
                    start_new_session=True,
                )
            except OSError as error:
                raise UsageError(f"cannot be started: {error.strerror}", where=words[0]) from error

    def wait(self, seconds: float) -> None:
        """Wait until it answers.

        Raises:
            UsageError: it ended, or does not answer in time; with the end of its log.
        """
        until = time.monotonic() + seconds
        while not self._answers():
            if self._process.poll() is not None:
                raise self._fault(f"the server ended with code {self._process.returncode}")
            if time.monotonic() > until:
                raise self._fault(f"the server does not answer after {seconds:g} s")
            time.sleep(_LOOK)

    def _answers(self) -> bool:
        """Whether it is there, and does not say that it is not ready: with an error of its own."""
        root = self.url.removesuffix("/v1")
        return any(_is_well(place) for place in (f"{self.url}/models", f"{root}/health"))

    def _fault(self, what: str) -> UsageError:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = " | ".join(line.strip() for line in lines[-_TAIL:])[-400:]
        return UsageError(f"{what}: {said or 'it said nothing'}", where=str(self._log))

    def stop(self) -> None:
        """End it and all that it started."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_LEAVE + 5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _is_well(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)  # it is there, and wants a key
    except OSError:
        return False


def launch(spec: ServerSpec, model: str, workspace: Path) -> Server:
    """Start a server on a free port of this machine and wait until it answers.

    Raises:
        UsageError: it cannot be started, or does not answer.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = workspace / ".llmeval" / "servers" / f"{port}.log"
    server = Server(spec.words(model, port), port, spec.env, log)
    try:
        server.wait(spec.wait)
    except BaseException:
        server.stop()
        raise
    return server
