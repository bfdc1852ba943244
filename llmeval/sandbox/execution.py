"""One execution: start a box, hand it its jobs, wait, and read what it reported."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from typing import IO, Any

from llmeval.sandbox.guest import codec
from llmeval.sandbox.nursery import Nursery
from llmeval.sandbox.outcome import End, conclude, supervisor_report
from llmeval.sandbox.streams import read_streams
from llmeval.sandbox.verdict import Limits, Output, Status

_MESSAGE = 1 << 16
"""Most bytes of a supervisor's or tester's report; both are one short line."""


def judge(nursery: Nursery, limits: Limits, code: str, job: dict[str, Any]) -> tuple[Status, str]:
    """Run `code` as the candidate and `job` as its test; return status and reason.

    Raises:
        SandboxError: the sandbox failed; nothing is known about the candidate.
    """
    nonce = secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        parts = (code, {**job, "nonce": nonce})
        jobs = [stack.enter_context(_file_of(_frame(part))) for part in parts]
        control, report = (stack.enter_context(_Pipe()) for _ in range(2))
        fds = [control.write, report.write, *(part.fileno() for part in jobs)]
        stack.enter_context(nursery.box(limits, fds, ended=control.read))
        control.close_write()
        report.close_write()
        caps = {control.read: _MESSAGE, report.read: _MESSAGE}
        streams = read_streams(caps, limits.wall_seconds)
        if streams.ended == "timeout":
            return "timeout", f"not done after {limits.wall_seconds:g} s on the clock"
        ends = supervisor_report(streams.data[control.read], nursery.tier)
        return conclude(streams.data[report.read], nonce, ends, limits)


def run_script(nursery: Nursery, limits: Limits, code: str, stdin: str) -> Output:
    """Run a program of its own; see `llmeval.sandbox.Sandbox.run_script`."""
    with contextlib.ExitStack() as stack:
        job = stack.enter_context(_file_of(_frame(code)))
        source = stack.enter_context(_file_of(stdin.encode("utf-8", "surrogatepass")))
        out, err, control = (stack.enter_context(_Pipe()) for _ in range(3))
        fds = [control.write, job.fileno(), source.fileno(), out.write, err.write]
        stack.enter_context(nursery.box(limits, fds, ended=control.read, script=True))
        for pipe in (out, err, control):
            pipe.close_write()
        cap = limits.output_kb << 10
        caps = {control.read: _MESSAGE, out.read: cap, err.read: cap}
        streams = read_streams(caps, limits.wall_seconds)
        stdout, stderr = streams.text(out.read), streams.text(err.read)
        if streams.ended != "closed":
            status: Status = "timeout" if streams.ended == "timeout" else "output"
            return Output(stdout, stderr, None, status)
        end = End.of(supervisor_report(streams.data[control.read], nursery.tier)["candidate"])
        status = end.status(limits)
        if status == "failed" and stderr.rstrip().endswith("MemoryError"):
            status = "memory"
        return Output(stdout, stderr, end.exit_code, status)


class _Pipe:
    """A pipe whose ends close with the block."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        self._open = [self.read, self.write]

    def close_write(self) -> None:
        """Close our copy of the end that the box writes to, so that its end is the end."""
        self._open.remove(self.write)
        os.close(self.write)

    def __enter__(self) -> _Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._open:
            os.close(fd)


def _file_of(data: bytes) -> IO[bytes]:
    """Return an unnamed file that holds `data`, to be read from its beginning.

    A file and not a pipe: whoever never reads it blocks nobody.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(data)
    file.seek(0)
    return file


def _frame(value: object) -> bytes:
    body = codec.encode(value)
    return len(body).to_bytes(4, "big") + body
