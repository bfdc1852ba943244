"""How questions reach a model: the gather, the journal, the loop over samples, progress."""

from llmeval.engine.budget import Budget, Limits
from llmeval.engine.evaluate import evaluate
from llmeval.engine.journal import Journal, JournaledRun
from llmeval.engine.progress import Meter, Progress, Silent
from llmeval.engine.usage import Usage
from llmeval.engine.verdicts import Evaluated
from llmeval.engine.windows import DEFAULT_WINDOW, order_by_data

__all__ = [
    "DEFAULT_WINDOW",
    "Budget",
    "Evaluated",
    "Journal",
    "JournaledRun",
    "Limits",
    "Meter",
    "Progress",
    "Silent",
    "Usage",
    "evaluate",
    "order_by_data",
]
