"""Who answers: local checkpoints, served models, the embedded model, and baselines."""

from llmeval.models.kinds import AnySettings, from_model_args, read_settings
from llmeval.models.registry import ModelRow, list_models, load_model, require_model
from llmeval.models.settings import ModelSettings

__all__ = [
    "AnySettings",
    "ModelRow",
    "ModelSettings",
    "from_model_args",
    "list_models",
    "load_model",
    "read_settings",
    "require_model",
]
