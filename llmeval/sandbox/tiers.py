"""Which kinds of sandbox work on this machine, found out by using them."""

from __future__ import annotations

import contextlib
import functools
import threading

from llmeval.core.errors import UsageError
from llmeval.sandbox.execution import judge
from llmeval.sandbox.nursery import TIERS, Nursery
from llmeval.sandbox.verdict import Limits, SandboxError

_MEND = "install bubblewrap, or allow user namespaces; --allow-unsafe-code runs it with limits only"
_lock = threading.Lock()


@functools.cache
def failure_of(tier: str) -> str | None:
    """Return why `tier` does not work here, None if it does. Tried once a process."""
    job = {
        "kind": "asserts",
        "setup": "",
        "names": ["f"],
        "modules": [],
        "test": "assert f(2) == 4",
    }
    try:
        with contextlib.closing(Nursery(tier)) as nursery:
            status, reason = judge(nursery, Limits(), "def f(x):\n    return 2 * x\n", job)
    except SandboxError as error:
        return error.what
    return None if status == "passed" else f"{tier} fails a trivial program: {reason}"


def detect_tier(allow_unsafe: bool = False) -> str:
    """Return the strongest tier that works here: ``bubblewrap``, ``namespaces`` or ``rlimits``.

    Args:
        allow_unsafe: whether ``rlimits`` may be the answer.

    Raises:
        UsageError: none works that is allowed; it says what to install.
    """
    reasons = []
    with _lock:
        for tier in TIERS:
            if tier == "rlimits" and not allow_unsafe:
                continue
            reason = failure_of(tier)
            if reason is None:
                return tier
            reasons.append(reason)
    raise UsageError("no safe way to run generated code: " + "; ".join(reasons), mend=_MEND)


def require_tier(tier: str, allow_unsafe: bool = False) -> str:
    """Return `tier` if it works here and is allowed.

    Raises:
        UsageError: it is unknown, does not work, or is ``rlimits`` without `allow_unsafe`.
    """
    if tier not in TIERS:
        raise UsageError(f"unknown sandbox tier {tier!r}", mend=f"use one of {', '.join(TIERS)}")
    if tier == "rlimits" and not allow_unsafe:
        raise UsageError("the rlimits tier does not contain hostile code", mend=_MEND)
    with _lock:
        reason = failure_of(tier)
    if reason is not None:
        raise UsageError(reason, mend=_MEND)
    return tier
