"""How questions reach a model: the gather, the journal, the loop over samples, progress."""

from llmeval.engine.evaluate import DEFAULT_WINDOW, Evaluated, evaluate
from llmeval.engine.gather import Usage
from llmeval.engine.journal import Journal, JournaledRun
from llmeval.engine.progress import Meter, Progress, Silent

__all__ = [
    "DEFAULT_WINDOW",
    "Evaluated",
    "Journal",
    "JournaledRun",
    "Meter",
    "Progress",
    "Silent",
    "Usage",
    "evaluate",
]
