"""The sandbox as the harness uses it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

from llmeval.sandbox.execution import judge, run_script
from llmeval.sandbox.names import find_names
from llmeval.sandbox.nursery import Nursery, NurseryGone
from llmeval.sandbox.tiers import detect_tier, require_tier
from llmeval.sandbox.verdict import Limits, Output, SandboxError, Verdict

T = TypeVar("T")


class Sandbox:
    """Runs code that nobody trusts. May be used from many threads at once.

    Args:
        limits: what one execution may use.
        allow_unsafe: accept the ``rlimits`` tier where no better one works.
        workers: executions at once; more wait their turn. Default: two for each
            processor, because half of a box's time is the kernel's, taking it down.
        tier: insist on this tier instead of the strongest one that works.

    Raises:
        UsageError: no tier works here, or only the weakest and `allow_unsafe` is not set.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        allow_unsafe: bool = False,
        workers: int | None = None,
        tier: str | None = None,
    ) -> None:
        self.limits = limits or Limits()
        if tier is None:
            self.tier = detect_tier(allow_unsafe)
        else:
            self.tier = require_tier(tier, allow_unsafe)
        self._slots = threading.BoundedSemaphore(workers or 2 * (os.cpu_count() or 1))
        self._lock = threading.Lock()
        self._nursery: Nursery | None = None
        self._closed = False

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take no more work and end what is still running."""
        with self._lock:
            self._closed = True
            if self._nursery is not None:
                self._nursery.close()

    def check_function(self, prompt: str, completion: str, test: str, entry_point: str) -> Verdict:
        """Judge a completed function as HumanEval does.

        Args:
            prompt: the data set's beginning of the program; its helper functions serve the test.
            completion: the model's continuation of `prompt`.
            test: defines ``check(candidate)``, which raises if the function is wrong.
            entry_point: name of the function.

        Raises:
            SandboxError: the sandbox failed; nothing is known about the candidate.
        """
        job = {"kind": "function", "prompt": prompt, "test": test, "entry_point": entry_point}
        return self._check(prompt + completion, job)

    def check_asserts(self, code: str, asserts: Sequence[str], setup: str = "") -> Verdict:
        """Judge a program by assert statements, as MBPP does.

        Args:
            code: the model's program.
            asserts: statements on what it defines.
            setup: statements that the asserts need; they may use what the program defines.

        Raises:
            SandboxError: the sandbox failed; nothing is known about the candidate.
        """
        try:
            names = find_names(asserts, setup)
        except (SyntaxError, ValueError) as error:
            return Verdict(False, "error", f"the asserts are not Python: {error}", 0.0, self.tier)
        job = {
            "kind": "asserts",
            "setup": setup,
            "test": "\n".join(asserts),
            "names": list(names.candidate),
            "modules": list(names.modules),
        }
        return self._check(code, job)

    def run_script(self, code: str, stdin: str = "") -> Output:
        """Run a program of its own with `stdin` and return what it wrote.

        Raises:
            SandboxError: the sandbox failed; nothing is known about the program.
        """
        return self._order(lambda nursery: run_script(nursery, self.limits, code, stdin))

    def _check(self, code: str, job: dict[str, Any]) -> Verdict:
        def work(nursery: Nursery) -> Verdict:
            started = time.monotonic()
            status, reason = judge(nursery, self.limits, code, job)
            seconds = time.monotonic() - started
            return Verdict(status == "passed", status, reason, seconds, self.tier)

        return self._order(work)

    def _order(self, work: Callable[[Nursery], T]) -> T:
        """Do some work in a slot; where the nursery proves dead before it began, in a new one."""
        try:
            with self._slot() as nursery:
                return work(nursery)
        except NurseryGone:
            with self._slot() as nursery:
                return work(nursery)

    @contextlib.contextmanager
    def _slot(self) -> Iterator[Nursery]:
        """Wait for a turn; yield the nursery, a new one if the last has died."""
        with self._slots:
            with self._lock:
                if self._closed:
                    raise SandboxError("the sandbox is closed")
                if self._nursery is not None and not self._nursery.alive:
                    self._nursery.close()
                    self._nursery = None
                if self._nursery is None:
                    self._nursery = Nursery(self.tier)
                nursery = self._nursery
            yield nursery
