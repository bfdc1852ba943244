"""Models behind an OpenAI-compatible API: how they are reached, asked, probed and paid."""

from llmeval.models.served.settings import ServedSettings

__all__ = ["ServedSettings"]
