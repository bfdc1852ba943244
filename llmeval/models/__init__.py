"""Who answers: local checkpoints, served models, the embedded model, and baselines."""

from llmeval.models.registry import ModelRow, list_models, load_model
from llmeval.models.settings import AnySettings, ModelSettings, from_model_args, read_settings

__all__ = [
    "AnySettings",
    "ModelRow",
    "ModelSettings",
    "from_model_args",
    "list_models",
    "load_model",
    "read_settings",
]
