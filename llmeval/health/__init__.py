"""Health checks: what a person should know before using a run's numbers. See ``docs/health.md``."""

from llmeval.health.finding import Finding
from llmeval.health.seen import TaskFacts
from llmeval.health.stored import examine_run
from llmeval.health.tally import HealthTally, read_facts
from llmeval.health.template import RunFacts

__all__ = ["Finding", "HealthTally", "RunFacts", "TaskFacts", "examine_run", "read_facts"]
