"""The settings of the baselines that learn: fixed, and tuned on nothing.

What is not named here is as scikit-learn has it.
"""

from __future__ import annotations

from typing import Any

# A letter of Chinese or Japanese is a word of its own, for no blanks say where words end.
_IDEOGRAPH = "\u3040-\u30ff\u3400-\u9fff"

WORDS: dict[str, Any] = {
    "token_pattern": rf"[{_IDEOGRAPH}]|[^\W{_IDEOGRAPH}]+",
    "ngram_range": (1, 2),
    "max_features": 200_000,
}
"""Of ``TfidfVectorizer``: words and pairs of words, the most frequent ones where they are many."""

LOGREG: dict[str, Any] = {"C": 1.0, "max_iter": 1000}
"""Of ``LogisticRegression``."""

TREES: dict[str, Any] = {"learning_rate": 0.1, "max_iter": 100, "early_stopping": False}
"""Of ``HistGradientBoostingClassifier``."""

TOPICS: dict[str, Any] = {"components": 100, "max_features": 20_000}
"""Of the trees' features: what ``TruncatedSVD`` makes of the most frequent words."""

NEIGHBOURS: dict[str, Any] = {"neighbours": 15, "weights": "1 / cosine distance"}
"""Of the nearest training rows."""

MOST_TEXTS = 50
"""Different answers of a generation task that still are labels."""
