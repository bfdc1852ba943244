"""Which token a row gets next: the most probable one, or one drawn with the row's own dice."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from llmeval.core.hashes import fingerprint
from llmeval.core.requests import GenerateRequest, Sampling


def make_dice(request: GenerateRequest) -> random.Random:
    """Return a row's own generator: it follows from the request, its seed and its repeat only."""
    return random.Random(fingerprint([request.sampling.seed, request.canonical()]))


class Drawer:
    """Chooses the next tokens of rows that share their sampling settings.

    A row draws by inverting the cumulative distribution at a number from its own dice, so the draw
    depends on no other row of the batch.
    """

    def __init__(self, sampling: Sampling) -> None:
        self.greedy = sampling.greedy
        self._warpers: list[Any] = []
        if sampling.greedy:
            return
        if sampling.temperature != 1.0:
            self._warpers.append(TemperatureLogitsWarper(sampling.temperature))
        if sampling.top_k:
            self._warpers.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p is not None and sampling.top_p < 1.0:
            self._warpers.append(TopPLogitsWarper(sampling.top_p))

    def draw(self, logits: Any, dice: Sequence[random.Random]) -> Any:
        """Return the next token of each row, [rows] on the CPU; -1 where logits are no numbers.

        Args:
            logits: [rows, vocabulary] in the model's dtype.
            dice: one for each row; greedy rows throw none.
        """
        if self.greedy:
            best, tokens = logits.max(dim=-1)
        else:
            best, tokens = logits.max(dim=-1).values, self._invert(logits, dice)
        # A maximum is finite unless a logit is NaN or +inf, or all are -inf.
        return torch.where(best.isfinite(), tokens.to(best.device), -1).cpu()

    def _invert(self, logits: Any, dice: Sequence[random.Random]) -> Any:
        warped = logits.float()
        for warp in self._warpers:
            warped = warp(None, warped)
        # On the CPU in float64: the same draw on every device, as far as the logits agree.
        heights = warped.softmax(dim=-1).cpu().double().cumsum(dim=-1)
        levels = torch.tensor([die.random() for die in dice], dtype=torch.float64)
        drawn = torch.searchsorted(heights, (levels * heights[:, -1]).unsqueeze(1), right=True)
        return drawn.squeeze(1).clamp(max=logits.shape[-1] - 1)
