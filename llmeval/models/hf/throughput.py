"""How near a model's computing comes to what the machine's matrix products allow."""

from __future__ import annotations

import threading
import time
from typing import Any

import torch

from llmeval.models.hf.runner import Effort

_ROWS = 256  # of the matrix that is multiplied: the size of a pack
_PROBE_SECONDS = 0.15
_WORTH_A_PROBE = 5.0  # seconds of computing: shorter runs should not wait for the probe


class Figures:
    """Adds up what a model computed, from any thread."""

    def __init__(self, model: Any, workers: int = 1) -> None:
        self._model = model
        self._workers = workers
        self._lock = threading.Lock()
        self._effort = Effort()
        self._distinct = 0
        self._seconds = 0.0

    def add(self, effort: Effort, distinct: int, seconds: float) -> None:
        """Add one piece of work; ``distinct`` tokens are what it had to compute at least."""
        with self._lock:
            self._effort += effort
            self._distinct += distinct
            self._seconds += seconds

    def report(self) -> dict[str, Any]:
        """Return tokens, tokens a second of all workers, and their share of the matrix rate.

        Begins anew: the next report is of what comes after this one.
        """
        with self._lock:
            effort, distinct, busy = self._effort, self._distinct, self._seconds
            self._effort, self._distinct, self._seconds = Effort(), 0, 0.0
        if not busy:
            return {}
        seconds = busy / self._workers
        figures: dict[str, Any] = {
            "computed_tokens": effort.tokens,
            "distinct_tokens": distinct,
            "seconds": round(seconds, 3),
            "tokens_per_second": round(effort.tokens / seconds, 1),
        }
        flops = count_flops(self._model, effort)
        if flops is not None and busy >= _WORTH_A_PROBE:
            ceiling = measure_ceiling(self._model)
            figures["gflops"] = round(flops / seconds / 1e9, 1)
            figures["matmul_gflops"] = round(ceiling / 1e9, 1)
            figures["matmul_share"] = round(flops / busy / ceiling, 3)
        return figures


def count_flops(model: Any, effort: Effort) -> float | None:
    """Return the floating-point operations of an effort: 2 for each weight that a token meets, 4
    for each number of a query that meets a key, 2 for each weight of the output head.

    None where the weights that a token meets are not known: mixtures of experts, quantised ones.
    """
    if getattr(model.config, "quantization_config", None) is not None:
        return None
    config = model.config.get_text_config(decoder=True)
    outer = {
        id(module.weight)
        for module in (model.get_input_embeddings(), model.get_output_embeddings())
        if module is not None
    }
    inner = [(n, p) for n, p in model.named_parameters() if id(p) not in outer and p.dim() > 1]
    if any("expert" in name or p.dim() > 2 for name, p in inner):
        return None
    weights = sum(p.numel() for _, p in inner)
    head_size = getattr(config, "head_dim", None) or (
        config.hidden_size // config.num_attention_heads
    )
    queries = config.num_hidden_layers * config.num_attention_heads * head_size
    head = config.hidden_size * config.vocab_size
    return float(
        2 * weights * effort.tokens + 4 * queries * effort.attended + 2 * head * effort.outputs
    )


def measure_ceiling(model: Any) -> float:
    """Return the machine's matrix-product rate now, in operations a second: best of several
    products of the model's own width and dtype on its device."""
    config = model.config.get_text_config(decoder=True)
    width = config.hidden_size
    inner = getattr(config, "intermediate_size", None) or 4 * width
    left = torch.randn(_ROWS, width, dtype=model.dtype, device=model.device)
    right = torch.randn(inner, width, dtype=model.dtype, device=model.device)
    best, until = 0.0, time.perf_counter() + _PROBE_SECONDS
    with torch.inference_mode():
        while time.perf_counter() < until:
            began = time.perf_counter()
            for _ in range(8):
                torch.nn.functional.linear(left, right)
            if model.device.type == "cuda":
                torch.cuda.synchronize()
            best = max(best, 16 * _ROWS * width * inner / (time.perf_counter() - began))
    return best
