"""Runs a command until stdin closes, then ends it with all that it started.

A process of its own, so that a server does not outlive a run that is killed. Imports nothing of
ours: it is started as a file.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

_LEAVE = 15.0  # seconds that the command has to end by itself


def main(words: list[str]) -> int:
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)

    def watch() -> None:
        while os.read(0, 4096):
            pass
        _end(child, signal.SIGTERM)
        try:
            child.wait(_LEAVE)
        except subprocess.TimeoutExpired:
            _end(child, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    code = child.wait()
    _end(child, signal.SIGKILL)  # workers that it left behind
    return code if code >= 0 else 128 - code


def _end(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(child.pid, number)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except OSError as error:
        sys.stderr.write(f"{sys.argv[1]}: {error.strerror}\n")
        sys.exit(127)
