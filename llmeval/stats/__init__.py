"""Pure functions on arrays: intervals, bootstrap, pass@k, pooling. Imports nothing of ours.

The generic ``bootstrap`` is in `llmeval.stats.bootstrap`, whose name it would hide here.
"""

from llmeval.stats.bootstrap import bootstrap_sums
from llmeval.stats.corpus import (
    bootstrap_f1,
    bootstrap_mcc,
    bootstrap_median,
    bootstrap_perplexity,
)
from llmeval.stats.intervals import (
    Estimate,
    clustered_stderr,
    estimate_mean,
    t_interval,
    wilson_interval,
)
from llmeval.stats.passk import maj_at_k, pass_at_k
from llmeval.stats.pooling import pool, pooled_stderr, unweighted_stderr
from llmeval.stats.translation import bootstrap_bleu, bootstrap_chrf, bootstrap_ter

__all__ = [
    "Estimate",
    "bootstrap_bleu",
    "bootstrap_chrf",
    "bootstrap_f1",
    "bootstrap_mcc",
    "bootstrap_median",
    "bootstrap_perplexity",
    "bootstrap_sums",
    "bootstrap_ter",
    "clustered_stderr",
    "estimate_mean",
    "maj_at_k",
    "pass_at_k",
    "pool",
    "pooled_stderr",
    "t_interval",
    "unweighted_stderr",
    "wilson_interval",
]
