"""Who answers: local Hugging Face checkpoints, the embedded model, and baselines."""

from llmeval.models.registry import ModelRow, list_models, load_model
from llmeval.models.settings import ModelSettings, from_model_args

__all__ = ["ModelRow", "ModelSettings", "from_model_args", "list_models", "load_model"]
