"""The nouns on one floor: requests, responses, samples, scores, tasks, models, hashes, errors."""

from llmeval.core.errors import (
    GateFailed,
    Interrupted,
    InvalidResult,
    LlmevalError,
    StorageError,
    UsageError,
)
from llmeval.core.hashes import canonical_json, digest, fingerprint
from llmeval.core.metrics import Estimate, Estimator, GroupMetric, Metric, TaskGroup
from llmeval.core.protocols import Answers, Ask, InformedModel, Model, Task
from llmeval.core.requests import (
    GenerateRequest,
    LoglikelihoodRequest,
    Message,
    Request,
    RollingRequest,
    Sampling,
)
from llmeval.core.responses import Failure, Generation, Loglikelihood, Response
from llmeval.core.samples import Gold, Sample, Score, Status, Unscorable

__all__ = [
    "Answers",
    "Ask",
    "Estimate",
    "Estimator",
    "Failure",
    "GateFailed",
    "GenerateRequest",
    "Generation",
    "Gold",
    "GroupMetric",
    "InformedModel",
    "Interrupted",
    "InvalidResult",
    "LlmevalError",
    "Loglikelihood",
    "LoglikelihoodRequest",
    "Message",
    "Metric",
    "Model",
    "Request",
    "Response",
    "RollingRequest",
    "Sample",
    "Sampling",
    "Score",
    "Status",
    "StorageError",
    "Task",
    "TaskGroup",
    "UsageError",
    "Unscorable",
    "canonical_json",
    "digest",
    "fingerprint",
]
