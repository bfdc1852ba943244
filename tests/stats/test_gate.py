"""The regression gate."""

from __future__ import annotations

import numpy as np

from llmeval.stats import Verdict, decide, gate


def test_clear_cases() -> None:
    rng = np.random.default_rng(0)
    same = rng.choice([-1, 0, 1], 3000, p=[0.02, 0.96, 0.02])
    worse = rng.choice([-1, 0, 1], 3000, p=[0.2, 0.7, 0.1])
    results = [gate.test_noninferiority(d, 0.02) for d in (same, worse, same[:30])]
    assert decide(results) == [Verdict.PASS, Verdict.REGRESSED, Verdict.INCONCLUSIVE]
