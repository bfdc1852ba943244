"""``python -m tests.support.mock_openai``: serve until stdin closes or SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

from .ledger import Ledger
from .options import parse
from .server import Mock, listen


def _watch_stdin(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    # a thread, for stdin may be a file; os.read, for a buffered read blocks the exit
    while os.read(0, 4096):
        pass
    loop.call_soon_threadsafe(ended.set)


async def _serve() -> None:
    options, given = parse()
    mock = Mock(options, Ledger(given.ledger))
    _, port = await listen(mock, given.port, given.keep_alive)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, ended.set)
    threading.Thread(target=_watch_stdin, args=(loop, ended), daemon=True).start()
    print(f"http://127.0.0.1:{port}/v1", flush=True)
    await ended.wait()
    # no farewell to the connections: an end should look like an end, and be quick
    os._exit(0)


if __name__ == "__main__":
    try:
        import uvloop  # twice the answers a second
    except ImportError:
        asyncio.run(_serve())
    else:
        uvloop.run(_serve())
