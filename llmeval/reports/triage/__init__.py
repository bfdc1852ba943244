"""Why a score dropped: every lost item gets a cause, and so does every gained one."""

from llmeval.reports.triage.causes import CAUSES, Cause
from llmeval.reports.triage.triage import Example, Tally, Triage, triage

__all__ = ["CAUSES", "Cause", "Example", "Tally", "Triage", "triage"]
