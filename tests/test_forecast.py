"""What a run would take is said before it is asked, and is what it then takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmeval.core import Ask, GenerateRequest, Sample, Sampling, Score, Task, UsageError
from llmeval.engine.budget import Limits
from llmeval.forecast import Forecast, TaskForecast, forecast
from llmeval.models import load_model
from llmeval.run_spec import RunSpec
from llmeval.session import execute
from tests.engine.serving.support import FakeServed
from tests.support.attempts import journaled
from tests.support.fakes import FakeModel, FakeTask


def spec(folder: Path, model: Any, *tasks: Task, **more: Any) -> RunSpec:
    return RunSpec(model=model, tasks=tasks, workspace=folder, out=folder / "results", **more)


def counts(found: TaskForecast) -> tuple[int, int, int]:
    return found.samples, found.questions, found.journaled


def test_nothing_is_asked_and_nothing_is_journaled(tmp_path: Path) -> None:
    model = FakeServed()
    forecast(spec(tmp_path, model, FakeTask(n=30)))
    assert model.called == []
    assert journaled(tmp_path / ".llmeval") == set()
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("model", [FakeServed(), FakeModel()])
def test_samples_and_questions_are_counted(tmp_path: Path, model: Any) -> None:
    tasks = FakeTask("choices", 700), FakeTask("texts", 30, "generate", theme="another")
    choices, texts = forecast(spec(tmp_path, model, *tasks)).tasks
    assert counts(choices) == (700, 2800, 0)
    assert counts(texts) == (30, 30, 0)


def test_what_a_run_takes_is_what_was_said(tmp_path: Path) -> None:
    """Each answer takes as many tokens and dollars as it is thought to at most."""
    model = FakeServed(usd=0.25)
    asked = spec(tmp_path, model, FakeTask("a", 40), FakeTask("b", 40))  # of one theme
    total = forecast(asked).total()
    run = execute(asked)
    usage = run.summary["usage"]
    assert total.questions == usage["requests"] == 320
    fresh = usage["requests"] - usage["cached"]
    assert fresh == len(model.asked)
    assert total.usd == pytest.approx(usage["usd"]) == pytest.approx(0.25 * fresh)
    assert total.prompt_tokens == 7 * fresh


def test_what_is_journaled_costs_nothing(tmp_path: Path) -> None:
    model = FakeServed(usd=0.25)
    execute(spec(tmp_path, model, FakeTask("a", 40)))
    found = forecast(spec(tmp_path, model, FakeTask("a", 60))).tasks[0]
    assert (found.samples, found.questions) == (60, 240)
    assert found.journaled >= 160
    everything = forecast(spec(tmp_path, model, FakeTask("a", 40))).tasks[0]
    assert counts(everything) == (40, 160, 160)
    assert (everything.prompt_tokens, everything.usd) == (0, None)


def test_a_question_of_several_samples_costs_once(tmp_path: Path) -> None:
    async def ask_same(sample: Sample, ask: Ask) -> list[Score]:
        await ask([GenerateRequest("the same")])
        return [Score("acc", 1.0)]

    task = FakeTask(n=50, evaluate=ask_same)
    found = forecast(spec(tmp_path, FakeServed(usd=0.25), task)).tasks[0]
    assert (found.questions, found.prompt_tokens, found.usd) == (50, 7, 0.25)


def test_a_question_twice_in_one_ask_costs_once(tmp_path: Path) -> None:
    async def ask_twice(sample: Sample, ask: Ask) -> list[Score]:
        await ask([GenerateRequest("the same")] * 2)
        return [Score("acc", 1.0)]

    task = FakeTask(n=1, evaluate=ask_twice)
    assert forecast(spec(tmp_path, FakeServed(usd=0.25), task)).tasks[0].usd == 0.25


def test_a_local_model_has_tokens_and_no_price(tmp_path: Path) -> None:
    async def ask_long(sample: Sample, ask: Ask) -> list[Score]:
        await ask([GenerateRequest(f"{sample.id:>400}", Sampling(max_tokens=50))])
        return [Score("acc", 1.0)]

    task = FakeTask(n=3, evaluate=ask_long)
    found = forecast(spec(tmp_path, FakeModel(), task)).tasks[0]
    assert (found.prompt_tokens, found.completion_tokens, found.usd) == (300, 150, None)


def test_a_baseline_asks_nothing(tmp_path: Path) -> None:
    found = forecast(spec(tmp_path, load_model("baseline:random"), FakeTask(n=5)))
    assert [counts(task) for task in found.tasks] == [(5, 0, 0)]


class ChatsOnly(FakeServed):
    capabilities = frozenset({"generate", "chat"})


def test_choices_are_counted_in_the_form_in_which_they_are_asked(tmp_path: Path) -> None:
    found = forecast(spec(tmp_path, ChatsOnly(), FakeTask(n=12))).tasks[0]
    assert (found.samples, found.questions) == (12, 12)
    assert found.form == "letters by generation"


def test_a_task_that_cannot_be_asked_is_refused_as_by_the_run(tmp_path: Path) -> None:
    from llmeval.core import LoglikelihoodRequest

    async def ask_one(sample: Sample, ask: Ask) -> list[Score]:
        await ask([LoglikelihoodRequest("c", " x")])
        return [Score("acc", 1.0)]

    with pytest.raises(UsageError, match="needs log-probabilities"):
        forecast(spec(tmp_path, ChatsOnly(), FakeTask(n=1, evaluate=ask_one)))


def test_tasks_in_steps_are_counted_by_their_first_questions(tmp_path: Path) -> None:
    found = forecast(spec(tmp_path, FakeServed(), FakeTask(n=9, kind="steps"))).tasks[0]
    assert (found.samples, found.questions) == (9, 9)


def test_limits_change_nothing(tmp_path: Path) -> None:
    limited = spec(tmp_path, FakeServed(usd=1.0), FakeTask(n=9), limits=Limits(requests=1))
    assert forecast(limited).total().questions == 36


def test_sums_are_those_of_the_tasks() -> None:
    tasks = [
        TaskForecast("a", 1, 2, 3, 4, 5, 0.5),
        TaskForecast("b", 10, 20, 30, 40, 50, None),
        TaskForecast("c", 100, 200, 300, 400, 500, 0.25),
    ]
    found = Forecast("m", None, tasks)
    assert found.total() == TaskForecast("total", 111, 222, 333, 444, 555, 0.75)
    plain = found.to_plain()
    assert plain["total"]["questions"] == 222
    assert list(plain["tasks"]) == ["a", "b", "c"]
    assert Forecast("m", None, [TaskForecast("a")]).total().usd is None
