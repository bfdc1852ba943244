"""Rows about the same text hang together, in runs and in imported results."""

from __future__ import annotations

import pytest

from llmeval.data.clusters import find_cluster


@pytest.mark.parametrize(
    "dataset", ["EleutherAI/drop", "mirror/EleutherAI/drop", "/data/hub/EleutherAI/drop"]
)
def test_questions_about_one_passage_are_one_cluster(dataset: str) -> None:
    first = find_cluster(dataset, None, {"passage": "One.", "question": "a"})
    assert first is not None
    assert first == find_cluster(dataset, None, {"passage": "One.", "question": "b"})
    assert first != find_cluster(dataset, None, {"passage": "Two.", "question": "a"})


def test_a_config_may_be_what_has_texts() -> None:
    row = {"passage": "One."}
    assert find_cluster("aps/super_glue", "boolq", row) is not None
    assert find_cluster("aps/super_glue", "wic", row) is None


def test_other_rows_stand_alone() -> None:
    assert find_cluster("cais/mmlu", "anatomy", {"passage": "One."}) is None
    assert find_cluster("notEleutherAI/drop", None, {"passage": "One."}) is None
    assert find_cluster("EleutherAI/drop", None, {"question": "a"}) is None
