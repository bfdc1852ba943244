"""From what a box reported to a verdict."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any, get_args

from llmeval.sandbox.guest import codec
from llmeval.sandbox.verdict import Limits, SandboxError, Status


@dataclass(frozen=True, slots=True)
class End:
    """How a process in the box ended.

    Attributes:
        signal: number of the signal that killed it, None if it exited.
        exit_code: None if it was killed.
        cpu_seconds: what it used.
    """

    signal: int | None
    exit_code: int | None
    cpu_seconds: float

    @classmethod
    def of(cls, report: Any) -> End:
        """Read the supervisor's ``[wait status, CPU seconds]``."""
        status, seconds = report
        if os.WIFSIGNALED(status):
            return cls(os.WTERMSIG(status), None, seconds)
        return cls(None, os.waitstatus_to_exitcode(status), seconds)

    def out_of_time(self, limits: Limits) -> bool:
        """Whether the kernel ended it at its CPU limit.

        It does so by SIGXCPU, and a second later by SIGKILL if that was ignored. It counts by clock
        ticks, which on a busy machine run ahead of the exact time reported here.
        """
        if self.signal == signal.SIGXCPU:
            return True
        return self.signal == signal.SIGKILL and self.cpu_seconds >= limits.cpu_seconds / 2

    def status(self, limits: Limits) -> Status:
        """Return the status of a program that was to end by itself."""
        if self.exit_code is not None:
            return "failed" if self.exit_code else "passed"
        return "timeout" if self.out_of_time(limits) else "crashed"

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit code {self.exit_code}"
        return signal.Signals(self.signal).name


def supervisor_report(data: bytes, tier: str) -> dict[str, Any]:
    """Return how each process ended, as the supervisor reported it.

    Raises:
        SandboxError: it reported a failure of its own, or nothing at all.
    """
    try:
        report: dict[str, Any] = codec.decode(data[4:])
    except codec.CodecError:
        report = {"error": "a box ended without a report"}
    if "error" in report:
        raise SandboxError(f"the {tier} sandbox failed: {report['error']}")
    return report


def conclude(report: bytes, nonce: str, ends: dict[str, Any], limits: Limits) -> tuple[Status, str]:
    """Return status and reason from the tester's report and from how the processes ended.

    Only a report with the nonce that the tester alone was given counts.
    """
    candidate, tester = End.of(ends["candidate"]), End.of(ends["tester"])
    verdict = _tester_report(report, nonce)
    if verdict is None:
        if tester.out_of_time(limits):
            return "timeout", f"the test used up {limits.cpu_seconds} s of CPU time"
        return "crashed", f"the test ended without a verdict ({tester})"
    status, reason = verdict
    if status == "crashed" and candidate.out_of_time(limits):
        return "timeout", f"used up {limits.cpu_seconds} s of CPU time"
    if status == "crashed":
        return status, f"{reason} ({candidate})"
    return status, reason


def _tester_report(data: bytes, nonce: str) -> tuple[Status, str] | None:
    try:
        sent, status, reason = codec.decode(data[4:])
    except (codec.CodecError, TypeError, ValueError):
        return None
    if sent != nonce or status not in get_args(Status):
        return None
    return status, reason
