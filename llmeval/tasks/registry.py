"""From a name to tasks: the workspace's YAML first, then what is built in, then lm-eval."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llmeval.core import Task, TaskGroup, UsageError, canonical_json
from llmeval.tasks.generation import override_generation
from llmeval.tasks.native import Header, Suite, load_native, read_header, scan
from llmeval.tasks.options import TaskOptions, Workbench


@dataclass(slots=True)
class Selection:
    """The tasks of a run, each once, and the groups with metrics of their own."""

    tasks: list[Task] = field(default_factory=list)
    groups: list[TaskGroup] = field(default_factory=list)

    def add(self, tasks: Iterable[Task], groups: Iterable[TaskGroup]) -> None:
        """Add what is not there yet.

        Raises:
            UsageError: a task is there with other settings, so one of the two would be lost.
        """
        known = {task.name: task for task in self.tasks}
        for task in tasks:
            if task.name not in known:
                self.tasks.append(task)
            elif _settings(task) != _settings(known[task.name]):
                raise UsageError(
                    "the task is asked for twice, with different settings",
                    where=task.name,
                    mend="ask for it once, or give a copy of its YAML another name",
                )
        names = {group.name for group in self.groups}
        self.groups += [group for group in groups if group.name not in names]


def _settings(task: Task) -> tuple[str, int, int, bytes]:
    return task.version, task.num_fewshot, len(task), canonical_json(task.describe())


@dataclass(frozen=True, slots=True)
class Listing:
    """One line of ``llmeval tasks ls``."""

    name: str
    kind: str
    source: str
    description: str


def builtin_tasks_dir() -> Path:
    """Return the folder of the tasks that come with llmeval: in the wheel, or in a checkout."""
    package = Path(__file__).resolve().parents[1]
    shipped = package / "workspace" / "tasks"
    return shipped if shipped.is_dir() else package.parent / "tasks"


def task_folders(workspace: Path) -> list[tuple[str, Path]]:
    """Return the folders of task YAML in the order in which they are searched."""
    folders = [("workspace", workspace / "tasks"), ("built-in", builtin_tasks_dir())]
    different = folders[0][1].resolve() != folders[1][1].resolve()
    return [f for f in (folders if different else folders[1:]) if f[1].is_dir()]


def load_tasks(
    names: Sequence[str], options: TaskOptions, workbench: Workbench, workspace: Path
) -> Selection:
    """Build the tasks behind names of tasks, suites, groups, tags, or paths of YAML files.

    Raises:
        UsageError: an unknown name (with the nearest ones), a malformed file, missing data.
    """
    native = native_headers(workspace)
    selection = Selection()
    for name in names:
        _load_one(name, options, workbench, native, selection)
    return selection


def native_headers(workspace: Path) -> dict[str, Header]:
    """Return the native tasks and suites by name; the workspace's hide built-in ones."""
    headers: dict[str, Header] = {}
    for _, folder in reversed(task_folders(workspace)):
        headers.update(_headers_of(folder))
    return headers


def _headers_of(folder: Path) -> dict[str, Header]:
    headers: dict[str, Header] = {}
    for header in scan(folder):
        if (twin := headers.get(header.name)) is not None:
            raise UsageError(
                f"the task {header.name!r} stands in {twin.path.name} too",
                where=str(header.path),
                mend="give one of them another name",
            )
        headers[header.name] = header
    return headers


def _load_one(
    name: str,
    options: TaskOptions,
    workbench: Workbench,
    native: dict[str, Header],
    selection: Selection,
    within: tuple[str, ...] = (),
) -> None:
    if name in within:
        chain = " -> ".join([*within, name])
        raise UsageError(f"a suite contains itself: {chain}", mend="take it out of one of them")
    path = native[name].path if name in native else None
    if _names_file(name):
        path = Path(name)
    if path is None or _is_lm_eval_file(path):
        selection.add(*_load_from_lm_eval(str(path or name), options, workbench, native))
        return
    loaded = load_native(path, options, workbench)
    if not isinstance(loaded, Suite):
        selection.add([loaded], [])
        return
    for member in loaded.members:
        merged = _merge(options, member.options)
        _load_one(member.task, merged, workbench, native, selection, (*within, name))


def _names_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _is_lm_eval_file(path: Path) -> bool:
    """Tell a file in lm-eval's format, which may hold ``!function`` tags, from a native one."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False  # the native reader says what is wrong
    keys = set(re.findall(r"^(\w+):", text, flags=re.MULTILINE))
    return "type" not in keys and bool(keys & _LM_EVAL_KEYS)


_LM_EVAL_KEYS = {"dataset_path", "output_type", "group", "include", "doc_to_text", "class"}


def _merge(options: TaskOptions, own: dict[str, Any]) -> TaskOptions:
    """A suite's setting holds where the command line gives none."""
    unset = TaskOptions()
    changes = {k: v for k, v in own.items() if getattr(options, k) == getattr(unset, k)}
    if "gen_kwargs" in own:  # one by one
        changes["gen_kwargs"] = override_generation(own["gen_kwargs"], options.gen_kwargs)
    return replace(options, **changes)


def _load_from_lm_eval(
    name: str, options: TaskOptions, workbench: Workbench, native: dict[str, Header]
) -> tuple[Sequence[Task], Sequence[TaskGroup]]:
    from llmeval.tasks.lmeval.index import load_index, tasks_root

    index = load_index()
    if name not in index and not _names_file(name):
        raise _unknown(name, [*native, *index])
    from llmeval.tasks.lmeval.adapter import build_tasks

    return build_tasks(name, index, tasks_root(), options, workbench)


def _unknown(name: str, known: Sequence[str]) -> UsageError:
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.6)
    mend = f"did you mean {', '.join(near)}?" if near else "see `llmeval tasks ls`"
    if Path(name).is_file():
        mend = "there is a file of that name, but a task's file ends in .yaml"
    return UsageError(f"unknown task {name!r}", mend=mend)


def list_tasks(workspace: Path) -> list[Listing]:
    """Return everything that a run can name: native tasks and suites, then lm-eval's."""
    from llmeval.tasks.lmeval.index import load_index

    rows: dict[str, Listing] = {}
    for source, folder in task_folders(workspace):
        for header in scan(folder):
            row = Listing(header.name, header.type, source, header.description)
            rows.setdefault(header.name, row)
    for entry in load_index().values():
        about = " ".join(filter(None, (entry.output_type, entry.dataset)))
        about = about or (f"{len(entry.tags)} tasks" if entry.tags else "")
        kind = "task" if entry.kind == "py_task" else entry.kind
        rows.setdefault(entry.name, Listing(entry.name, kind, "lm-eval", about))
    return list(rows.values())


def show_task(name: str, workspace: Path) -> str:
    """Return a task's configuration as YAML text: the native file, or lm-eval's with its includes.

    Args:
        name: as for a run, so the path of a YAML file too.
        workspace: the folder whose tasks hide those that are built in.

    Raises:
        UsageError: an unknown name, or a file that cannot be read.
    """
    import yaml

    from llmeval.tasks.lmeval.index import load_index, tasks_root

    if _names_file(name):
        return _show_file(Path(name))
    native = native_headers(workspace)
    if name in native:
        return native[name].path.read_text(encoding="utf-8")
    index = load_index()
    if name not in index:
        raise _unknown(name, [*native, *index])
    entry = index[name]
    if entry.path is None:
        return yaml.safe_dump({"tag": name, "tasks": list(entry.tags)}, sort_keys=False)
    return _show_lm_eval_file(tasks_root() / entry.path, entry.path)


def _show_file(path: Path) -> str:
    if _is_lm_eval_file(path):
        return _show_lm_eval_file(path, str(path))
    read_header(path)  # says what is wrong with a file that a run would not take
    return path.read_text(encoding="utf-8-sig")


def _show_lm_eval_file(path: Path, shown: str) -> str:
    import yaml

    from llmeval.tasks.lmeval.adapter import read_config

    config = yaml.safe_dump(read_config(path), sort_keys=False, allow_unicode=True)
    return f"# lm-eval: {shown}\n{config}"
