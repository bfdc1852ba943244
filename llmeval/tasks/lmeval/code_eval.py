"""The project's sandbox in the place of Hugging Face's ``code_eval`` metric.

lm-eval's humaneval and mbpp fetch ``code_eval`` from the hub and run a trial when they are
imported. Ours needs no hub, executes in the sandbox, and gives the same ``(pass@k, details)``.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from llmeval.core import Unscorable, UsageError

if TYPE_CHECKING:
    from llmeval.sandbox import Sandbox, Verdict


@dataclass(frozen=True, slots=True)
class CodeContext:
    """What surrounds a call of the metric: the sandbox, and the row that is scored."""

    sandbox: Callable[[], Sandbox] | None
    doc: Mapping[str, Any]


_context: ContextVar[CodeContext] = ContextVar("code_context")


@contextmanager
def code_context(sandbox: Callable[[], Sandbox] | None, doc: Mapping[str, Any]) -> Iterator[None]:
    """Set the sandbox and row for calls of :class:`CodeEval` within."""
    token = _context.set(CodeContext(sandbox, doc))
    try:
        yield
    finally:
        _context.reset(token)


class CodeEval:
    """Has the shape of ``evaluate.load("code_eval")``."""

    def compute(
        self,
        *,
        references: Sequence[str],
        predictions: Sequence[Sequence[str]],
        k: Sequence[int] = (1, 10, 100),
    ) -> tuple[dict[str, float], dict[int, list[tuple[int, dict[str, Any]]]]]:
        """Execute every candidate of every problem; return unbiased pass@k and the verdicts."""
        from llmeval.stats import pass_at_k

        context = _context.get()
        if context.sandbox is None:
            raise UsageError("this task executes code, and no sandbox was given")
        sandbox = context.sandbox()
        drawn: list[int] = []
        correct: list[int] = []
        details: dict[int, list[tuple[int, dict[str, Any]]]] = {}
        for number, (test, candidates) in enumerate(zip(references, predictions, strict=True)):
            verdicts = [_check(sandbox, code, test, context.doc) for code in candidates]
            drawn.append(len(verdicts))
            correct.append(sum(verdict.passed for verdict in verdicts))
            details[number] = [
                (i, {"passed": verdict.passed, "result": verdict.reason or verdict.status})
                for i, verdict in enumerate(verdicts)
            ]
        values = {
            f"pass@{draws}": float(pass_at_k(drawn, correct, draws).mean())
            for draws in k
            if min(drawn) >= draws
        }
        return values, details


def _check(sandbox: Sandbox, code: str, test: str, doc: Mapping[str, Any]) -> Verdict:
    """Execute one candidate.

    Raises:
        Unscorable: the test itself cannot be run.
        NoVerdictError: the sandbox failed, which says nothing about the code.
    """
    from llmeval.sandbox import SandboxError

    prompt, entry_point = doc.get("prompt"), doc.get("entry_point")
    try:
        if isinstance(prompt, str) and isinstance(entry_point, str) and "def check(" in test:
            completion = code.removeprefix(prompt)
            given = prompt if completion != code else ""
            verdict = sandbox.check_function(given, completion, doc["test"], entry_point)
        else:
            setup = str(doc.get("test_setup_code") or "")
            verdict = sandbox.check_asserts(code, [test], setup=setup)
    except SandboxError as error:
        raise NoVerdictError(str(error)) from error
    if verdict.status == "error":
        raise Unscorable(verdict.reason)
    return verdict


class NoVerdictError(Exception):
    """The sandbox gave no verdict: this sample is errored, the run goes on."""


@contextmanager
def replace_code_eval() -> Iterator[None]:
    """Let ``evaluate.load("code_eval")`` give ours while task modules are imported."""
    original = sys.modules.get("evaluate")
    sys.modules["evaluate"] = _Evaluate(original)
    try:
        yield
    finally:
        del sys.modules["evaluate"]
        if original is not None:
            sys.modules["evaluate"] = original


class _Evaluate(ModuleType):
    """The package ``evaluate`` as task modules see it: ``code_eval`` is ours.

    The real one imports all of transformers, six CPU seconds, so that waits until a task asks for
    another of its metrics.
    """

    def __init__(self, original: ModuleType | None) -> None:
        super().__init__("evaluate")
        self.__spec__ = original.__spec__ if original else importlib.util.find_spec("evaluate")
        self._original = original

    def load(self, path: str, *args: Any, **kwargs: Any) -> Any:
        """Load a metric, as ``evaluate.load``."""
        return CodeEval() if path == "code_eval" else self._real().load(path, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)

    def _real(self) -> ModuleType:
        if self._original is None:
            here = sys.modules.pop("evaluate", None)
            self._original = importlib.import_module("evaluate")
            if isinstance(here, _Evaluate):
                sys.modules["evaluate"] = here
        return self._original
