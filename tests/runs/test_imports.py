"""What lm-eval wrote is read as a record, and taken wherever a run is named."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from llmeval.core import LoglikelihoodRequest, UsageError, canonical_json
from llmeval.reports.leaderboard import build_board
from llmeval.reports.leaderboard.gather import gather
from llmeval.runs import Run
from llmeval.runs.find import find_run
from llmeval.runs.imports import import_all, import_lm_eval, open_files
from llmeval.runs.lm_eval.files import find_lm_eval
from llmeval.runs.record import hash_asked, hash_content
from llmeval.stats import estimate_mean, pool
from tests.reports.leaderboard.support import record
from tests.support.lm_eval_files import (
    config,
    generated,
    numbers,
    sample,
    scored,
    write_lm_eval,
)
from tests.support.shared import shared_dir

VALUES = [1.0, 0.0, 1.0, 1.0, 0.0]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "workspace"
    monkeypatch.setenv("LLMEVAL_HOME", str(home))
    return home


def write_one(folder: Path, values: list[float] = VALUES, **settings: Any) -> Path:
    samples = {"t": [sample(i, value) for i, value in enumerate(values)]}
    return write_lm_eval(folder, {"t": scored("t", values)}, samples, **settings)


def metric(run: Run, task: str = "t", name: str = "acc") -> dict[str, Any]:
    found: dict[str, Any] = run.summary["tasks"][task]["metrics"][name]
    return found


# -- numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True])
def test_values_are_lm_evals_and_intervals_ours(tmp_path: Path, zipped: bool) -> None:
    write_one(tmp_path / "in", zipped=zipped)
    run = import_lm_eval(tmp_path / "in", tmp_path / "out")
    found, ours = metric(run), estimate_mean(VALUES)
    assert (found["value"], found["stderr"], found["n"]) == (0.6, pytest.approx(ours.stderr), 5)
    assert tuple(found["ci95"]) == ours.ci95
    assert (found["chance"], found["coverage"], found["aggregation"]) == (0.25, 1.0, "mean")
    assert run.status == "complete"
    assert run.manifest["model"]["parameters"] == 656000
    assert run.manifest["imported"]["tool"] == "lm-eval 0.4.13"
    assert run.summary["tasks"]["t"]["version"] == "1.0"
    assert run.id.startswith("20260102-030405-lm-eval-org-model-")
    assert run.path == tmp_path / "out" / run.id


@pytest.mark.parametrize(
    "given", [{"pretrained": "m", "api_key": "sk-1"}, "pretrained=m,api_key=sk-1"]
)
def test_a_key_among_the_models_arguments_is_not_kept(tmp_path: Path, given: Any) -> None:
    write_one(tmp_path / "in", config={"model": "hf", "model_args": given})
    run = import_lm_eval(tmp_path / "in", tmp_path / "out")
    assert run.manifest["model"]["settings"] == {"pretrained": "m"}
    assert all("sk-1" not in path.read_text() for path in run.path.glob("*.json"))


@pytest.mark.parametrize(
    "spoiled",
    [
        {"results": {"t": 3}},
        {"configs": {"t": [1]}},
        {"versions": 7},
        {"total_evaluation_time_seconds": "nan"},
    ],
)
def test_results_that_are_not_lm_evals_inside_are_one_line(
    tmp_path: Path, spoiled: dict[str, Any]
) -> None:
    path = write_one(tmp_path / "in")
    path.write_text(json.dumps(json.loads(path.read_text()) | spoiled))
    with pytest.raises(UsageError, match="not results of lm-eval's") as caught:
        import_lm_eval(tmp_path / "in", tmp_path / "out")
    assert caught.value.where == str(path)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_date_that_is_none_is_no_obstacle(tmp_path: Path) -> None:
    for number, date in enumerate((1e300, "yesterday", None, math.nan)):
        path = write_one(tmp_path / str(number))
        path.write_text(json.dumps(json.loads(path.read_text()) | {"date": date}))
        run = import_lm_eval(path, tmp_path / "out" / str(number))
        assert run.id.startswith("19700101-000000-lm-eval-")


def test_samples_hold_questions_and_answers(tmp_path: Path) -> None:
    write_one(tmp_path / "in")
    run = import_lm_eval(tmp_path / "in", tmp_path / "out")
    row = run.samples.to_pylist()[1]
    assert row["sample_id"] == "1"
    assert row["prompt"] == "Question: Why 1?\nAnswer:"
    first = json.loads(row["exchanges"])[0]
    assert first["request"]["rest"] == [" because"]
    assert (first["response"]["logprob"], first["response"]["is_greedy"]) == (-1.5, False)
    assert [score["value"] for score in run.scores.to_pylist()] == VALUES


def test_an_item_has_the_digests_that_llmevals_own_run_gives_it(tmp_path: Path) -> None:
    doc = {
        "question": "Wie weit, \u00fcber 1.5 \U0001f600?",
        "numbers": [1, 2.5, None, True],
        "x": {"b": 1},
    }
    write_lm_eval(tmp_path / "in", {"t": scored("t", [1.0])}, {"t": [sample(0, 1.0, doc)]})
    [row] = import_lm_eval(tmp_path / "in", tmp_path / "out").scores.to_pylist()
    assert row["content"] == hash_content(canonical_json(doc).decode(), "0")
    prompt = f"Question: {doc['question']}\nAnswer:"
    choices = (" because", " therefore", " if", " so")
    assert row["asked"] == hash_asked([LoglikelihoodRequest(prompt, c) for c in choices])


def test_every_filter_is_a_metric_of_its_own(tmp_path: Path) -> None:
    lines = [generated(i, "strict-match", 0.0, "none") for i in range(3)]
    lines += [generated(i, "flexible-extract", 1.0, " 2 ") for i in range(3)]
    results = numbers(
        "t",
        sample_len=3,
        **{
            "exact_match__strict-match": 0.0,
            "exact_match_stderr__strict-match": 0.0,
            "exact_match__flexible-extract": 1.0,
            "exact_match_stderr__flexible-extract": 0.0,
        },
    )
    configs = {"t": config("t", "generate_until", "exact_match")}
    write_lm_eval(tmp_path / "in", {"t": results}, {"t": lines}, configs=configs)
    run = import_lm_eval(tmp_path / "in", tmp_path / "out")
    assert list(run.summary["tasks"]["t"]["metrics"]) == [
        "exact_match,strict-match",
        "exact_match,flexible-extract",
    ]
    assert run.samples.num_rows == 3
    rows = {(row["sample_id"], row["metric"]): row for row in run.scores.to_pylist()}
    assert len(rows) == 6
    assert rows["2", "exact_match,flexible-extract"]["extracted"] == "2"


def test_a_metric_that_is_no_mean_keeps_lm_evals_number_and_error(tmp_path: Path) -> None:
    configs = {"t": config("t")}
    configs["t"]["metric_list"][0]["aggregation"] = "f1"
    results = {"t": numbers("t", sample_len=2, acc__none=0.7, acc_stderr__none=0.1)}
    lines = [{**sample(i, 0.0), "acc": [0, i]} for i in range(2)]
    write_lm_eval(tmp_path / "in", results, {"t": lines}, configs=configs)
    run = import_lm_eval(tmp_path / "in", tmp_path / "out")
    found = metric(run)
    assert (found["value"], found["stderr"], found["aggregation"]) == (0.7, 0.1, "f1")
    assert found["ci95"] == pytest.approx([0.7 - 0.196, 0.7 + 0.196], abs=1e-4)
    assert [json.loads(row["item"]) for row in run.scores.to_pylist()] == [[0, 0], [0, 1]]


def test_what_is_not_a_number_is_none(tmp_path: Path) -> None:
    results = {"t": numbers("t", sample_len=2, acc__none=math.nan, acc_stderr__none="N/A")}
    write_lm_eval(tmp_path / "in", results, {"t": [sample(0, 1.0), sample(1, math.nan)]})
    run = import_lm_eval(tmp_path / "in", tmp_path / "out")
    assert "NaN" not in (run.path / "summary.json").read_text()
    assert [row["status"] for row in run.scores.to_pylist()] == ["scored", "unscored"]
    assert metric(run)["coverage"] == 0.5


def test_without_samples_there_is_a_summary_that_says_so(tmp_path: Path) -> None:
    write_lm_eval(tmp_path / "in", {"t": scored("t", VALUES)}, {})
    run = import_lm_eval(tmp_path / "in", tmp_path / "out")
    found = metric(run)
    assert (found["value"], found["n"], found["coverage"]) == (0.6, 5, 1.0)
    assert found["method"] == "as lm-eval reported it, normal"
    assert run.summary["tasks"]["t"]["n"] == 5
    assert run.scores.num_rows == 0
    assert run.manifest["imported"]["without_samples"] == ["t"]


def test_old_logs_list_arguments_and_no_metrics(tmp_path: Path) -> None:
    old = sample(0, 1.0)
    old["arguments"] = [["Question: Why 0?\nAnswer:", c] for c in (" because", " therefore")]
    old["resps"] = [[[-1.5, True]], [[-2.5, False]]]
    del old["metrics"], old["filter"]
    write_lm_eval(tmp_path / "in", {"t": scored("t", [1.0])}, {"t": [old]})
    run = import_lm_eval(tmp_path / "in", tmp_path / "out")
    assert [row["value"] for row in run.scores.to_pylist()] == [1.0]
    [row] = run.samples.to_pylist()
    answers = [one["response"] for one in json.loads(row["exchanges"])]
    assert [answer["is_greedy"] for answer in answers] == [True, False]


def test_a_served_chat_is_read_as_its_turns(tmp_path: Path) -> None:
    line = generated(0, "none", 1.0, "2")
    turns = json.dumps([{"role": "user", "content": "1+1="}])
    line["arguments"]["gen_args_0"]["arg_0"] = [turns]
    configs = {"t": config("t", "generate_until", "exact_match")}
    results = {"t": numbers("t", sample_len=1, exact_match__none=1.0)}
    write_lm_eval(tmp_path / "in", results, {"t": [line]}, configs=configs, chat_template="x")
    run = import_lm_eval(tmp_path / "in", tmp_path / "out")
    assert json.loads(run.samples.to_pylist()[0]["prompt"]) == [["user", "1+1="]]
    assert run.manifest["options"]["apply_chat_template"] is True


# -- groups ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_size", [True, False])
def test_how_a_group_weights_its_tasks_is_told_from_its_number(
    tmp_path: Path, by_size: bool
) -> None:
    small, large = [1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    parts = [estimate_mean(small), estimate_mean(large)]
    pooled = pool(parts, weight_by_size=by_size)
    group = numbers(
        "g", acc__none=pooled.value, acc_stderr__none=pooled.stderr, sample_count={"acc,none": 9}
    )
    results = {"s": scored("s", small), "l": scored("l", large), "g": group}
    samples = {
        name: [sample(i, v) for i, v in enumerate(values)]
        for name, values in (("s", small), ("l", large))
    }
    write_lm_eval(tmp_path / "in", results, samples, subtasks={"g": ["s", "l"], "top": ["g"]})
    run = import_lm_eval(tmp_path / "in", tmp_path / "out")
    found = run.summary["groups"]["g"]["metrics"]["acc"]
    assert found["value"] == pytest.approx(pooled.value)
    assert found["stderr"] == pytest.approx(pooled.stderr)
    assert found["aggregation"] == ("weighted by size" if by_size else "unweighted")
    assert run.summary["groups"]["top"]["metrics"] == {}


def test_a_groups_number_that_its_tasks_do_not_give_stays_as_reported(tmp_path: Path) -> None:
    group = numbers("g", acc__none=0.9, acc_stderr__none=0.05)
    results = {"t": scored("t", VALUES), "g": group}
    samples = {"t": [sample(i, v) for i, v in enumerate(VALUES)]}
    write_lm_eval(tmp_path / "in", results, samples, subtasks={"g": ["t"]})
    run = import_lm_eval(tmp_path / "in", tmp_path / "out")
    found = run.summary["groups"]["g"]["metrics"]["acc"]
    assert (found["value"], found["stderr"], found["aggregation"]) == (0.9, 0.05, "unknown")


# -- where a run is named --------------------------------------------------------------------------


def test_a_folder_of_lm_evals_is_a_run_and_kept_until_it_changes(
    tmp_path: Path, workspace: Path
) -> None:
    path = write_one(tmp_path / "in" / "org__model")
    run = find_run(str(tmp_path / "in"))
    assert run.path.parent == workspace / ".llmeval" / "imports"
    assert metric(run)["value"] == 0.6
    (run.path / "kept").touch()
    assert (find_run(str(path)).path / "kept").exists()
    write_one(tmp_path / "in" / "org__model", [0.0, 0.0])
    again = find_run(str(tmp_path / "in"))
    assert again.path != run.path
    assert metric(again)["value"] == 0.0


def test_of_several_results_the_newest_is_the_run_and_a_board_takes_all(tmp_path: Path) -> None:
    write_one(tmp_path / "in" / "a", [0.0, 1.0], model="org/a", when=1.7e9)
    dates = ("2026-01-05T00-00-00.000000", "2026-01-06T00-00-00.000000")
    write_one(tmp_path / "in" / "b", [1.0, 1.0], model="org/b", when=1.77e9, date=dates[0])
    write_one(tmp_path / "in" / "b", [0.0, 0.0], model="org/b", when=1.76e9, date=dates[1])
    assert find_run(str(tmp_path / "in")).summary["model"]["name"] == "org/b"
    assert metric(find_run(str(tmp_path / "in")))["value"] == 1.0
    board = build_board(gather([tmp_path / "in"]))
    assert {row.name: row.cells["t acc"].measured.value for row in board.models} == {
        "org/a (lm-eval)": 0.5,
        "org/b (lm-eval)": 1.0,
    }
    assert len(import_all(tmp_path / "in", tmp_path / "out")) == 3


def test_imported_and_own_runs_of_a_task_are_compared_item_by_item(tmp_path: Path) -> None:
    values = [1.0, 0.0] * 20
    write_one(tmp_path / "in", values)
    imported = find_run(str(tmp_path / "in"))
    copy = tmp_path / "results" / "own"
    copy.mkdir(parents=True)
    for name in ("scores.parquet", "samples.parquet"):
        (copy / name).write_bytes((imported.path / name).read_bytes())
    for name in ("manifest", "summary"):
        content = json.loads((imported.path / f"{name}.json").read_text())
        content["run_id"] = "own"
        content["model"] = {"name": "own", "fingerprint": "ff"}
        content.pop("imported", None)
        (copy / f"{name}.json").write_text(json.dumps(content))
    board = build_board(gather([tmp_path / "in", tmp_path / "results"]))
    standings = [row.cells["t acc"].standing for row in board.models]
    assert [one and one.ranks for one in standings] == ["1-2", "1-2"]
    assert any("imported results: lm-eval 0.4.13" in note for note in board.notes)


def test_without_samples_a_board_has_the_number_and_no_tier(tmp_path: Path) -> None:
    write_lm_eval(tmp_path / "in", {"t": scored("t", VALUES)}, {})
    for name in ("a", "b"):
        record(tmp_path / "results", name, {"t": VALUES}, version="1.0")
    board = build_board(gather([tmp_path / "in", tmp_path / "results"]))
    cell = next(row for row in board.models if "lm-eval" in row.name).cells["t acc"]
    assert (cell.standing, cell.unplaced) == (None, "no samples")
    assert any("only a summary" in note for note in board.notes)


def test_records_of_our_own_are_not_taken_for_lm_evals(tmp_path: Path) -> None:
    path = record(tmp_path / "results", "a", {"t": VALUES})
    (path / "results.json").write_text('{"results": {}, "configs": {}, "versions": {}}')
    assert find_lm_eval(tmp_path / "results") == []


# -- what cannot be read ---------------------------------------------------------------------------


UNREADABLE = sample(1, 1.0) | {"resps": [[["?", "False"]]] * 4}


@pytest.mark.parametrize(
    "line",
    [
        "{torn",
        "[]",
        "{}",
        '{"doc_id": 1, "doc": {}}',
        json.dumps(UNREADABLE),
        json.dumps(sample(1, 1.0) | {"metrics": ["f1"]}),
        json.dumps(sample(0, 0.0)),  # a second time
    ],
)
def test_a_line_that_is_no_sample_is_named(tmp_path: Path, line: str) -> None:
    path = write_one(tmp_path / "in")
    file = path.with_name(path.name.replace("results", "samples_t").replace(".json", ".jsonl"))
    file.write_text(json.dumps(sample(0, 1.0)) + "\n" + line + "\n")
    with pytest.raises(UsageError, match="not a sample of lm-eval's") as caught:
        import_lm_eval(tmp_path / "in", tmp_path / "out")
    assert caught.value.where == f"{file}, line 2"
    assert list((tmp_path / "out").iterdir()) == []


def test_a_torn_archive_is_named(tmp_path: Path) -> None:
    write_one(tmp_path / "in", zipped=True)
    [file] = (tmp_path / "in").glob("*.gz")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(UsageError, match="cannot be read") as caught:
        import_lm_eval(tmp_path / "in", tmp_path / "out")
    assert caught.value.where == str(file)


@pytest.mark.parametrize("content", ["[1]", '{"results": 3}'])
def test_a_folder_without_results_of_lm_eval_is_no_run(tmp_path: Path, content: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "results_x.json").write_text(content)
    with pytest.raises(UsageError, match="no results of lm-eval here"):
        import_lm_eval(tmp_path / "in", tmp_path / "out")
    with pytest.raises(UsageError, match="no such run"):
        find_run(str(tmp_path / "in"), tmp_path / "out")
    with pytest.raises(UsageError, match="neither runs nor results"):
        gather([tmp_path / "in"])


# -- the real thing --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["tinystories656K", "stories260K"])
def test_reference_outputs_of_lm_eval_keep_their_numbers(model: str) -> None:
    folder = shared_dir("reference", "lm_eval_0.4.13", model)
    for files in find_lm_eval(folder):
        run = open_files(files)
        content = files.read()["results"]
        for name, entry in {**run.summary["tasks"], **run.summary["groups"]}.items():
            for key, row in entry["metrics"].items():
                label = key if "," in key else f"{key},none"
                base, _, filter_name = label.partition(",")
                assert row["value"] == content[name][label]
                stderr = content[name][f"{base}_stderr,{filter_name}"]
                if base != "perplexity":  # a bootstrap's, which is ours
                    assert row["stderr"] == pytest.approx(stderr, rel=1e-9)
                elif row["ci95"]:
                    assert 0 < row["ci95"][0] < row["value"] < row["ci95"][1]


@pytest.mark.slow
def test_an_imported_run_aligns_with_a_real_run_of_ours(tmp_path: Path) -> None:
    import llmeval

    reference = shared_dir("reference", "lm_eval_0.4.13", "tinystories656K")
    model, data = shared_dir("models", "tinystories656K"), shared_dir("data", "hub")
    run = llmeval.run(
        f"hf:{model}",
        ["hellaswag", "arc_easy"],
        model_settings={"dtype": "float32"},
        data=data,
        limit=20,
        num_fewshot=0,
        out=tmp_path / "results",
        workspace=tmp_path,
    )
    for task in ("hellaswag", "arc_easy"):
        theirs = find_run(str(reference / f"{task}_0shot"))
        key = {(row["sample_id"], row["metric"]): row for row in theirs.scores.to_pylist()}
        rows = [row for row in run.scores.to_pylist() if row["task"] == task]
        assert len(rows) == 40
        for row in rows:
            other = key[row["sample_id"], row["metric"]]
            assert (row["content"], row["asked"]) == (other["content"], other["asked"])
            assert row["value"] == other["value"]
    assert os.environ["LLMEVAL_HOME"] in str(theirs.path)


def test_broken_results_are_not_json_rather_than_not_there(tmp_path: Path) -> None:
    path = tmp_path / "results_x.json"
    path.write_text("{broken")
    for named in (path, tmp_path):
        with pytest.raises(UsageError, match=r"results_x\.json: not JSON: "):
            import_lm_eval(named, tmp_path / "results")
        with pytest.raises(UsageError, match=r"results_x\.json: not JSON: "):
            find_run(str(named))
