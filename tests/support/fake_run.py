"""``python -m tests.support.fake_run WORKSPACE``: one real run of a fake model, for killing.

It ends as the command line does: one line and an exit code.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from llmeval.cli import _guard
from llmeval.run_spec import RunSpec
from llmeval.session import execute
from tests.support.fakes import FakeModel, FakeTask


def make_spec(workspace: Path, *, delay: float = 0.0, n: int = 90, window: int = 25) -> RunSpec:
    """Return a run of three tasks: choices, several steps, and all kinds with repeated questions.

    The model writes its questions to ``asked.log`` in the workspace.
    """
    return RunSpec(
        model=FakeModel(delay=delay, log=workspace / "asked.log"),
        tasks=(
            FakeTask("choices", n, clustered=True),
            FakeTask("steps", n // 3, "steps"),
            FakeTask("mixed", n // 2, "mixed", theme="another"),
        ),
        workspace=workspace,
        out=workspace / "results",
        window=window,
    )


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("-n", type=int, default=90)
    parser.add_argument("--window", type=int, default=25)
    given = parser.parse_args(argv)
    run = execute(make_spec(given.workspace, delay=given.delay, n=given.n, window=given.window))
    print(json.dumps({"path": str(run.path), "status": run.status}))
    return 0


if __name__ == "__main__":
    sys.exit(_guard(main, sys.argv[1:]))
