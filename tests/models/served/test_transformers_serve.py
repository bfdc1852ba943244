"""``transformers serve`` as a foreign server: it chats, and its echo must be refused."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llmeval
from llmeval.core import RollingRequest, UsageError
from llmeval.models import load_model, read_settings
from llmeval.models.served.model import OpenAIModel
from llmeval.pocket import MODEL_DIR

NAME = f"openai:{MODEL_DIR}"
PARTS = ("fastapi", "uvicorn")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(part) is None for part in PARTS),
        reason="transformers[serving] is not installed",
    ),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAIModel]:
    command = [
        *(sys.executable, "-c", "from transformers.cli.transformers import main; main()", "serve"),
        *(str(MODEL_DIR), "--host", "127.0.0.1", "--port", "{port}", "--device", "cpu"),
    ]
    env = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    settings = {"server": {"command": command, "env": env, "wait": 120}, "max_connections": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMEVAL_HOME", str(tmp_path_factory.mktemp("home")))
        model = load_model(NAME, read_settings(NAME, settings))
    assert isinstance(model, OpenAIModel)
    try:
        yield model
    finally:
        model.close()


def test_an_echo_that_is_ignored_is_refused(served: OpenAIModel) -> None:
    served.explore({"loglikelihood", "generate"})
    assert "loglikelihood" not in served.capabilities
    assert served.describe()["loglikelihood"] == {"refused": True}
    assert served.why_no_loglikelihood == "log-probabilities are missing"


def test_greedy_texts_equal_those_of_transformers_itself(
    served: OpenAIModel, tmp_path: Path
) -> None:
    task = tmp_path / "tasks" / "say.yaml"
    task.parent.mkdir()
    rows = [{"q": "Question: what is 2 + 2?\nAnswer:", "a": "x"}, {"q": "One day a", "a": "x"}]
    task.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task.write_text(
        "task: say\ntype: generate\ndata: {path: say.jsonl}\nprompt: '{{q}}'\n"
        "answer: '{{a}}'\nmax_tokens: 12\nscorers: [exact]\n"
    )
    texts = []
    for model in (served, "pocket"):
        run = llmeval.run(model, [str(task)], workspace=tmp_path, out=tmp_path / "results")
        exchanges = [json.loads(row) for row in run.samples["exchanges"].to_pylist()]
        texts.append([exchange[0]["response"]["text"] for exchange in exchanges])
    assert texts[0] == texts[1]
    assert all(texts[0])


def test_choices_are_asked_for_by_letter_and_the_record_says_so(
    served: OpenAIModel, tmp_path: Path
) -> None:
    run = llmeval.run(
        served, ["pocket_mmlu"], workspace=tmp_path, out=tmp_path / "results", limit=4
    )
    assert run.summary["tasks"]["pocket_mmlu"]["form"] == "letters by generation"
    with pytest.raises(UsageError, match="needs log-probabilities of texts"):
        from tests.support.fakes import FakeTask

        async def roll(sample: Any, ask: Any) -> Any:
            return await ask([RollingRequest("a text")])

        llmeval.run(served, [FakeTask(evaluate=roll)], workspace=tmp_path, out=tmp_path / "results")
