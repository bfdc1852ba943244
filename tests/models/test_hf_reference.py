"""Log-probabilities, greedy flags and texts equal lm-eval's recorded outputs on real benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.models.asking import ask
from tests.models.reference import RUNS, Completion, Pair, read_run
from tests.support.shared import shared_dir

FAST = 48  # questions of a run in the fast test, evenly drawn


@pytest.fixture(scope="module")
def real_model(load: Callable[..., Any]) -> Callable[[str], Any]:
    loaded: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name not in loaded:
            loaded[name] = load(shared_dir("models", name))
        return loaded[name]

    return get


def compare(model: Any, pairs: list[Pair], completions: list[Completion]) -> None:
    answers = ask(model, [item.request for item in (*pairs, *completions)])
    for answer, pair in zip(answers, pairs, strict=False):
        assert answer.logprob == pytest.approx(pair.logprob, abs=1e-3), pair.request
        assert answer.is_greedy == pair.is_greedy, pair.request
        assert answer.boundary is None
    for answer, completion in zip(answers[len(pairs) :], completions, strict=True):
        assert answer.text == completion.text


@pytest.mark.parametrize(("name", "run"), RUNS)
def test_a_part_of_each_run_agrees(name: str, run: str, real_model: Callable[[str], Any]) -> None:
    pairs, completions = read_run(name, run)
    step = max(1, len(pairs) // FAST)
    compare(real_model(name), pairs[::step], completions)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "run"), [run for run in RUNS if run[1] != "gsm8k_5shot"])
def test_each_run_agrees_whole(name: str, run: str, real_model: Callable[[str], Any]) -> None:
    compare(real_model(name), *read_run(name, run))


def test_words_joined_across_the_boundary_are_scored(real_model: Callable[[str], Any]) -> None:
    """Document 30 of LAMBADA, whose empty continuation stops lm-eval."""
    import pyarrow.parquet as pq

    from llmeval.core import LoglikelihoodRequest

    folder = shared_dir("data", "hub", "EleutherAI", "lambada_openai", "default")
    texts = pq.read_table(folder / "test.parquet")["text"].to_pylist()
    pairs = [text.rsplit(" ", 1) for text in texts]
    requests = [LoglikelihoodRequest(context, " " + word) for context, word in pairs]
    model = real_model("tinystories656K")
    encoded = model._rules.encode_pairs(requests)
    joined = [i for i, item in enumerate(encoded) if item.boundary == "separate"]
    assert len(joined) == 220
    assert joined[:6] == [30, 42, 50, 53, 67, 77]
    answers = ask(model, [requests[i] for i in joined[:6]])
    assert all(a.boundary == "separate" and a.logprob < 0 and a.num_tokens for a in answers)
