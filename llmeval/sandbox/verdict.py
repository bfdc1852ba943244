"""What goes into the sandbox as limits, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from llmeval.core.errors import LlmevalError, UsageError

Status = Literal["passed", "failed", "timeout", "memory", "output", "crashed", "error"]


class SandboxError(LlmevalError):
    """The sandbox itself failed: no processes left on the host, a mount refused.

    It says nothing about the code that was to run: the sample is errored, never 0.
    """


@dataclass(frozen=True, slots=True)
class Limits:
    """What one execution may use; reaching a limit ends it.

    CPU time decides, because it does not depend on how busy the machine is. Wall time only catches
    code that sleeps, and is generous so that a slow machine flips no verdict.

    Attributes:
        cpu_seconds: CPU time of a process.
        wall_seconds: time on the clock for everything together.
        memory_mb: address space of a process, the interpreter's own 30 MB included.
        processes: processes at once; at 1 the code can start none at all. More than 1 are allowed
            only where a tier can count them, not by the ``rlimits`` tier nor to root by bubblewrap.
            32 threads come on top.
        output_kb: the largest value a function may return, and of a script's output each stream.
        file_kb: the largest file, and the whole scratch folder where that is a file system.
    """

    cpu_seconds: int = 10
    wall_seconds: float = 60.0
    memory_mb: int = 512
    processes: int = 1
    output_kb: int = 4096
    file_kb: int = 16384

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or (field.type == "int" and not isinstance(value, int)) or value <= 0:
                raise UsageError(
                    f"{value!r} is not a positive {'number' if number else field.type}",
                    where=f"sandbox limit {field.name}",
                    mend="give one, for example the default",
                )
        if self.memory_mb < 64:
            raise UsageError(
                f"{self.memory_mb} MB is less than Python itself needs",
                where="sandbox limit memory_mb",
                mend="give at least 64",
            )


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one candidate fared.

    Attributes:
        passed: the test ran to its end and nothing in it failed.
        status: ``passed``, or why not. ``error``: the *test* cannot be run, which is no verdict on
            the candidate: its sample is unscored.
        reason: one line, such as the exception and the assert that raised it; empty if passed.
        seconds: time on the clock, start of the box included.
        tier: the kind of sandbox that was in force.
    """

    passed: bool
    status: Status
    reason: str
    seconds: float
    tier: str


@dataclass(frozen=True, slots=True)
class Output:
    """What a script wrote and how it ended.

    Attributes:
        stdout, stderr: decoded as UTF-8, undecodable bytes replaced, cut at the output limit.
        exit_code: None where the script was killed.
        status: ``passed`` for exit code 0, ``failed`` for another one, or the limit it met.
    """

    stdout: str
    stderr: str
    exit_code: int | None
    status: Status
