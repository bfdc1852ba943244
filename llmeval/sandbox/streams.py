"""Reading what a box writes: several pipes at once, each with a cap, all with one deadline."""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Streams:
    """What came through each pipe, and whether all of it did.

    Attributes:
        data: bytes by descriptor, never more than its cap.
        ended: ``closed`` by the other side, ``timeout``, or ``overflow`` of a cap.
    """

    data: Mapping[int, bytes]
    ended: Literal["closed", "timeout", "overflow"]

    def text(self, fd: int) -> str:
        """Return one stream as text; bytes that are not UTF-8 are replaced."""
        return self.data[fd].decode("utf-8", "replace")


def read_streams(caps: Mapping[int, int], seconds: float) -> Streams:
    """Read pipes until all are closed, `seconds` are over or one exceeds its cap in bytes."""
    deadline = time.monotonic() + seconds
    data = {fd: bytearray() for fd in caps}
    with selectors.DefaultSelector() as selector:
        for fd in caps:
            selector.register(fd, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready and time.monotonic() >= deadline:
                return _streams(data, "timeout")
            for key, _ in ready:
                part = os.read(key.fd, 1 << 16)
                room = caps[key.fd] - len(data[key.fd])
                data[key.fd] += part[:room]
                if len(part) > room:
                    return _streams(data, "overflow")
                if not part:
                    selector.unregister(key.fd)
    return _streams(data, "closed")


def _streams(
    data: Mapping[int, bytearray], ended: Literal["closed", "timeout", "overflow"]
) -> Streams:
    return Streams({fd: bytes(part) for fd, part in data.items()}, ended)
