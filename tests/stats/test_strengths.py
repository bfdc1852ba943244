"""Bradley-Terry: against choix, statsmodels, and simulation; no number where there is none."""

from __future__ import annotations

import warnings

import choix
import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from llmeval.stats import bradley_terry

Floats = NDArray[np.float64]
Table = tuple[NDArray[np.intp], NDArray[np.intp], Floats]


def _games(seed: int, players: int, games: int, ties: float = 0.0) -> Table:
    rng = np.random.default_rng(seed)
    skill = rng.normal(0, 1, players)
    first = rng.integers(0, players, games)
    second = (first + rng.integers(1, players, games)) % players
    outcome = (rng.random(games) < 1 / (1 + np.exp(skill[second] - skill[first]))).astype(float)
    outcome[rng.random(games) < ties] = 0.5
    return first, second, outcome


def _values(table: Table, players: int, clusters: object = None) -> list[float]:
    fit = bradley_terry(*table, players, clusters)  # type: ignore[arg-type]
    assert fit.status == "ok"
    return [strength.value or 0.0 for strength in fit.strengths]


def test_strengths_are_choixs() -> None:
    first, second, outcome = _games(0, 6, 400)
    won = [(a, b) if o == 1 else (b, a) for a, b, o in zip(first, second, outcome, strict=True)]
    ours = _values((first, second, outcome), 6)
    for solve in (choix.ilsr_pairwise, choix.mm_pairwise):
        theirs = solve(6, won, tol=1e-10, max_iter=100_000)
        assert ours == pytest.approx(theirs - theirs.mean(), abs=1e-6)


@pytest.mark.parametrize("clustered", [False, True])
def test_covariance_is_statsmodels_sandwich(clustered: bool) -> None:
    first, second, outcome = _games(1, 4, 300, ties=0.2)
    prompts = np.arange(300) // 5
    design = np.zeros((300, 4))
    design[np.arange(300), first], design[np.arange(300), second] = 1, -1
    model = sm.GLM(outcome, design[:, 1:], family=sm.families.Binomial())  # player 0 at 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # half wins are no counts
        if clustered:
            options = {"groups": prompts, "use_correction": False}
            fit = model.fit(tol=1e-12, cov_type="cluster", cov_kwds=options)
        else:
            fit = model.fit(tol=1e-12, cov_type="HC0")
    ours = bradley_terry(first, second, outcome, 4, prompts if clustered else None)
    assert ours.covariance is not None
    units = 60 if clustered else 300
    contrast = np.column_stack([-np.ones(3), np.eye(3)])  # players 1 to 3 less player 0
    covariance = contrast @ ours.covariance @ contrast.T * (units - 1) / units
    assert covariance == pytest.approx(fit.cov_params(), rel=1e-6)
    values = np.array([strength.value for strength in ours.strengths])
    assert contrast @ values == pytest.approx(fit.params, abs=1e-8)
    assert [s.clusters for s in ours.strengths] == [60 if clustered else None] * 4


def test_two_players_by_hand() -> None:
    # 3 wins of 4: log-odds ln 3, half of it on each side of 0.
    fit = bradley_terry([0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 0], 2)
    assert fit.strengths[0].value == pytest.approx(np.log(3) / 2)
    # information .75, squared residuals 3/16 + 9/16, G/(G-1) = 4/3
    variance = 4 / 3 * (3 / 16 + 9 / 16) / 0.75**2
    assert fit.strengths[0].stderr == pytest.approx(np.sqrt(variance) / 2)
    tied = bradley_terry([0, 0], [1, 1], [0.5, 0.5], 2)
    assert [s.value for s in tied.strengths] == pytest.approx([0, 0])


@pytest.mark.parametrize(
    "first, second, outcome, status",
    [
        ([], [], [], "empty"),
        ([0, 0, 2, 2], [1, 1, 3, 3], [1, 0, 1, 0], "disconnected"),
        ([0, 0, 1], [1, 1, 2], [1, 0, 1], "disconnected"),  # player 3 never played
        ([0, 0, 1, 1, 2, 2], [1, 1, 2, 3, 3, 3], [1, 0, 1, 1, 1, 0], "separated"),
    ],
)
def test_no_strengths_are_made_up(
    first: list[int], second: list[int], outcome: list[float], status: str
) -> None:
    fit = bradley_terry(first, second, outcome, 4)
    assert (fit.status, fit.covariance, len(fit.strengths)) == (status, None, 4)
    assert all(s.value is None and s.ci95 is None and s.status != "ok" for s in fit.strengths)


def test_one_prompt_tells_no_spread() -> None:
    fit = bradley_terry([0, 0], [1, 1], [1, 0], 2, ["p", "p"])
    assert fit.status == "single"
    assert fit.strengths[0].value is None


def test_a_tie_joins_what_wins_alone_would_separate() -> None:
    assert bradley_terry([0, 0], [1, 1], [1, 1], 2).status == "separated"
    assert bradley_terry([0, 0], [1, 1], [1, 0.5], 2).status == "ok"


@given(st.integers(0, 10**6))
def test_sides_order_and_names_do_not_matter(seed: int) -> None:
    first, second, outcome = _games(seed, 4, 80, ties=0.3)
    if bradley_terry(first, second, outcome, 4).status != "ok":
        return
    straight = _values((first, second, outcome), 4)
    order = np.random.default_rng(seed).permutation(80)
    turned = _values((second[order], first[order], 1 - outcome[order]), 4)
    assert turned == pytest.approx(straight, abs=1e-7)
    names = np.random.default_rng(seed).permutation(4)
    renamed = _values((names[first], names[second], outcome), 4)
    assert [renamed[name] for name in names] == pytest.approx(straight, abs=1e-7)
    assert sum(straight) == pytest.approx(0, abs=1e-9)


def test_lopsided_games_settle() -> None:
    outcome = [1.0] * 5000 + [0.0]
    fit = bradley_terry([0] * 5001, [1] * 5001, outcome, 2)
    assert fit.strengths[0].value == pytest.approx(np.log(5000) / 2)


def test_clustered_intervals_cover_where_prompts_repeat() -> None:
    rng = np.random.default_rng(5)
    covered = {True: 0, False: 0}
    for _ in range(200):
        favour = rng.random(40) < 0.5  # a prompt is won by one side, 6 times over
        outcome = np.repeat(favour, 6).astype(float)
        for clustered in covered:
            fit = bradley_terry(
                np.zeros(240, int), np.ones(240, int), outcome, 2,
                np.repeat(np.arange(40), 6) if clustered else None,
            )  # fmt: skip
            low, high = fit.strengths[0].ci95 or (9, 9)
            covered[clustered] += low <= 0 <= high
    assert 0.91 <= covered[True] / 200 <= 0.985
    assert covered[False] / 200 < 0.8


def test_nonsense_is_refused() -> None:
    for games in (([0], [0], [1.0]), ([0], [2], [1.0]), ([0], [1], [2.0]), ([0], [1], [1.0, 0.0])):
        with pytest.raises(ValueError, match=r"himself|numbered|outcome"):
            bradley_terry(*games, 2)
    with pytest.raises(ValueError, match="two players"):
        bradley_terry([], [], [], 1)
