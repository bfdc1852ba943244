"""Baselines: the simplest answers, as models, so that every table can carry them."""

from __future__ import annotations

import difflib

from llmeval.core.errors import UsageError
from llmeval.models.baselines.base import Baseline
from llmeval.models.baselines.learned import Gbdt, Knn, TfidfLogreg
from llmeval.models.baselines.rules import Longest, Majority, Oracle, Overlap, Random
from llmeval.models.settings import ModelSettings

BASELINES: dict[str, type[Baseline]] = {
    cls.name.partition(":")[2]: cls
    for cls in (Random, Majority, Longest, Overlap, TfidfLogreg, Knn, Gbdt, Oracle)
}


def load_baseline(name: str, settings: ModelSettings | None = None) -> Baseline:
    """Return a baseline by the name after ``baseline:``.

    Raises:
        UsageError: an unknown name, with the nearest ones.
    """
    if name in BASELINES:
        return BASELINES[name].load(settings or ModelSettings())
    near = [known for known in BASELINES if name and name in known]
    near = near or difflib.get_close_matches(name, BASELINES, n=2)
    guess = f"did you mean {' or '.join(near)}? " if near else ""
    raise UsageError(f"unknown baseline {name!r}", mend=f"{guess}known: {', '.join(BASELINES)}")
