"""A night from its file to its verdict: plan, ask anew, judge, keep."""

from llmeval.nightly.baselines import doubt_pins, set_baselines
from llmeval.nightly.file import Nightly, read_nightly
from llmeval.nightly.night import (
    compare_records,
    forget,
    judge_records,
    plan_night,
    run_night,
    state_folder,
)
from llmeval.nightly.planning import Plan

__all__ = [
    "Nightly",
    "Plan",
    "compare_records",
    "doubt_pins",
    "forget",
    "judge_records",
    "plan_night",
    "read_nightly",
    "run_night",
    "set_baselines",
    "state_folder",
]
