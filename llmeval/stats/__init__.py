"""Pure functions on arrays: intervals, tests, power, gates, rankings. Imports nothing of ours.

The generic ``bootstrap`` is in `llmeval.stats.bootstrap`, whose name it would hide here.
"""

from llmeval.stats.bootstrap import bootstrap_sums
from llmeval.stats.calibration import (
    ReliabilityBin,
    brier_score,
    expected_calibration_error,
    reliability,
)
from llmeval.stats.corpus import (
    bootstrap_f1,
    bootstrap_mcc,
    bootstrap_median,
    bootstrap_perplexity,
)
from llmeval.stats.gate import (
    Noninferiority,
    Verdict,
    decide,
    test_noninferiority,
    tested_bounds,
)
from llmeval.stats.intervals import (
    Estimate,
    clopper_pearson_interval,
    clustered_stderr,
    estimate_mean,
    estimate_mean_by_t,
    t_interval,
    wilson_interval,
)
from llmeval.stats.multiplicity import benjamini_hochberg, holm
from llmeval.stats.paired import (
    mcnemar_exact,
    paired_difference,
    permutation_test,
    tango_interval,
)
from llmeval.stats.passk import maj_at_k, pass_at_k
from llmeval.stats.pooling import pool, pooled_stderr, unweighted_stderr
from llmeval.stats.power import (
    mcnemar_mde,
    mcnemar_n,
    minimum_detectable_effect,
    planned_n,
    planned_n_unpaired,
)
from llmeval.stats.ranking import (
    Pairwise,
    compare_all,
    rank_intervals,
    significantly_better,
    tiers,
)
from llmeval.stats.sequential import (
    combine_evidence,
    combine_nights,
    decoding_stderr,
    night_evidence,
)
from llmeval.stats.strengths import BradleyTerry, bradley_terry
from llmeval.stats.translation import bootstrap_bleu, bootstrap_chrf, bootstrap_ter
from llmeval.stats.weighting import average_intervals, stratified_mean, weighted_mean

__all__ = [
    "BradleyTerry",
    "Estimate",
    "Noninferiority",
    "Pairwise",
    "ReliabilityBin",
    "Verdict",
    "average_intervals",
    "benjamini_hochberg",
    "bootstrap_bleu",
    "bootstrap_chrf",
    "bootstrap_f1",
    "bootstrap_mcc",
    "bootstrap_median",
    "bootstrap_perplexity",
    "bootstrap_sums",
    "bootstrap_ter",
    "bradley_terry",
    "brier_score",
    "clopper_pearson_interval",
    "clustered_stderr",
    "combine_evidence",
    "combine_nights",
    "compare_all",
    "decide",
    "decoding_stderr",
    "estimate_mean",
    "estimate_mean_by_t",
    "expected_calibration_error",
    "holm",
    "maj_at_k",
    "mcnemar_exact",
    "mcnemar_mde",
    "mcnemar_n",
    "minimum_detectable_effect",
    "night_evidence",
    "paired_difference",
    "pass_at_k",
    "permutation_test",
    "planned_n",
    "planned_n_unpaired",
    "pool",
    "pooled_stderr",
    "rank_intervals",
    "reliability",
    "significantly_better",
    "stratified_mean",
    "t_interval",
    "tango_interval",
    "test_noninferiority",
    "tested_bounds",
    "tiers",
    "unweighted_stderr",
    "weighted_mean",
    "wilson_interval",
]
