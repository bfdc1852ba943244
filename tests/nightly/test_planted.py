"""The triage names the cause that was planted, and puts the drop down to it."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from llmeval.reports.regress.verdicts import Outcome
from llmeval.reports.triage import Triage, regrade
from tests.nightly.conftest import Job


def triage_of(job: Job, **manner: Any) -> Triage:
    """Pin an honest night, run one with a fault, and return why it dropped."""
    job.pin()
    night = job.night(**manner)
    assert night.outcome in (Outcome.REGRESSED, Outcome.INVALID)
    (found,) = night.models[0].triage.values()
    return found


@pytest.mark.parametrize(
    ("manner", "share", "cause"),
    [
        ("refuses", 0.3, "refusal"),
        ("rambles", 0.3, "truncation"),
        ("letter-a", 0.6, "answer bias"),
        ("wrong", 0.3, "capability"),
    ],
)
def test_a_planted_cause_is_named(job: Job, manner: str, share: float, cause: str) -> None:
    found = triage_of(job, manner=manner, manner_share=share)
    assert found.says.startswith(f"mostly {cause} (100% of the net drop)")
    main = max(found.tallies, key=lambda tally: tally.net)
    assert main.cause == cause
    assert main.share is not None and main.share > 0.9
    assert main.examples and main.examples[0].lost


def test_a_model_that_the_provider_changed_is_named_beside_the_cause(job: Job) -> None:
    found = triage_of(job, manner="wrong", manner_share=0.3, system_fingerprint="fp_new")
    assert "mock-model (fp_mock) -> mock-model (fp_new)" in found.says


def test_code_in_fences_is_format_and_not_capability(job: Job) -> None:
    """As with LeetCode in LLMDrift: 52% fell to 10%, and were 70% once the fences were off.

    Here the second model is better, too: what it has right in fences includes what was wrong.
    """
    job.write(tasks=["code"])
    job.pin(manner="wrong", manner_share=0.4)
    night = job.night(manner="fences")
    (unit,) = night.units
    assert unit.outcome is Outcome.REGRESSED
    assert float(unit.pairs.tonight.mean()) == 0.0
    (found,) = night.models[0].triage.values()
    (tally,) = found.tallies
    assert (tally.cause, tally.share) == ("format", 1.0)
    assert tally.lost == int(unit.pairs.baseline.sum())
    assert dict(tally.details) == {"code fences": tally.lost}


def test_answers_that_the_task_cannot_read_are_format(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task takes nothing but the letter; tonight it stands in a sentence, in bold.

    Not all answers are tried with every wrapping, and yet none is put down to another cause.
    """
    for module in (regrade, sys.modules[Triage.__module__]):
        monkeypatch.setattr(module, "THOROUGH", 5)
    text = (job.folder / "tasks" / "letters.yaml").read_text()
    text = text.replace("task: letters", "task: bare").replace("[letter]", "[exact]")
    (job.folder / "tasks" / "bare.yaml").write_text(text)
    job.write(tasks=["bare"])
    found = triage_of(job, manner="bold", manner_share=0.5)
    assert [(tally.cause, tally.lost > 50) for tally in found.tallies] == [("format", True)]
    assert "tried with the wrappings of the others only" in found.notes[0]
    assert found.says.startswith("mostly format")
