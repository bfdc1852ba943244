"""Start a mock server from a test, as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .options import command_line

_ROOT = Path(__file__).parents[3]
# a proxy of the environment would be asked for 127.0.0.1 too
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class MockServer:
    """A mock server in a child process; a stop and a start keep its port and its ledger."""

    def __init__(self, options: dict[str, Any], ledger: Path) -> None:
        self.options = options
        self.ledger_path = ledger
        self.port = int(options.pop("port", 0))
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """The base url, with /v1."""
        return f"{self.root}/v1"

    @property
    def root(self) -> str:
        """The url without /v1, where /tokenize lies."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, on the same port as before; RuntimeError where it cannot within 5 s."""
        if self._process is not None:
            raise RuntimeError("the mock server runs already")
        given = {**self.options, "port": self.port, "ledger": str(self.ledger_path)}
        command = [sys.executable, "-m", "tests.support.mock_openai", *command_line(given)]
        until = time.monotonic() + 5
        while True:
            process = subprocess.Popen(
                command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert process.stdout is not None
            line = process.stdout.readline().strip()
            if line:
                break
            _end(process)
            # another process may hold the port for a moment, as its end of a connection
            if not self.port or time.monotonic() > until:
                raise RuntimeError(f"the mock server ended with {process.returncode}")
            time.sleep(0.1)
        self._process = process
        self.port = int(line.rsplit(":", 1)[1].partition("/")[0])

    def stop(self) -> None:
        """End the process at once, connections cut; counts are lost, the ledger stays."""
        if self._process is not None:
            _end(self._process)
            self._process = None

    def restart(self, down: float = 0.0) -> None:
        """Stop, stay down for so many seconds, and start."""
        self.stop()
        time.sleep(down)
        self.start()

    def stats(self) -> dict[str, Any]:
        """Return the counts (see ledger.Ledger.stats)."""
        return self._call("/_stats")

    def reset(self) -> None:
        """Forget the counts and the attempts; the ledger stays."""
        self._call("/_reset", {})

    def set(self, **options: Any) -> None:
        """Change options of the running server, for its next start too."""
        self._call("/_set", options)
        self.options.update(options)

    def ledger(self) -> list[str]:
        """Return the digests of the questions answered, in order, over all starts."""
        path = self.ledger_path
        return path.read_text().splitlines() if path.exists() else []

    def _call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        with _OPENER.open(self.root + path, data, timeout=10) as response:
            answer: dict[str, Any] = json.load(response)
        return answer


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    process.wait()


@contextmanager
def serve(**options: Any) -> Iterator[MockServer]:
    """Run a mock server: options are the command line's, with underscores.

    ``ledger`` is a file's path; without one the ledger is a temporary file.
    """
    with tempfile.TemporaryDirectory(prefix="mock-openai-") as folder:
        server = MockServer(options, Path(options.pop("ledger", "") or Path(folder) / "ledger"))
        try:
            server.start()
            yield server
        finally:
            server.stop()
