"""The garbage collector rests while a run loads, and only then."""

from __future__ import annotations

import gc

import pytest

from llmeval.cli.collector import WakeCollector, resting_collector
from llmeval.engine.progress import Silent


def test_collector_wakes_when_the_questions_begin() -> None:
    with resting_collector():
        assert not gc.isenabled()
        WakeCollector(Silent()).start(1)
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    gc.unfreeze()


def test_collector_wakes_after_an_error() -> None:
    with pytest.raises(ValueError), resting_collector():
        raise ValueError
    assert gc.isenabled()
