"""Executions a second of the sandbox, by tier: ``python bench/sandbox.py [--seconds N]``.

One execution is what a HumanEval answer costs: a fresh box, a candidate, a tester, a verdict.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ThreadPoolExecutor

from llmeval.sandbox import Sandbox
from llmeval.sandbox.nursery import TIERS
from llmeval.sandbox.tiers import failure_of

PROMPT = 'def largest(numbers: list) -> int:\n    """Return the largest number."""\n'
COMPLETION = "    return max(numbers)\n"
TEST = """
def check(candidate):
    assert candidate([1, 2, 3]) == 3
    assert candidate([-1]) == -1
    assert all(candidate(list(range(n))) == n - 1 for n in range(1, 20))
"""


def measure(tier: str, seconds: float, threads: int) -> float:
    """Return executions a second over about `seconds`."""
    with Sandbox(tier=tier, allow_unsafe=True) as sandbox, ThreadPoolExecutor(threads) as pool:

        def work(_: int) -> int:
            done = 0
            while time.monotonic() < deadline:
                assert sandbox.check_function(PROMPT, COMPLETION, TEST, "largest").passed
                done += 1
            return done

        deadline = time.monotonic()
        work(0)
        started = time.monotonic()
        deadline = started + seconds
        done = sum(pool.map(work, range(threads)))
        return done / (time.monotonic() - started)


def main() -> None:
    """Measure every tier that works here and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=2 * (os.cpu_count() or 1))
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} processors, load {load:.1f}, {arguments.threads} threads")
    for tier in TIERS:
        failure = failure_of(tier)
        if failure is not None:
            print(f"{tier:12} not here: {failure}")
            continue
        rate = measure(tier, arguments.seconds, arguments.threads)
        print(f"{tier:12} {rate:6.1f} executions/s")


if __name__ == "__main__":
    main()
