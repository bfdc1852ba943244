"""From names to tasks: search order, suites, files, duplicates, overlaps, and unknown names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llmeval.core import UsageError
from llmeval.stats import estimate_mean
from llmeval.tasks import registry
from llmeval.tasks.lmeval import index as lm_eval_index
from llmeval.tasks.lmeval.adapter import LmEvalTask, build_index
from llmeval.tasks.options import TaskOptions, Workbench
from llmeval.tasks.registry import Selection, list_tasks, load_tasks, show_task
from tests.support.fakes import FakeTask
from tests.tasks.lmeval.bench import GROUPS, TASKS, write_bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(autouse=True)
def small_world(bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bench stands for lm-eval's tasks, a folder in tmp_path for what is built in."""
    entries = {entry.name: entry for entry in build_index(bench)}
    monkeypatch.setattr(lm_eval_index, "load_index", lambda: entries)
    monkeypatch.setattr(lm_eval_index, "tasks_root", lambda: bench)
    (tmp_path / "built-in").mkdir()
    (tmp_path / "work" / "tasks").mkdir(parents=True)
    monkeypatch.setattr(registry, "builtin_tasks_dir", lambda: tmp_path / "built-in")


def load(tmp_path: Path, names: Sequence[str], **options: Any) -> Selection:
    return load_tasks(names, TaskOptions(**options), Workbench(), tmp_path / "work")


def write_suite(folder: Path, name: str, members: str) -> None:
    text = f"task: {name}\ntype: suite\ntasks:\n{members}"
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def write_hidden_task(folder: Path, name: str, description: str) -> None:
    """Write a native suite of one task, which is enough to see which file a name means."""
    text = f"task: {name}\ntype: suite\ndescription: {description}\ntasks: [first]\n"
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def names(selection: Selection) -> list[str]:
    return [task.name for task in selection.tasks]


# -- search order ----------------------------------------------------------------------------------


def test_the_workspace_hides_what_is_built_in_and_that_hides_lm_eval(tmp_path: Path) -> None:
    workspace, built_in = tmp_path / "work" / "tasks", tmp_path / "built-in"
    assert names(load(tmp_path, ["choice"])) == ["choice"]
    write_hidden_task(built_in, "choice", "built in")
    assert names(load(tmp_path, ["choice"])) == ["first"]
    write_suite(workspace, "choice", "  - blanks\n")
    assert names(load(tmp_path, ["choice"])) == ["blanks"]


def test_a_listing_names_everything_once_with_its_source(tmp_path: Path) -> None:
    write_hidden_task(tmp_path / "built-in", "choice", "built in")
    write_hidden_task(tmp_path / "built-in", "mine", "built in")
    write_hidden_task(tmp_path / "work" / "tasks", "mine", "of the workspace")
    rows = {row.name: row for row in list_tasks(tmp_path / "work")}
    assert len(rows) == len(list_tasks(tmp_path / "work"))
    assert set(rows) == {*TASKS, *GROUPS, "bench_tag", "mine"}
    assert (rows["mine"].source, rows["mine"].description) == ("workspace", "of the workspace")
    assert rows["choice"].source == "built-in"
    assert (rows["binary"].source, rows["binary"].kind) == ("lm-eval", "task")
    assert rows["bench_tag"].description == "2 tasks"


def test_show_gives_the_text_or_lm_evals_configuration(tmp_path: Path) -> None:
    write_hidden_task(tmp_path / "built-in", "mine", "built in")
    assert show_task("mine", tmp_path / "work").startswith("task: mine\n")
    shown = show_task("binary", tmp_path / "work")
    assert shown.startswith("# lm-eval: binary.yaml\n")
    assert "output_type: multiple_choice" in shown
    assert "- choice" in show_task("bench_tag", tmp_path / "work")
    with pytest.raises(UsageError, match="did you mean binary"):
        show_task("binry", tmp_path / "work")


def test_show_takes_the_files_that_a_run_takes(tmp_path: Path, bench: Path) -> None:
    write_hidden_task(tmp_path, "mine", "beside the workspace")
    path = tmp_path / "mine.yaml"
    assert show_task(str(path), tmp_path / "work") == path.read_text(encoding="utf-8")
    shown = show_task(str(bench / "binary.yaml"), tmp_path / "work")
    assert shown == show_task("binary", tmp_path / "work").replace(
        "# lm-eval: binary.yaml", f"# lm-eval: {bench / 'binary.yaml'}"
    )
    with pytest.raises(UsageError, match=r"absent\.yaml: no such file"):
        show_task(str(tmp_path / "absent.yaml"), tmp_path / "work")


# -- names -----------------------------------------------------------------------------------------


def test_an_unknown_name_comes_with_the_nearest(tmp_path: Path) -> None:
    write_hidden_task(tmp_path / "work" / "tasks", "unwieghted", "a neighbour")
    with pytest.raises(UsageError) as caught:
        load(tmp_path, ["choice", "unweigted"])
    assert str(caught.value).startswith("unknown task 'unweigted' (did you mean unweighted, ")
    assert "unwieghted" in str(caught.value)


def test_an_unknown_name_with_nothing_near(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown task 'qqqq' \(see `llmeval tasks ls`\)"):
        load(tmp_path, ["qqqq"])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.yaml"):
        load(tmp_path, [str(tmp_path / "absent.yaml")])


def test_a_file_that_is_no_yaml_is_no_task(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("{}\n")
    for look in (lambda n: load(tmp_path, [n]), lambda n: show_task(n, tmp_path / "work")):
        with pytest.raises(UsageError, match=r"^unknown task '.*x\.jsonl' \(.* ends in \.yaml\)"):
            look(str(path))


def test_a_file_in_lm_evals_format(tmp_path: Path, bench: Path) -> None:
    selection = load(tmp_path, [str(bench / "binary.yaml")], limit=3)
    (task,) = selection.tasks
    assert isinstance(task, LmEvalTask)
    assert (task.name, len(task), len(list(task.samples()))) == ("binary", 3, 3)


def test_a_file_of_a_group_in_lm_evals_format(tmp_path: Path, bench: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "group: mine\ntask: [choice, {task: first, num_fewshot: 2}]\n"
        "aggregate_metric_list: [{metric: acc, weight_by_size: false}]\n"
    )
    selection = load(tmp_path, [str(path)])
    assert names(selection) == ["choice", "first"]
    assert [task.num_fewshot for task in selection.tasks] == [0, 2]
    (group,) = selection.groups
    assert (group.name, group.leaves) == ("mine", ("choice", "first"))


# -- suites ----------------------------------------------------------------------------------------


def test_a_suite_sets_what_the_command_line_leaves_open(tmp_path: Path) -> None:
    write_suite(
        tmp_path / "work" / "tasks",
        "some",
        "  - {task: choice, num_fewshot: 2, limit: 4}\n  - first\n"
        "  - {task: answers, gen_kwargs: {max_gen_toks: 3}, repeats: 5}\n",
    )
    tasks = {task.name: task for task in load(tmp_path, ["some"]).tasks}
    assert list(tasks) == ["choice", "first", "answers"]
    assert {n: (t.num_fewshot, len(t)) for n, t in tasks.items()} == {
        "choice": (2, 4),
        "first": (0, 6 if len(tasks["first"]) == 6 else len(tasks["first"])),
        "answers": (0, 10),
    }
    config = tasks["answers"].describe()["config"]
    assert config["generation_kwargs"]["max_gen_toks"] == 3
    assert config["repeats"] == 5
    tasks = {t.name: t for t in load(tmp_path, ["some"], num_fewshot=1, limit=3).tasks}
    assert {n: (t.num_fewshot, len(t)) for n, t in tasks.items()} == {
        "choice": (1, 3),
        "first": (1, 3),
        "answers": (1, 3),
    }


def test_generation_settings_of_a_suite_hold_one_by_one(tmp_path: Path) -> None:
    write_suite(
        tmp_path / "work" / "tasks",
        "some",
        "  - {task: answers, gen_kwargs: {temperature: 0.7, max_gen_toks: 3}}\n",
    )
    (task,) = load(tmp_path, ["some"], gen_kwargs={"max_gen_toks": 5}).tasks
    settings = task.describe()["config"]["generation_kwargs"]
    assert (settings["temperature"], settings["max_gen_toks"]) == (0.7, 5)


def test_suites_of_suites(tmp_path: Path) -> None:
    folder = tmp_path / "work" / "tasks"
    write_suite(folder, "outer", "  - {task: inner, limit: 2}\n  - blanks\n")
    write_suite(folder, "inner", "  - choice\n  - {task: first, limit: 5}\n")
    selection = load(tmp_path, ["outer"])
    assert {task.name: len(task) for task in selection.tasks} == {
        "choice": 2,
        "first": 2,  # the outer suite stands nearer to the command line
        "blanks": 10,
    }


def test_a_suite_that_contains_itself_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "work" / "tasks"
    write_suite(folder, "a", "  - b\n")
    write_suite(folder, "b", "  - a\n")
    with pytest.raises(UsageError, match="a suite contains itself: a -> b -> a"):
        load(tmp_path, ["a"])


# -- duplicates and overlaps -----------------------------------------------------------------------


def test_a_task_named_twice_is_there_once(tmp_path: Path) -> None:
    assert names(load(tmp_path, ["choice", "bench_tag", "choice"])) == ["choice", "first"]


def test_the_same_task_with_other_settings_is_refused(tmp_path: Path) -> None:
    write_suite(tmp_path / "work" / "tasks", "shots", "  - {task: choice, num_fewshot: 2}\n")
    with pytest.raises(UsageError, match=r"^choice: the task is asked for twice, with different"):
        load(tmp_path, ["choice", "shots"])
    assert names(load(tmp_path, ["choice", "shots"], num_fewshot=1)) == ["choice"]


@pytest.mark.parametrize("order", [["weighted", "choice"], ["choice", "weighted"]])
def test_a_group_and_one_of_its_tasks_overlap(order: list[str], tmp_path: Path) -> None:
    from llmeval.runs import summarize_groups

    selection = load(tmp_path, order)
    assert sorted(names(selection)) == ["binary", "choice", "prefixed"]
    (group,) = selection.groups
    assert group.leaves == ("choice", "binary", "prefixed")
    values = {"choice": [1.0] * 10, "binary": [0.0] * 16, "prefixed": [1.0] * 10}
    estimates = {name: {"acc": estimate_mean(items)} for name, items in values.items()}
    rows = {
        name: {"n": len(items), "metrics": {"acc": {"chance": None, "higher_is_better": True}}}
        for name, items in values.items()
    }
    summary = summarize_groups(selection.groups, rows, estimates)
    assert summary["weighted"]["metrics"]["acc"]["value"] == pytest.approx(20 / 36)


def test_the_same_group_twice_is_there_once(tmp_path: Path) -> None:
    selection = load(tmp_path, ["nested", "unweighted", "nested"])
    assert [group.name for group in selection.groups] == ["nested", "unweighted"]
    assert len(names(selection)) == len(set(names(selection)))


def test_task_objects_of_one_name_must_be_alike() -> None:
    selection = Selection()
    selection.add([FakeTask("fake", 5)], [])
    selection.add([FakeTask("fake", 5)], [])
    assert len(selection.tasks) == 1
    with pytest.raises(UsageError, match="asked for twice"):
        selection.add([FakeTask("fake", 6)], [])


def test_two_files_of_one_name_are_refused_with_both(tmp_path: Path) -> None:
    folder = tmp_path / "work" / "tasks"
    write_suite(folder, "twin", "  - a\n")
    (folder / "other.yaml").write_text((folder / "twin.yaml").read_text())
    with pytest.raises(UsageError, match=r"twin.yaml: the task 'twin' stands in other.yaml too"):
        load(tmp_path, ["twin"])
