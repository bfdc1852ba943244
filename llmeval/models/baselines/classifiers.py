"""The classifiers, as pipelines of scikit-learn; imported only where one learns."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, normalize
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from llmeval.models.baselines.hyperparameters import LOGREG, NEIGHBOURS, TOPICS, TREES, WORDS

_QUESTION, _CHOICE = 0, 1  # columns of pairs
_NO_DISTANCE = 1e-12  # equal texts
# One thread: the last digits are the same everywhere, and a question is too small for more.
_THREADS = ThreadpoolController()
_WORD = re.compile(WORDS["token_pattern"])


def fit(
    algorithm: str, inputs: Sequence[Any], targets: Sequence[int], paired: bool, seed: int
) -> Any:
    """Return a fitted pipeline.

    Args:
        algorithm: of ``ALGORITHMS``.
        inputs: questions, or (question, choice) where ``paired``.
        targets: the number of each input's class, from 0 without gaps; of pairs, 1 is right.

    Raises:
        ValueError: scikit-learn cannot learn these.
    """
    pipeline = ALGORITHMS[algorithm](paired, seed)
    with _THREADS.limit(limits=1):
        return pipeline.fit(to_column(inputs, paired), np.array(targets))


def predict(pipeline: Any, inputs: Sequence[Any], paired: bool) -> np.ndarray[Any, Any]:
    """Return probabilities, a row for each input and a column for each class."""
    with _THREADS.limit(limits=1):
        found: np.ndarray[Any, Any] = pipeline.predict_proba(to_column(inputs, paired))
    return found


def to_column(inputs: Sequence[Any], paired: bool) -> Any:
    """Return questions as they are, pairs as an array of two columns."""
    return np.array(inputs, dtype=object) if paired else list(inputs)


def measure(pipeline: Any) -> tuple[int, int]:
    """Return a pipeline's size in bytes, as pickled, and its number of terms."""
    sink = _Sink()
    pickle.dump(pipeline, sink, protocol=5)
    return sink.size, sum(len(part.vocabulary_) for part in _find_words(pipeline))


class _Sink:
    """Counts what is written to it."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: Any) -> int:
        count = memoryview(data).nbytes
        self.size += count
        return count


def _find_words(part: Any) -> list[Any]:
    if isinstance(part, TfidfVectorizer):
        return [part]
    if isinstance(part, Pipeline):
        inner = [step for _, step in part.steps]
    elif isinstance(part, FeatureUnion):
        inner = [step for _, step in part.transformer_list]
    elif isinstance(part, ColumnTransformer):
        inner = list(part.named_transformers_.values())
    else:
        inner = []
    return [found for step in inner for found in _find_words(step)]


# -- the three -------------------------------------------------------------------------------------


def make_logreg(paired: bool, seed: int) -> Any:
    """Logistic regression on tf-idf; of a pair, on its choice and what the two have in common.

    The question itself would add the same to all of its choices, and is left out.
    """
    features = _words()
    if paired:
        features = _columns(("choice", _words(), _CHOICE), _overlap(), dense=False)
    return make_pipeline(features, LogisticRegression(random_state=seed, **LOGREG))


def make_gbdt(paired: bool, seed: int) -> Any:
    """Boosted trees on the main components of tf-idf, and counts."""
    if paired:
        features: Any = _columns(
            ("question", _topics(seed), _QUESTION),
            ("choice", _topics(seed), _CHOICE),
            _overlap(),
            dense=True,
        )
    else:
        counts = FunctionTransformer(count_texts)
        features = FeatureUnion([("topics", _topics(seed)), ("counts", counts)])
    return make_pipeline(features, HistGradientBoostingClassifier(random_state=seed, **TREES))


def make_knn(paired: bool, seed: int) -> Any:
    """The nearest training rows by the cosine of their tf-idf; ``seed`` seeds nothing."""
    features = _words()
    if paired:
        parts = ("question", _words(), _QUESTION), ("choice", _words(), _CHOICE)
        features = _columns(*parts, dense=False)
    return make_pipeline(features, Neighbours())


class Neighbours(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The nearest training rows, weighted by 1 / distance, and one more with the classes' shares.

    So no class has probability 0, and a text without a known word, which is equally far from every
    row, has the shares alone. scikit-learn's ``KNeighborsClassifier`` would go through all training
    rows for each question; columns give it only those that share a word with it.
    """

    def fit(self, X: Any, y: Any) -> Neighbours:  # noqa: N803
        self.columns_ = normalize(X).tocsc()
        self.classes_, self.labels_ = np.unique(y, return_inverse=True)
        self.shares_ = np.bincount(self.labels_) / len(y)
        return self

    def predict_proba(self, X: Any) -> Any:  # noqa: N803
        similarity = (self.columns_ @ normalize(X).T).toarray().T
        k = min(NEIGHBOURS["neighbours"], similarity.shape[1])
        near = np.argpartition(-similarity, k - 1)[:, :k]
        far = 1 - np.take_along_axis(similarity, near, 1)
        weights = 1 / np.maximum(far, _NO_DISTANCE)
        votes = [weights * (self.labels_[near] == label) for label in range(len(self.classes_))]
        found = (
            np.stack([vote.sum(axis=1) for vote in votes], axis=1) / weights.sum(axis=1)[:, None]
        )
        known = X.getnnz(axis=1)[:, None] > 0
        return np.where(known, (k * found + self.shares_) / (k + 1), self.shares_)


ALGORITHMS: dict[str, Callable[[bool, int], Any]] = {
    "LogisticRegression": make_logreg,
    "HistGradientBoostingClassifier": make_gbdt,
    "nearest neighbours": make_knn,
}
"""Makes a pipeline, from whether inputs are pairs and a seed."""


# -- features --------------------------------------------------------------------------------------


def _words() -> Any:
    return TfidfVectorizer(**WORDS)


def _topics(seed: int) -> Any:
    words = TfidfVectorizer(**{**WORDS, "max_features": TOPICS["max_features"]})
    return make_pipeline(words, Topics(TOPICS["components"], seed))


def _overlap() -> tuple[str, Any, list[int]]:
    return "overlap", FunctionTransformer(count_overlap), [_QUESTION, _CHOICE]


def _columns(*parts: tuple[str, Any, Any], dense: bool) -> Any:
    return ColumnTransformer(list(parts), sparse_threshold=0.0 if dense else 1.0)


class Topics(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """``TruncatedSVD`` of as many components as the data have, ``most`` at most.

    Kept are the components alone, as a text is multiplied by them: [terms, components], float32.
    """

    def __init__(self, most: int, seed: int) -> None:
        self.most = most
        self.seed = seed

    def fit(self, X: Any, y: Any = None) -> Topics:  # noqa: N803
        count = max(1, min(self.most, min(X.shape) - 1))
        found = TruncatedSVD(count, random_state=self.seed).fit(X).components_
        self.components_ = np.ascontiguousarray(found.T, dtype=np.float32)
        return self

    def transform(self, X: Any) -> Any:  # noqa: N803
        return X.astype(np.float32) @ self.components_


def count_texts(texts: Sequence[str]) -> Any:
    """Return characters, words, and the shares of capitals, digits and other signs [n, 5]."""
    rows = []
    for text in texts:
        size = max(len(text), 1)
        capitals = sum(c.isupper() for c in text) / size
        digits = sum(c.isdigit() for c in text) / size
        signs = sum(not (c.isalnum() or c.isspace()) for c in text) / size
        rows.append((len(text), len(_WORD.findall(text)), capitals, digits, signs))
    return np.array(rows, dtype=float)


def count_overlap(pairs: Any) -> Any:
    """Return, of (question, choice), the share of the choice's words that stand in the question,
    the share of the question's that stand in the choice, and the log of the choice's words [n, 3].
    """
    rows = []
    for question, choice in pairs:
        asked, offered = (set(_WORD.findall(text.lower())) for text in (question, choice))
        shared = len(asked & offered)
        size = np.log1p(len(_WORD.findall(choice)))
        rows.append((shared / max(len(offered), 1), shared / max(len(asked), 1), size))
    return np.array(rows, dtype=float)
