"""lm-eval's own value for every aggregation; a standard error close to its bootstrap's."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from lm_eval.api import metrics as theirs

from llmeval.stats import Estimate
from llmeval.tasks.lmeval.estimators import estimator

RND = random.Random(7)
WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree"]
PAIRS = [(g, g if RND.random() < 0.7 else 1 - g) for g in (RND.randrange(2) for _ in range(120))]
LOGPROBS = [RND.gauss(-2, 0.5) for _ in range(120)]
WEIGHTED = [(RND.gauss(-40, 5), RND.randint(15, 30)) for _ in range(60)]


def sentence() -> list[str]:
    return [RND.choice(WORDS) for _ in range(RND.randint(5, 9))]


def translations() -> list[tuple[str, str]]:
    pairs = []
    for _ in range(40):
        words = sentence()
        said = [w if RND.random() < 0.8 else RND.choice(WORDS) for w in words]
        pairs.append((" ".join(words), " ".join(said)))
    return pairs


SENTENCES = translations()


def estimate(aggregate: Any, items: Sequence[Any], clusters: Any = None) -> Estimate:
    found = estimator(aggregate)(items, clusters)
    assert isinstance(found, Estimate)
    return found


@pytest.mark.parametrize(
    ("aggregate", "items", "resamples"),
    [
        (theirs.mean, LOGPROBS, 1),
        (theirs.nanmean, LOGPROBS, 2000),
        (theirs.median, LOGPROBS, 2000),
        (theirs.perplexity, LOGPROBS, 2000),
        (theirs.f1_score, PAIRS, 400),
        (theirs.matthews_corrcoef, PAIRS, 400),
        (theirs.bleu, SENTENCES, 100),
        (theirs.chrf, SENTENCES, 100),
        (theirs.ter, SENTENCES, 100),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_value_and_standard_error_are_lm_evals(
    aggregate: Callable[[Any], float],
    items: Sequence[Any],
    resamples: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    ours = estimate(aggregate, items)
    assert ours.value == pytest.approx(aggregate(items), rel=1e-12)
    their_stderr = theirs.stderr_for_metric(aggregate, resamples)
    assert their_stderr is not None
    exact = aggregate is theirs.mean
    assert ours.stderr == pytest.approx(their_stderr(items), rel=1e-9 if exact else 0.25)
    assert ours.ci95 is not None
    assert ours.ci95[0] < aggregate(items) < ours.ci95[1]


@pytest.mark.parametrize("aggregate", [theirs.weighted_perplexity, theirs.bits_per_byte])
def test_weighted_values_are_lm_evals_and_have_an_interval(aggregate: Any) -> None:
    ours = estimate(aggregate, WEIGHTED)
    assert ours.value == pytest.approx(aggregate(WEIGHTED), rel=1e-12)
    assert ours.ci95 is not None
    assert ours.ci95[0] < aggregate(WEIGHTED) < ours.ci95[1]


def test_brier_score_is_a_mean_of_squared_errors() -> None:
    items = [[0, [0.7, 0.2, 0.1]], [2, [0.3, 0.3, 0.4]], [1, [0.5, 0.25, 0.25]]]
    by_hand = [0.09 + 0.04 + 0.01, 0.09 + 0.09 + 0.36, 0.25 + 0.5625 + 0.0625]
    ours = estimate(theirs.brier_score, items)
    assert ours.value == pytest.approx(sum(by_hand) / 3)
    deviations = sum((x - sum(by_hand) / 3) ** 2 for x in by_hand)
    assert ours.stderr == pytest.approx(math.sqrt(deviations / 2) / math.sqrt(3))


def test_no_aggregation_is_the_mean() -> None:
    assert estimate(None, [1.0, 2.0, 6.0]).value == 3.0


def test_an_own_aggregation_is_resampled_by_cluster() -> None:
    def all_right(items: Sequence[float]) -> float:
        return sum(items) / len(items)

    items = [float(i % 3 == 0) for i in range(90)]
    independent = estimate(all_right, items)
    assert independent.stderr == pytest.approx(math.sqrt(1 / 3 * 2 / 3 / 90), rel=0.2)
    alike = [float(i // 9 % 3 == 0) for i in range(90)]  # ten groups of nine equal rows
    clustered = estimate(all_right, alike, [str(i // 9) for i in range(90)])
    assert clustered.stderr is not None and independent.stderr is not None
    assert clustered.stderr > 2 * independent.stderr


def fails(items: Sequence[Any]) -> float:
    raise ZeroDivisionError("no such class")


def fails_without_first(items: Sequence[Any]) -> float:
    return 1 / items.count(0)


@pytest.mark.parametrize(
    ("aggregate", "why"), [(fails, "ZeroDivisionError"), (lambda _: math.nan, "gives nan")]
)
def test_an_aggregation_without_a_value_says_why(aggregate: Any, why: str) -> None:
    ours = estimate(aggregate, [1.0, 2.0])
    assert (ours.value, ours.stderr, ours.n, ours.status) == (None, None, 2, "undefined")
    assert why in ours.method


def test_a_value_whose_resamples_fail_stays() -> None:
    ours = estimate(fails_without_first, [0, 1, 2])
    assert (ours.value, ours.stderr) == (1.0, None)
    assert "ZeroDivisionError" in ours.method


def test_an_overflow_is_no_value() -> None:
    assert estimate(theirs.perplexity, [-800.0, -900.0]).value is None


def test_nothing_measured() -> None:
    ours = estimate(theirs.mean, [])
    assert (ours.value, ours.n, ours.status) == (None, 0, "empty")
