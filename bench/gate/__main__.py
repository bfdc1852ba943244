"""How often the regression gate errs, and what it finds: ``python -m bench.gate [--runs N]``.

Simulates the verdicts on one task at the edge of the tolerance, without any change and at twice the
tolerance; on several tasks; and the evidence over nights. Prints Markdown tables, each share with
its 95% Monte Carlo interval in percent. The exit code is 1 where a share that may be 5% at most is
larger beyond doubt.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from pathlib import Path

import numpy as np

from bench.gate.nights import write_nights
from bench.gate.verdicts import write_cases, write_families, write_plan


def describe_machine() -> str:
    """The processor's name, and the versions that matter."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines()
             if line.startswith("model name")] if info.exists() else []  # fmt: skip
    name = names[0] if names else platform.machine()
    return f"{name}, one core; Python {platform.python_version()}, numpy {np.__version__}"


def main() -> int:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40_000, help="of the cheapest rows")
    runs = parser.parse_args().runs
    started = time.process_time()
    failures: list[str] = []
    print(f"{time.strftime('%Y-%m-%d')}: {describe_machine()}; --runs {runs}\n")
    tables = (
        write_cases(runs, failures),
        write_families(runs, failures),
        write_plan(),
        write_nights(runs // 40, failures),
    )
    for table in tables:
        for line in table:
            print(line, flush=True)
        print()
    print(f"{time.process_time() - started:.0f} s of CPU")
    for failure in failures:
        print(f"ABOVE 5%: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
