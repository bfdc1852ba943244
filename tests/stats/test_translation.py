"""BLEU, chrF and TER: every score and spread against sacrebleu itself."""

from __future__ import annotations

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from llmeval.stats.translation import (
    bleu_scores,
    bootstrap_bleu,
    bootstrap_chrf,
    bootstrap_ter,
    chrf_scores,
    ter_scores,
)

TEXT = "the a cat dog sat ran on under mat tree , quickly slowly and then it slept"
WORDS = TEXT.split()


def corpus(n: int) -> tuple[list[str], list[list[str]]]:
    rng = np.random.default_rng(4)
    references, hypotheses = [], []
    for _ in range(n):
        words = list(rng.choice(WORDS, rng.integers(6, 14)))
        kept = [w if rng.random() < 0.8 else str(rng.choice(WORDS)) for w in words]
        references.append([" ".join(words)] + ([" ".join(kept[1:])] if rng.random() < 0.3 else []))
        hypotheses.append(" ".join(kept))
    return hypotheses, references


HYPOTHESES, REFERENCES = corpus(60)
STREAMS = [
    [r[0] for r in REFERENCES],
    [r[1] if len(r) > 1 else None for r in REFERENCES],
]


@pytest.mark.parametrize(
    ("ours", "metric"),
    [
        (bootstrap_bleu, BLEU()),
        (bootstrap_chrf, CHRF()),
        (lambda h, r, **kw: bootstrap_chrf(h, r, word_order=2, **kw), CHRF(word_order=2)),
        (bootstrap_ter, TER()),
    ],
)
def test_value_and_spread_are_sacrebleus(ours, metric, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("SACREBLEU_SEED", "12345")
    expected = metric.corpus_score(HYPOTHESES, STREAMS, n_bootstrap=1500)
    estimate = ours(HYPOTHESES, REFERENCES, resamples=1500)
    assert estimate.value == pytest.approx(expected.score, rel=1e-9)
    half = (estimate.ci95[1] - estimate.ci95[0]) / 2
    assert half == pytest.approx(expected._ci, rel=0.12)


def test_lm_evals_corpus_functions_agree() -> None:
    from lm_eval.api.metrics import bleu, chrf, ter

    items = [(reference[0], answer) for reference, answer in zip(REFERENCES, HYPOTHESES)]  # noqa: B905
    firsts = [[reference] for reference, _ in items]
    assert bootstrap_bleu(HYPOTHESES, firsts, resamples=2).value == pytest.approx(bleu(items))
    assert bootstrap_chrf(HYPOTHESES, firsts, resamples=2).value == pytest.approx(chrf(items))
    assert bootstrap_ter(HYPOTHESES, firsts, resamples=2).value == pytest.approx(ter(items))


counts = st.integers(0, 30)


@given(arrays(np.int64, 8, elements=counts), counts, counts)
def test_bleu_of_any_counts_is_sacrebleus(cells: np.ndarray, answer: int, reference: int) -> None:
    ngrams = np.maximum(cells[:4], cells[4:])
    matches = np.minimum(cells[:4], cells[4:])
    if answer == 0:  # no words, no n-grams
        ngrams[:] = matches[:] = 0
    expected = BLEU.compute_bleu(
        matches.tolist(), ngrams.tolist(), answer, reference, smooth_method="exp"
    )
    sums = np.concatenate([[answer, reference], matches, ngrams]).astype(float)[None, :]
    assert bleu_scores(sums)[0] == pytest.approx(expected.score, rel=1e-9, abs=1e-12)


@given(arrays(np.int64, (6, 3), elements=counts))
def test_chrf_of_any_counts_is_sacrebleus(cells: np.ndarray) -> None:
    cells[:, 2] = np.minimum(cells[:, 2], cells[:, :2].min(axis=1))
    expected = CHRF()._compute_f_score(cells.ravel().tolist())
    assert chrf_scores(cells.reshape(1, -1).astype(float))[0] == pytest.approx(expected, abs=1e-9)


@given(counts, counts)
def test_ter_of_any_counts_is_sacrebleus(edits: int, length: int) -> None:
    expected = TER()._compute_score_from_stats([edits, length]).score
    assert ter_scores(np.array([[edits, length]], dtype=float))[0] == pytest.approx(expected)


def test_no_answers_and_missing_references() -> None:
    assert bootstrap_bleu([], []).status == "empty"
    with pytest.raises(ValueError, match="at least one reference"):
        bootstrap_bleu(["a"], [[]])
    with pytest.raises(ValueError, match="1 hypotheses but 2"):
        bootstrap_ter(["a"], [["a"], ["b"]])


def test_sacrebleu_is_the_version_whose_statistics_are_used() -> None:
    assert sacrebleu.__version__.startswith("2.")
