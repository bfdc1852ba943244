"""Served models: calls kept in flight through faults, limits and budgets."""

from llmeval.engine.serving.pipeline import evaluate_served

__all__ = ["evaluate_served"]
