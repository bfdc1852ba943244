"""The nursery: a small Python that forks a box for every check, so that none waits for a start-up.

It is started once by exec, with an empty environment, and holds nothing but this package and some
standard modules: no test, no candidate, no key. It never reads a job; it receives the descriptors
from which a box's children read theirs, forks, and closes its own copies. No foreign code runs in
this process or in any that it shares memory with, and nothing flows back into it from a box.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from typing import Any, NoReturn

from . import box, codec

# What generated programs import most: read from disk once instead of in every box.
_COMMON_MODULES = (
    "bisect collections copy datetime decimal fractions functools hashlib heapq itertools json math"
    " operator random re statistics string typing"
)
_LARGEST_MESSAGE = 1 << 16
_MOST_DESCRIPTORS = 8


def main(argument: str) -> NoReturn:
    """Serve until the harness hangs up.

    Args:
        argument: hex of ``{"socket": fd, "tier": name, "visible": paths}``.
    """
    settings = codec.decode(bytes.fromhex(argument))
    sys.argv[:] = [""]
    connection = socket.socket(fileno=settings["socket"])
    for name in _COMMON_MODULES.split():
        __import__(name)
    try:
        box.prepare(settings["tier"], settings["visible"])
    except OSError as error:
        connection.send(codec.encode(f"{type(error).__name__}: {error}"))
        os._exit(1)
    connection.send(codec.encode("ready"))
    gc.collect()
    gc.freeze()  # children do not copy what they never change
    _serve(connection)


def _serve(connection: socket.socket) -> NoReturn:
    boxes: dict[int, int] = {}
    while True:
        message, fds, _, _ = socket.recv_fds(connection, _LARGEST_MESSAGE, _MOST_DESCRIPTORS)
        _reap(boxes)
        if not message:
            os._exit(0)  # the harness is gone; the boxes follow, as the kernel promised
        order, number, spec = codec.decode(message)
        if order == "kill":
            if number in boxes:
                os.kill(boxes[number], signal.SIGKILL)
            continue
        boxes[number] = _fork_box(connection, spec, fds)
        for fd in fds:
            os.close(fd)


def _fork_box(connection: socket.socket, spec: dict[str, Any], fds: list[int]) -> int:
    nursery = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:  # the host has no process left
        report = {"error": f"{type(error).__name__}: {error}"}
        codec.write_frame(fds[0], codec.encode(report))
        return -1
    if pid == 0:
        connection.close()
        box.run(spec, fds, nursery)
    return pid


def _reap(boxes: dict[int, int]) -> None:
    """Forget the boxes that have ended, so that no number of theirs is ever signalled again."""
    for number, pid in list(boxes.items()):
        if pid == -1 or os.waitpid(pid, os.WNOHANG)[0]:
            del boxes[number]
