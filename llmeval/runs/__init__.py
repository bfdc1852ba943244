"""The run record: a table with a birth certificate. Everything that studies results reads it.

A record is a folder: ``manifest.json`` (what was asked, with what, by which code, on which data),
``samples.parquet``, ``scores.parquet``, ``summary.json``, and ``results.json`` in lm-eval's shape.
"""

from llmeval.runs.environment import describe_environment
from llmeval.runs.load import Run, load_run
from llmeval.runs.lock import RunLock
from llmeval.runs.record import RecordWriter
from llmeval.runs.results import to_lm_eval_results
from llmeval.runs.summary import Tally, summarize_groups, summarize_tasks

__all__ = [
    "RecordWriter",
    "Run",
    "RunLock",
    "Tally",
    "describe_environment",
    "load_run",
    "summarize_groups",
    "summarize_tasks",
    "to_lm_eval_results",
]
