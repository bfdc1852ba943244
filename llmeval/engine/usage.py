"""What a run asked and what that took."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmeval.core import Generation, Response


@dataclass(slots=True)
class Usage:
    """Counts questions, not attempts.

    Args:
        requests: questions that tasks asked.
        cached: of these, answered without the model: asked before in this run, or journaled by
            an earlier run.
        prompt_tokens, completion_tokens: of the questions that the model answered.
        cached_tokens: of the prompt tokens, those that a server had in its cache.
        reasoning_tokens: of the completion tokens, those that are thoughts.
        truncated: answers whose prompt was cut from the left.
        cut: answers that ended at the token limit.
        separate_boundaries: answers to a continuation that was tokenized apart from its context.
        usd: what the answers cost; None where no price is known.
        model_seconds: wall time in which the model answered, of this attempt.
    """

    requests: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    truncated: int = 0
    cut: int = 0
    separate_boundaries: int = 0
    usd: float | None = None
    model_seconds: float = field(default=0.0, compare=False)

    def count(self, response: Response, usd: float | None = None) -> None:
        """Count an answer of this run's model, and what it cost."""
        self.prompt_tokens += response.prompt_tokens
        self.completion_tokens += response.completion_tokens
        self.truncated += bool(response.truncated)
        self.separate_boundaries += getattr(response, "boundary", None) == "separate"
        if isinstance(response, Generation):
            self.cached_tokens += response.cached_tokens
            self.reasoning_tokens += response.reasoning_tokens
            # A letter among the first token's alternatives is one token, and meant to be.
            self.cut += response.finish_reason == "length" and response.top_logprobs is None
        if usd is not None:
            self.usd = (self.usd or 0.0) + usd
