"""Baselines that learn: against scikit-learn used directly, and by what they must never do."""

from __future__ import annotations

import importlib.metadata
import math
import random
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, hstack
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from llmeval.core import (
    GenerateRequest,
    Generation,
    Gold,
    Loglikelihood,
    LoglikelihoodRequest,
    Sample,
    Unscorable,
    UsageError,
)
from llmeval.models.baselines.hyperparameters import WORDS
from llmeval.models.baselines.learned import _less_best
from tests.models.learnable import (
    LABELS,
    Item,
    Learnable,
    answer,
    labelled,
    learn,
    picked,
    probabilities,
    share_right,
)

NAMES = ("tfidf-logreg", "knn", "gbdt")
NOUNS = [f"noun{i}" for i in range(40)]


def sentence(rnd: random.Random, *extra: str) -> str:
    words = [*rnd.choices(NOUNS, k=6), *extra]
    rnd.shuffle(words)
    return " ".join(words)


def noisy_labels(n: int, seed: int) -> list[Item]:
    """Items whose label shows in a word, four times out of five."""
    rnd = random.Random(seed)
    items = []
    for _ in range(n):
        label = rnd.randrange(2)
        shown = label if rnd.random() < 0.8 else 1 - label
        items.append(labelled(sentence(rnd, ("awful", "lovely")[shown]), label))
    return items


def separable(form: str, n: int, seed: int) -> list[Item]:
    """Items of each form that a bag of words gets right."""
    rnd = random.Random(seed)
    items: list[Item] = []
    for _ in range(n):
        label = rnd.randrange(2)
        words = 3 * [("awful", "lovely")[label]]
        if form == "labels":
            items.append(labelled(sentence(rnd, *words), label))
        elif form == "texts":
            items.append((sentence(rnd, *words), Gold(text=LABELS[label])))
        else:
            right = rnd.randrange(3)
            choices = [
                f"{rnd.choice(NOUNS)} {3 * ('lovely ' if i == right else 'awful ')}"
                for i in range(3)
            ]
            items.append((sentence(rnd), Gold(tuple(choices), (right,))))
    return items


def as_direct(items: Sequence[Item]) -> tuple[list[str], list[str]]:
    return [q for q, _ in items], [gold.choices[gold.right[0]] for q, gold in items]


def ours(model: Any, items: Sequence[Item]) -> Any:
    return np.array([probabilities(answer(model, item)) for item in items])


# -- against scikit-learn used directly ------------------------------------------------------------


def test_logistic_regression_of_a_label() -> None:
    training, test = noisy_labels(300, 1), noisy_labels(60, 2)
    texts, labels = as_direct(training)
    words = TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2))
    direct = LogisticRegression(max_iter=1000).fit(words.fit_transform(texts), labels)
    expected = direct.predict_proba(words.transform([q for q, _ in test]))
    assert list(direct.classes_) == list(LABELS)
    model = learn("tfidf-logreg", Learnable(training))
    np.testing.assert_allclose(ours(model, test), expected, rtol=1e-9)
    assert 0.6 < share_right(model, test) < 1  # so that the comparison is about something


def test_neighbours_and_one_more_with_the_shares_of_the_classes() -> None:
    training, test = noisy_labels(200, 3), noisy_labels(40, 4)
    texts, labels = as_direct(training)
    words = TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2))
    direct = KNeighborsClassifier(15, metric="cosine", weights="distance", algorithm="brute")
    direct.fit(words.fit_transform(texts), labels)
    found = direct.predict_proba(words.transform([q for q, _ in test]))
    shares = np.array([labels.count(label) for label in direct.classes_]) / len(labels)
    expected = (15 * found + shares) / 16
    np.testing.assert_allclose(ours(learn("knn", Learnable(training)), test), expected, rtol=1e-6)


def test_boosted_trees_of_components_and_counts() -> None:
    training, test = noisy_labels(300, 5), noisy_labels(60, 6)
    texts, labels = as_direct(training)
    words = TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2))
    seen = words.fit_transform(texts)
    basis = TruncatedSVD(100, random_state=0).fit(seen).components_.T.astype(np.float32)

    def features(vectors: Any, questions: Sequence[str]) -> Any:
        counts = [
            (len(q), len(q.split()), 0.0, sum(c.isdigit() for c in q) / len(q), 0.0)
            for q in questions
        ]
        return np.hstack([vectors.astype(np.float32) @ basis, np.array(counts)])

    direct = HistGradientBoostingClassifier(early_stopping=False, random_state=0)
    asked = [q for q, _ in test]
    with threadpool_limits(1):  # more wait for one another on a busy machine
        direct.fit(features(seen, texts), labels)
        expected = direct.predict_proba(features(words.transform(asked), asked))
    np.testing.assert_allclose(ours(learn("gbdt", Learnable(training)), test), expected, rtol=1e-6)


def test_pairs_share_the_odds_of_a_binary_classifier() -> None:
    training, test = separable("pairs", 80, 7), separable("pairs", 20, 8)
    choices = [choice for _, gold in training for choice in gold.choices]
    right = [i in gold.right for _, gold in training for i in range(3)]
    words = TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2))

    def overlap(question: str, choice: str) -> list[float]:
        asked, offered = set(question.split()), set(choice.split())
        shared = len(asked & offered)
        return [shared / len(offered), shared / len(asked), math.log(1 + len(choice.split()))]

    def features(vectors: Any, items: Sequence[Item]) -> Any:
        rows = [overlap(q, choice) for q, gold in items for choice in gold.choices]
        return hstack([vectors, csr_matrix(rows)])

    direct = LogisticRegression(max_iter=1000)
    direct.fit(features(words.fit_transform(choices), training), right)
    asked = words.transform([choice for _, gold in test for choice in gold.choices])
    p = direct.predict_proba(features(asked, test))[:, 1].reshape(-1, 3)
    odds = p / (1 - p)
    expected = odds / odds.sum(axis=1, keepdims=True)
    model = learn("tfidf-logreg", Learnable(training))
    np.testing.assert_allclose(ours(model, test), expected, rtol=1e-6)


# -- what can be learned, and what cannot ----------------------------------------------------------


@pytest.mark.parametrize("form", ["labels", "pairs"])
@pytest.mark.parametrize("name", NAMES)
def test_what_words_tell_is_learned_whole(name: str, form: str) -> None:
    model = learn(name, Learnable(separable(form, 300, 9)))
    assert share_right(model, separable(form, 60, 10)) == 1.0
    assert model.report()["training"]["task"]["form"] == form


@pytest.mark.parametrize("name", NAMES)
def test_few_answers_of_a_generation_task_are_labels(name: str) -> None:
    model = learn(name, Learnable(separable("texts", 300, 11)))
    for question, gold in separable("texts", 30, 12):
        sample = Sample("1", {"question": question}, gold=Gold(text="never read"))
        [said] = model.answer_sample("task", sample, [GenerateRequest("Q")])
        assert isinstance(said, Generation)
        assert said.text == gold.text
        [scored] = model.answer_sample("task", sample, [LoglikelihoodRequest("Q", f" {gold.text}")])
        [other] = model.answer_sample("task", sample, [LoglikelihoodRequest("Q", " something")])
        assert isinstance(scored, Loglikelihood) and isinstance(other, Loglikelihood)
        assert (scored.is_greedy, other.is_greedy) == (True, False)
        assert other.logprob < -1000


@pytest.mark.parametrize("name", NAMES)
def test_random_labels_stay_at_chance(name: str) -> None:
    rnd = random.Random(13)
    items = [labelled(sentence(rnd), rnd.randrange(2)) for _ in range(700)]
    accuracy = share_right(learn(name, Learnable(items[:300])), items[300:])
    assert abs(accuracy - 0.5) < 4 * math.sqrt(0.25 / 400)


@pytest.mark.parametrize("form", ["labels", "pairs"])
@pytest.mark.parametrize("name", NAMES)
def test_the_gold_of_an_evaluated_row_changes_nothing(name: str, form: str) -> None:
    model = learn(name, Learnable(separable(form, 100, 14)))
    for question, gold in separable(form, 10, 15):
        flipped = Gold(gold.choices, (1 - min(gold.right),))
        assert answer(model, (question, gold)) == answer(model, (question, flipped))


@pytest.mark.parametrize("name", NAMES)
def test_a_choice_that_nothing_tells_apart_is_not_taken_for_its_place(name: str) -> None:
    """As in TruthfulQA, where the right one is always first."""
    rnd = random.Random(16)

    def items(n: int, new: str) -> list[Item]:
        def word() -> str:
            return f"{new}{rnd.randrange(10**9)}"

        return [(sentence(rnd), Gold((word(), word(), word(), word()), (0,))) for _ in range(n)]

    model = learn(name, Learnable(items(100, "seen")))
    found = items(400, "new")
    assert abs(share_right(model, found) - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 400)


# -- what the numbers mean -------------------------------------------------------------------------


@given(
    logs=st.lists(st.floats(-30, 0) | st.just(-math.inf), min_size=2, max_size=6).filter(
        lambda logs: max(logs) > -math.inf
    ),
    data=st.data(),
)
def test_sum_sum_per_character_and_probability_agree(logs: list[float], data: Any) -> None:
    lengths = data.draw(st.lists(st.integers(1, 200), min_size=len(logs), max_size=len(logs)))
    less = _less_best(logs, [f"{i}" * n for i, n in enumerate(lengths)])
    best = less.index(max(less))
    assert logs[best] >= max(logs) - 1e-9
    assert sum(value == 0.0 for value in less) == 1
    per_character = [value / n for value, n in zip(less, lengths, strict=True)]
    assert per_character.index(max(per_character)) == best
    total = math.fsum(map(math.exp, logs))
    weights = [math.exp(value) for value in less]
    for weight, log in zip(weights, logs, strict=True):
        assert weight / math.fsum(weights) == pytest.approx(math.exp(log) / total, abs=1e-8)


def test_a_text_without_a_known_word_gets_the_shares_of_the_classes() -> None:
    items = [*noisy_labels(30, 17), labelled("x", 1)]
    model = learn("knn", Learnable(items))
    share = sum(gold.right == (1,) for _, gold in items) / 31
    assert probabilities(answer(model, labelled("%$?", 0)))[1] == pytest.approx(share)


def test_asked_again_without_context_the_difference_names_the_pick() -> None:
    model = learn("tfidf-logreg", Learnable(noisy_labels(100, 18)))
    question, gold = noisy_labels(1, 19)[0]
    asked = [LoglikelihoodRequest(c, f" {label}") for c in ("Q", "") for label in LABELS]
    sample = Sample("1", {"question": question}, gold=gold)
    answers = model.answer_sample("task", sample, asked)
    differences = [answers[i].logprob - answers[i + 2].logprob for i in range(2)]
    assert differences.index(max(differences)) == picked(answers[:2])


def test_chinese_is_read_letter_by_letter_and_words_by_word() -> None:
    found = re.findall(WORDS["token_pattern"], "我喜欢 Ünï_1 cats2, 北京a ж")
    assert found == ["我", "喜", "欢", "Ünï_1", "cats2", "北", "京", "a", "ж"]


# -- what is refused -------------------------------------------------------------------------------


def test_a_task_that_cannot_be_learned_is_unscored_beside_one_that_can() -> None:
    model = learn("knn", Learnable(noisy_labels(20, 20)), Learnable([], name="bare"))
    with pytest.raises(Unscorable, match="not learned: no rows"):
        answer(model, noisy_labels(1, 21)[0], task="bare")
    assert model.report()["training"]["bare"] == {"not_learned": "no rows"}
    assert answer(model, noisy_labels(1, 21)[0])


def test_a_run_in_which_nothing_can_be_learned_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^bare: baseline:gbdt cannot learn it: no rows \(give"):
        learn("gbdt", Learnable([], name="bare"))
    with pytest.raises(UsageError, match="cannot learn any of these tasks"):
        learn("gbdt", Learnable([], name="bare"), Learnable([], name="empty"))


@pytest.mark.parametrize(
    ("items", "why"),
    [
        ([("q", Gold(text=str(i))) for i in range(51)], "51 rows .* 51 different answers"),
        ([labelled(f"q{i}", 1) for i in range(9)], "all 9 rows to learn from have the same answer"),
        ([("q", Gold(LABELS)) for _ in range(3)], "none of the 3 rows to learn from has an answer"),
        ([labelled("q", 1), ("q", Gold(text="a"))], "some of the rows .* and others have none"),
        ([labelled("?", 1), labelled("!", 0)], "scikit-learn cannot learn its rows: empty vocab"),
    ],
)
def test_rows_that_are_no_lessons_are_named(items: list[Item], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        learn("tfidf-logreg", Learnable(items))


@pytest.mark.parametrize("name", ["tfidf-logreg", "gbdt", "knn"])
def test_labels_are_told_apart_to_the_last_letter(name: str) -> None:
    """NumPy's texts end at their last letter that is no NUL."""
    items = [
        (f"{'good' if i % 2 else 'bad'} {i}", Gold(("no\0", "no"), (i % 2,))) for i in range(60)
    ]
    assert share_right(learn(name, Learnable(items)), items) == 1.0


def test_choices_that_training_never_had_are_unscored() -> None:
    model = learn("tfidf-logreg", Learnable(noisy_labels(30, 22)))
    with pytest.raises(Unscorable, match="none of its choices"):
        answer(model, ("q", Gold(("left", "right"), (0,))))


def test_rows_without_an_answer_are_left_out_and_counted() -> None:
    items = [*noisy_labels(20, 23), ("q", Gold(LABELS)), ("q", Gold(LABELS))]
    figures = learn("knn", Learnable(items)).report()["training"]["task"]
    assert (figures["rows"], figures["of"], figures["left_out"]) == (20, 22, 2)


# -- how much, and from what -----------------------------------------------------------------------


def test_more_rows_than_asked_for_are_drawn_by_the_seed() -> None:
    items = noisy_labels(500, 24)
    tasks = [Learnable(items) for _ in range(3)]
    for task, seed in zip(tasks, (0, 0, 1), strict=True):
        learn("tfidf-logreg", task, max_training_rows=50, seed=seed)
    assert len(set(tasks[0].read)) == 50
    assert tasks[0].read == tasks[1].read != tasks[2].read
    assert max(tasks[0].read) > 400


def test_pairs_count_one_by_one_and_are_drawn_from_all_rows() -> None:
    items = separable("pairs", 40, 25)
    figures = learn("knn", Learnable(items), max_training_rows=50).report()["training"]["task"]
    assert (figures["rows"], figures["inputs"]) == (16, 48)


def test_evaluated_rows_that_were_learned_are_counted() -> None:
    items = noisy_labels(50, 26)
    model = learn("tfidf-logreg", Learnable(items))
    for i, item in enumerate([*items[:7], *noisy_labels(20, 27)]):
        answer(model, item, id=str(i))
        answer(model, item, id=str(i))
    figures = model.report()["training"]["task"]
    assert (figures["evaluated"], figures["evaluated_in_training"]) == (27, 7)


def test_the_report_has_time_size_and_vocabulary() -> None:
    items = [labelled("one two", 0), labelled("two three", 1)]
    figures = learn("tfidf-logreg", Learnable(items)).report()["training"]["task"]
    assert figures["terms"] == 5  # one, two, three, "one two", "two three"
    assert 1000 < figures["bytes"] < 100_000
    assert 0 < figures["seconds"] < 60
    assert (figures["classes"], figures["split"]) == (2, "train")


# -- the same again --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_learning_twice_gives_the_same_digits(name: str) -> None:
    one, two = (learn(name, Learnable(noisy_labels(150, 28))) for _ in range(2))
    assert one.fingerprint == two.fingerprint
    for item in noisy_labels(10, 29):
        assert answer(one, item) == answer(two, item)


def test_the_fingerprint_changes_with_what_changes_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    items = noisy_labels(30, 30)
    prints = [
        learn("knn", Learnable(items)).fingerprint,
        learn("knn", Learnable(items, digest="01")).fingerprint,
        learn("knn", Learnable(items), seed=1).fingerprint,
        learn("knn", Learnable(items), max_training_rows=20).fingerprint,
        learn("tfidf-logreg", Learnable(items)).fingerprint,
    ]
    version = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda p: "0.1" if p == "scikit-learn" else version(p)
    )
    prints.append(learn("knn", Learnable(items)).fingerprint)
    assert len(set(prints)) == len(prints)


def test_the_description_says_what_was_learned_and_how() -> None:
    model = learn("gbdt", Learnable(noisy_labels(30, 31)))
    described = model.describe()
    assert described["algorithm"] == "HistGradientBoostingClassifier"
    assert described["training"]["task"]["digest"] == "00"
    assert described["versions"]["scikit-learn"] == importlib.metadata.version("scikit-learn")
    assert described["hyperparameters"]["classifier"]["max_iter"] == 100
