"""Logging runs to experiment trackers. A tracker is told of a record; it never decides on a run."""

from llmeval.tracking.targets import Target, parse_target, require_target
from llmeval.tracking.track import NotTracked, track_run

__all__ = ["NotTracked", "Target", "parse_target", "require_target", "track_run"]
