"""What ``llmeval regress --init`` writes: a nightly file and a workflow for GitHub Actions."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from llmeval.cli.new_files import write_new_files

NIGHTLY = """\
# `llmeval regress nightly.yaml` asks the model anew and judges it against its baseline.
# Run it once, then pin that: `llmeval regress nightly.yaml --set-baseline latest`. docs/nightly.md
name: nightly                  # the state is kept in results/regress/nightly
model: pocket                  # e.g. openai:gpt-4o-mini; several models: see docs/nightly.md
tasks: [pocket]
options:
  limit: 400                   # items of each task; `--plan` says how many are needed
tolerance: 0.05                # how much worse is still good, in the metric's unit
# tolerances: {pocket_mmlu: 0.03, pocket_truthfulqa: {mc2: 0.05}}
alpha: 0.05                    # chance of any wrong verdict, over all tasks and models
inconclusive: fail             # or pass: what a night does that cannot be decided
max_errors: 0.05               # more items without an answer: INVALID
# max_usd: 5                   # of a night; also max_requests, max_minutes
# sentinel: {items: 50, repeats: 3}    # asked again on the same night: noise or drift?
keep_nights: 60                # records of older nights are removed; their evidence stays
"""

WORKFLOW = """\
# Judges the model every night. Failed: REGRESSED, INVALID, or INCONCLUSIVE with that policy.
name: llmeval nightly
on:
  schedule:
    - cron: "17 3 * * *"       # UTC; not on the hour, when everybody starts
  workflow_dispatch:
concurrency: llmeval-nightly   # never two at once
permissions:
  contents: read
jobs:
  regress:
    runs-on: ubuntu-latest
    timeout-minutes: 120
    env:
      OPENAI_API_KEY: ${{ secrets.OPENAI_API_KEY }}
      HF_TOKEN: ${{ secrets.HF_TOKEN }}
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
          cache: pip
      - run: pip install 'llmeval[hf]'
      # The nights before: evidence and records. A cache key is never written twice.
      - uses: actions/cache/restore@v4
        with:
          path: |
            results
            ~/.cache/huggingface
          key: llmeval-nightly-${{ github.run_id }}-${{ github.run_attempt }}
          restore-keys: llmeval-nightly-
      - run: llmeval regress nightly.yaml --junit junit.xml --html nightly.html
      # By itself the cache is kept of jobs that succeed only: a night that failed counts, too.
      - uses: actions/cache/save@v4
        if: always()
        with:
          path: |
            results
            ~/.cache/huggingface
          key: llmeval-nightly-${{ github.run_id }}-${{ github.run_attempt }}
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: llmeval-nightly
          path: |
            junit.xml
            nightly.html
            results/regress/*/*.json*
"""

_FILES = {
    "nightly.yaml": NIGHTLY,
    ".github/workflows/llmeval-nightly.yml": WORKFLOW,
}


def write_files(folder: Path) -> int:
    """Write the files and say what to do next; nothing that is there is overwritten.

    Raises:
        UsageError: one of them is there already.
        StorageError: the disk refuses.
    """
    write_new_files(folder, _FILES)
    there = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    print(f"now: {there}llmeval regress nightly.yaml --plan")
    print(f"cron: {cron_line(folder)}")
    return 0


def cron_line(folder: Path) -> str:
    """Return a line for crontab."""
    place = shlex.quote(str(folder.resolve()))
    script = Path(sys.executable).with_name("llmeval")  # cron has next to no PATH
    command = shlex.quote(str(script)) if script.exists() else f"{sys.executable} -m llmeval"
    line = f"cd {place} && {command} regress nightly.yaml --quiet >> nightly.log 2>&1"
    return "17 3 * * * " + line.replace("%", r"\%")  # which stands for a new line there
