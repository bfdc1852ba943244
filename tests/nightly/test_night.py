"""Nights of a served model: asked anew, judged, kept, continued."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from llmeval.core import InvalidResult, UsageError
from llmeval.nightly import doubt_pins, forget, judge_records, plan_night, run_night, set_baselines
from llmeval.nightly.asking import digest_settings
from llmeval.nightly.file import NightlyModel
from llmeval.nightly.folder import list_nights
from llmeval.nightly.night import state_folder
from llmeval.reports.regress.baseline import digest_scores
from llmeval.reports.regress.verdicts import Outcome
from llmeval.reports.regress.words import list_changes
from tests.nightly.conftest import Job


def test_an_unchanged_model_passes_and_is_asked_anew_every_night(job: Job) -> None:
    job.pin()
    job.server.reset()
    night = job.night()
    assert night.outcome is Outcome.PASS
    assert job.server.stats()["answered"] >= 200
    (model,) = night.models
    assert model.side.tonight is not None
    assert model.side.tonight.summary["usage"]["cached"] == 0
    assert night.took["asked"] == 200


def test_tonight_once_more_asks_nothing_and_counts_once(job: Job) -> None:
    job.pin()
    first = job.night()
    job.server.reset()
    again = run_night(job.nightly, out=job.out)
    assert job.server.stats()["answered"] == 0
    assert (again.night, again.outcome) == (first.night, first.outcome)
    assert again.took["again"]
    assert [u.evidence for u in again.units] == [u.evidence for u in first.units]
    folder = state_folder(job.nightly, job.out)
    history = (folder / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["night"] for line in history] == [n.name for n in list_nights(folder)]


def test_what_a_night_keeps(job: Job) -> None:
    job.pin()
    night = job.night()
    folder = state_folder(job.nightly, job.out)
    kept = json.loads((folder / f"{night.night}.json").read_text())
    assert (kept["verdict"], kept["night"]) == ("PASS", night.night)
    assert kept["plan"][0]["needed_n"] > 0
    assert kept["models"][0]["baseline"]["digest"] == digest_scores(
        night.models[0].side.baseline.run  # type: ignore[union-attr]
    )
    assert not list((folder / "nights").glob("*/journal*"))
    assert len(job.state()["units"][0]["nights"]) == 1


def test_the_first_night_has_no_baseline_and_can_become_it(job: Job) -> None:
    first = job.night()
    assert [u.fault and u.fault.kind for u in first.units] == ["baseline missing"]
    ((label, run, digest),) = set_baselines(job.nightly, "latest", job.out)
    assert label == "openai:mock-model"
    assert job.nightly.file.all_models[0].pin is not None
    assert job.nightly.file.all_models[0].pin.digest == digest == digest_scores(run)
    with pytest.raises(UsageError, match="is the baseline of openai:mock-model itself"):
        run_night(job.nightly, out=job.out)
    copy = job.folder / "baselines" / run.path.name
    shutil.copytree(run.path, copy)
    set_baselines(job.nightly, str(copy), job.out)
    with pytest.raises(UsageError, match="is the baseline of openai:mock-model itself"):
        run_night(job.nightly, out=job.out)


def test_what_else_changed_is_told_though_it_passes(job: Job) -> None:
    job.pin()
    night = job.night(system_fingerprint="fp_new")
    assert night.outcome is Outcome.PASS
    (line,) = list_changes(night)
    assert "model at the provider: answers are by mock-model (fp_mock) -> mock-model" in line


def test_evidence_outlives_another_pace_but_not_other_settings() -> None:
    def digest(**settings: Any) -> str:
        return digest_settings(NightlyModel(model="openai:m", model_settings=settings))

    assert digest(max_connections=4, timeout=30.0) == digest()
    assert digest(reasoning_effort="low") != digest()


def test_a_baseline_that_is_swapped_makes_the_night_invalid(job: Job) -> None:
    job.pin()
    job.night()
    pin = job.nightly.file.all_models[0].pin
    assert pin is not None
    folder = job.folder / pin.path
    other = next(p for p in (job.out / "regress").rglob("scores.parquet") if p.parent != folder)
    data = bytearray(other.read_bytes())
    (folder / "scores.parquet").write_bytes(bytes(data) + b" ")
    night = job.night()
    assert [u.fault and u.fault.kind for u in night.units] == ["baseline changed"]


def test_a_budget_makes_it_invalid_and_a_higher_one_continues_the_night(job: Job) -> None:
    job.pin()
    job.write(max_requests=50)
    night = job.night()
    (unit,) = night.units
    assert unit.fault is not None and unit.fault.kind == "interrupted"
    assert (night.exit_code, night.took["asked"]) == (4, 50)
    job.write(max_requests=1000)
    job.server.reset()
    whole = run_night(job.nightly, out=job.out)
    assert (whole.night, whole.outcome) == (night.night, Outcome.PASS)
    assert job.server.stats()["answered"] <= 200 - 50 + 16  # and what exploring the server takes


def test_a_server_that_is_gone_makes_it_invalid(job: Job) -> None:
    job.pin()
    job.write(model_settings={"base_url": "http://127.0.0.1:9/v1", "api": "chat", "patience": 0.2})
    night = job.night()
    (unit,) = night.units
    assert unit.fault is not None and unit.fault.kind == "run invalid"
    assert (night.exit_code, unit.pairs.name.task) == (4, "letters")


def test_a_state_that_cannot_be_read_stops_before_anything_is_asked(job: Job) -> None:
    job.pin()
    (state_folder(job.nightly, job.out) / "state.json").write_text("{")
    job.server.reset()
    with pytest.raises(InvalidResult, match="nights unreadable") as raised:
        job.night()
    assert "begins anew" in str(raised.value)
    assert job.server.stats()["answered"] == 0


def test_another_job_of_the_name_is_waited_for(job: Job) -> None:
    from llmeval.runs.lock import FileLock

    folder = state_folder(job.nightly, job.out)
    folder.mkdir(parents=True)
    lock = FileLock(folder / "lock")
    assert lock.acquire()
    try:
        with pytest.raises(UsageError, match="another regress job"):
            job.night()
    finally:
        lock.release()


@pytest.mark.slow
def test_a_sentinel_tells_noise_from_drift(job: Job) -> None:
    """A flaky model gives other answers each time: more than nothing, less than a drop."""
    job.write(sentinel={"items": 60, "repeats": 2})
    job.pin(manner="flaky", manner_share=0.1)
    job.write(sentinel={"items": 60, "repeats": 2})
    pin = job.nightly.file.all_models[0].pin
    assert pin is not None and len(pin.repeats) == 2
    night = job.night(manner="flaky", manner_share=0.1)
    (drift,) = night.models[0].drift.values()
    assert (drift.tonight.items, drift.tonight.draws) == (60, 3)
    assert drift.baseline is not None
    assert 0.1 < drift.tonight.sd < 0.6  # of answers that are wrong one time in ten: .3
    assert drift.z is not None and abs(drift.z) < 4  # chance goes as far once in 16,000 nights
    assert plan_night(job.nightly, job.out).units[0].basis == "earlier nights"
    drop = job.night(manner="wrong", manner_share=0.4)
    (drift,) = drop.models[0].drift.values()
    assert drift.stands_out


def test_a_plan_asks_nothing(job: Job) -> None:
    job.pin()
    job.server.reset()
    plan = plan_night(job.nightly, job.out)
    assert job.server.stats()["answered"] <= 16  # exploring the server
    (unit,) = plan.units
    assert (unit.task, unit.n, unit.basis) == ("letters", 200, "independent answers")
    assert plan.costs[0].questions == 200
    assert not (state_folder(job.nightly, job.out) / "nights" / "planned").exists()


def test_a_record_that_is_there_is_judged_once_and_by_its_own_name(job: Job) -> None:
    import llmeval

    job.pin()
    settings = job.nightly.file.model_settings
    run = llmeval.run(
        "openai:mock-model", ["letters"], model_settings=settings, out=job.out, limit=150
    )
    night = judge_records(job.nightly, [run], out=job.out)
    assert (night.night, night.outcome) == (run.id, Outcome.PASS)
    again = judge_records(job.nightly, [run], out=job.out)
    assert [u.evidence for u in again.units] == [u.evidence for u in night.units]
    same = llmeval.run(
        "openai:mock-model", ["letters"], model_settings=settings, out=job.out, limit=150
    )
    evidence = judge_records(job.nightly, [same], out=job.out).units[0].evidence
    assert evidence is not None
    assert (evidence.nights, evidence.counted) == (1, False)  # its answers are the first one's


def test_evidence_can_be_forgotten(job: Job) -> None:
    job.pin()
    job.night()
    assert forget(job.nightly, job.out) == 1
    assert job.state()["units"][0]["nights"] == []


def test_evidence_that_is_gone_is_not_begun_anew_silently(job: Job) -> None:
    job.pin()
    job.night()
    (state_folder(job.nightly, job.out) / "state.json").unlink()
    again = run_night(job.nightly, out=job.out)
    assert "state.json is gone" in again.notes[0]
    assert run_night(job.nightly, out=job.out).notes == ()


def test_a_misspelt_tolerance_is_found_before_anything_is_asked(job: Job) -> None:
    job.pin()
    job.write(tolerances={"leters": 0.1})
    job.server.reset()
    with pytest.raises(UsageError, match=r"nightly\.yaml:\d+: field 'tolerances\.leters'"):
        job.night()
    assert job.server.stats()["answered"] <= 16


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"tolerance": 5.0},
            r"nightly\.yaml:\d+: field 'tolerance': 5 allows letter_match of letters any",
        ),
        ({"tolerances": {"letters": 1.0}}, r"field 'tolerances\.letters': 1 allows"),
        (
            {"ranges": {"letter_match": [2.0, 3.0]}},
            r"field 'ranges\.letter_match': .* outside \[2, 3\]",
        ),
    ],
)
def test_what_could_never_be_judged_is_refused_before_anything_is_asked(
    job: Job, changes: dict[str, Any], says: str
) -> None:
    job.pin()
    job.write(**changes)
    job.server.reset()
    for attempt in (lambda: plan_night(job.nightly, job.out), job.night):
        with pytest.raises(UsageError, match=says):
            attempt()
    assert job.server.stats()["answered"] <= 16  # exploring the server


def lose_baseline(job: Job) -> None:
    pin = job.nightly.file.all_models[0].pin
    assert pin is not None
    shutil.rmtree(pin.path)


def change_baseline(job: Job) -> None:
    content = yaml.safe_load(job.path.read_text())
    content["baseline"]["digest"] = "0" * 32
    job.path.write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lose_baseline, "baseline missing"),
        (change_baseline, "baseline changed"),
        (lambda job: job.write(options={"num_fewshot": 1}), "form changed"),
        (lambda job: job.write(options={"apply_chat_template": True}), "form changed"),
        (lambda job: job.write(tasks=["letters", "code"]), "baseline missing"),
    ],
)
def test_a_night_known_to_be_void_asks_nothing_and_says_so_before(
    job: Job, spoil: Callable[[Job], object], kind: str
) -> None:
    job.pin()
    spoil(job)
    job.server.reset()
    plan = plan_night(job.nightly, job.out)
    (fault,) = plan.faults.values()
    assert (fault.kind, plan.exit_code) == (kind, 4)
    night = job.night()
    assert {unit.fault and unit.fault.kind for unit in night.units} == {kind}
    assert (night.exit_code, job.server.stats()["answered"], night.took) == (4, 0, {})


@pytest.mark.parametrize("name", ["pokket", "baseline:randm", "opneai:x", "pocket:x"])
def test_an_unknown_model_is_found_before_any_other_is_asked(job: Job, name: str) -> None:
    entry = {"model": "openai:mock-model", "model_settings": job.nightly.file.model_settings}
    content = {"models": [entry, {"model": name}], "tasks": ["letters"]}
    job.path.write_text(yaml.safe_dump(content))
    for attempt in (lambda: plan_night(job.nightly, job.out), job.night):
        with pytest.raises(
            UsageError, match=r"nightly.yaml:\d+: field 'models\[1\].model': unknown"
        ):
            attempt()
    assert job.server.stats()["answered"] == 0


def test_a_plan_tells_that_nothing_can_be_asked(job: Job) -> None:
    job.write(model_settings={"base_url": "http://127.0.0.1:9/v1", "api": "chat", "patience": 0.2})
    plan = plan_night(job.nightly, job.out)
    assert plan.costs[0].problem is not None
    assert plan.exit_code == 4


def test_a_first_night_is_planned_and_asked_to_become_the_baseline(job: Job) -> None:
    plan = plan_night(job.nightly, job.out)
    assert (plan.faults, plan.exit_code) == ({}, 0)


def test_most_items_left_out_and_a_baseline_at_its_floor_are_told_before(job: Job) -> None:
    job.pin(manner="wrong")
    job.write(options={"limit": 20})
    (unit,) = plan_night(job.nightly, job.out).units
    floor, few = unit.warnings
    assert "can never be REGRESSED" in floor
    assert few.startswith("only 20 of the baseline's 200 items")


def test_a_night_that_is_judged_again_shows_the_plan_that_it_had(job: Job) -> None:
    job.pin()
    first = job.night()
    again = run_night(job.nightly, out=job.out)
    assert (again.night, again.plan) == (first.night, first.plan)
    assert again.plan[0].basis == "independent answers"


def test_an_unknown_task_is_found_before_anything_is_asked(job: Job) -> None:
    job.write(tasks=["letters", "lettres"])
    with pytest.raises(UsageError, match=r"nightly\.yaml:\d+: .*did you mean letters"):
        job.night()
    assert job.server.stats()["answered"] == 0


@pytest.mark.slow
def test_several_models_are_judged_together(job: Job) -> None:
    entry = {"model": "openai:mock-model", "model_settings": job.nightly.file.model_settings}
    models = [entry, {**entry, "name": "strict"}]
    content = {"name": "two", "models": models, "tasks": ["letters"], "tolerance": 0.05}
    job.path.write_text(yaml.safe_dump(content))
    run_night(job.nightly, out=job.out)
    pinned = set_baselines(job.nightly, "latest", job.out)
    assert [label for label, _, _ in pinned] == ["openai:mock-model", "strict"]
    night = job.night()
    assert [(u.model, u.outcome) for u in night.units] == [
        ("openai:mock-model", Outcome.PASS),
        ("strict", Outcome.PASS),
    ]


def test_a_pin_of_a_record_at_its_floor_is_warned_of(job: Job) -> None:
    job.night(manner="wrong")
    pinned = set_baselines(job.nightly, "latest", job.out)
    (line,) = [d for d in doubt_pins(job.nightly, [run for _, run, _ in pinned]) if "never" in d]
    assert ": letters: the baseline is 0.0" in line
