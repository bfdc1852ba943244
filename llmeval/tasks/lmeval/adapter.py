"""lm-eval 0.4.13 as a source of tasks: the only module that imports it.

lm-eval builds a task, renders its prompts and judges its answers; everything between, and the
uncertainty of the numbers, is ours. What is replaced while a task is built: where its data come
from, the hub's ``code_eval``, and the compilation of its Jinja templates (each once, not once a
row). What is replaced is named in ``_prepared``; a test fails loudly when lm-eval moves.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast
from unittest import mock

import datasets as foreign_datasets
import lm_eval.tasks._factory as lm_factory
import lm_eval.utils as lm_utils
from lm_eval.api.group import Group
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks._index import Entry, Kind, TaskIndex
from lm_eval.tasks._yaml_loader import load_yaml

from llmeval.core import GroupMetric, TaskGroup, UsageError
from llmeval.tasks.lmeval.code_eval import code_context, replace_code_eval
from llmeval.tasks.lmeval.datasets import Source, evaluated_split
from llmeval.tasks.lmeval.documents import kept_generators, process_once, seed_generators
from llmeval.tasks.lmeval.errors import one_line_errors
from llmeval.tasks.lmeval.index import IndexEntry
from llmeval.tasks.lmeval.task import SUPPORTED, LmEvalTask, count_shots, metric_key, task_name
from llmeval.tasks.options import TaskOptions, Workbench

__all__ = ["LmEvalTask", "build_index", "build_tasks", "read_config"]

_KINDS = {Kind.TASK: "task", Kind.PY_TASK: "py_task", Kind.GROUP: "group", Kind.TAG: "tag"}
_KINDS_BY_TEXT = {text: kind for kind, text in _KINDS.items()}


def build_index(root: Path) -> list[IndexEntry]:
    """Walk lm-eval's task files with its own code (some 7 s) and return what they define."""
    entries = []
    for name, entry in TaskIndex.build([root]).items():
        config = entry.cfg or {}
        path = str(Path(entry.yaml_path).relative_to(root)) if entry.yaml_path else None
        tags = tuple(sorted(entry.tags)) if entry.kind is Kind.TAG else ()
        output_type, dataset = config.get("output_type"), config.get("dataset_path")
        entries.append(IndexEntry(name, _KINDS[entry.kind], path, tags, output_type, dataset))
    return sorted(entries, key=lambda entry: entry.name)


def read_config(path: Path) -> dict[str, Any]:
    """Return a task's YAML with its includes, functions left as text (for ``tasks show``)."""
    return cast(dict[str, Any], load_yaml(path, resolve_func=False))


def build_tasks(
    name: str,
    index: Mapping[str, IndexEntry],
    root: Path,
    options: TaskOptions,
    workbench: Workbench,
) -> tuple[list[LmEvalTask], list[TaskGroup]]:
    """Build the tasks behind a task, group or tag name, and the groups with their metrics.

    ``name`` may be the path of a YAML file in lm-eval's own format.

    Raises:
        UsageError: lm-eval cannot build it, its data are missing, or the options do not suit it.
    """
    _check_version()
    registry = _Registry(index, root)
    source = Source(workbench.mirror)
    with _prepared(source, options, workbench), one_line_errors(name, "build"):
        entry = registry[name] if name in registry else _read_entry(Path(name).expanduser())
        built = lm_factory.TaskFactory().build(entry, overrides=None, registry=registry)
    tasks: dict[str, LmEvalTask] = {}
    groups: list[Group] = []
    for item in built if isinstance(built, list) else [built]:
        if isinstance(item, Group):
            groups += [item, *item.get_all_groups()]
        for leaf in item.get_all_tasks() if isinstance(item, Group) else [item]:
            tasks[task_name(leaf)] = LmEvalTask(leaf, options, workbench, source)
    return list(tasks.values()), [_convert_group(group, tasks) for group in groups]


class _Registry(dict[str, Entry]):
    """lm-eval's task index, made of ours entry by entry as lm-eval looks them up."""

    def __init__(self, index: Mapping[str, IndexEntry], root: Path) -> None:
        super().__init__()
        self._index = index
        self._root = root

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._index

    def __missing__(self, name: str) -> Entry:
        entry = self._index[name]
        path = self._root / entry.path if entry.path else None
        made = Entry(entry.name, _KINDS_BY_TEXT[entry.kind], path, None, set(entry.tags))
        self[name] = made
        return made


def _read_entry(path: Path) -> Entry:
    """Return what a file defines; lm-eval's ``entry_from_path`` misnames a group by its members."""
    if not path.is_file():
        raise UsageError("neither a task of lm-eval nor a file", where=str(path))
    found: dict[str, Entry] = {}
    TaskIndex.process_cfg(load_yaml(path, resolve_func=False), path.resolve(), found)
    return next(entry for entry in found.values() if entry.kind is not Kind.TAG)


def _convert_group(group: Group, tasks: Mapping[str, LmEvalTask]) -> TaskGroup:
    leaves = list(dict.fromkeys(task_name(task) for task in group.get_all_tasks()))
    metrics: list[GroupMetric] = []
    for wanted in group.aggregate_metric_list or ():
        filters = wanted.filter_list
        if filters is None:
            filters = sorted({f for leaf in leaves for f in tasks[leaf].filters})
        metrics += [
            GroupMetric(metric_key(wanted.metric, f), wanted.weight_by_size) for f in filters
        ]
    return TaskGroup(
        group.name, tuple(group.child_names), tuple(leaves), tuple(metrics), group.version
    )


# -- what lm-eval gets to work with ----------------------------------------------------------------


@contextmanager
def _prepared(source: Source, options: TaskOptions, workbench: Workbench) -> Iterator[None]:
    """Give lm-eval our data, our sandbox and compiled templates while it builds tasks."""
    _compile_templates_once()
    foreign_datasets.disable_progress_bars()
    original_fewshot = ConfigurableTask.fewshot_docs

    def download(task: ConfigurableTask, dataset_kwargs: Any = None, **_: Any) -> None:
        _check_runnable(task)
        source.give(task, dataset_kwargs)
        _process_docs_once(task, options)
        seed_generators()

    def fewshot_docs(task: ConfigurableTask) -> Any:
        # Without examples their split need not be read, nor its rows turned into dicts.
        return original_fewshot(task) if count_shots(task, options) else None

    with ExitStack() as stack:
        stack.enter_context(replace_code_eval())
        stack.enter_context(code_context(workbench.sandbox, {}))
        stack.enter_context(kept_generators())
        stack.enter_context(mock.patch.object(ConfigurableTask, "download", download))
        stack.enter_context(mock.patch.object(ConfigurableTask, "fewshot_docs", fewshot_docs))
        yield


def _process_docs_once(task: ConfigurableTask, options: TaskOptions) -> None:
    config = task.config
    if config.process_docs is None:
        return
    evaluated = evaluated_split(task)
    if count_shots(task, options) and Source.fewshot_split(task) == evaluated:
        evaluated = None  # examples are drawn from all of its rows
    config.process_docs = process_once(config.process_docs, evaluated, options.limit)


@functools.cache
def _compile_templates_once() -> None:
    """Cache Jinja's compilation: 80 s of MMLU 5-shot's rendering become 4 s, same text."""
    environment: Any = lm_utils.env
    compile_template: Callable[[str], Any] = environment.from_string
    environment.from_string = functools.lru_cache(maxsize=4096)(compile_template)


def _check_version() -> None:
    version = importlib.metadata.version("lm_eval")
    if version != SUPPORTED:
        raise UsageError(
            f"lm-eval {version} is installed, its tasks are read with {SUPPORTED}",
            mend=f"pip install 'lm-eval=={SUPPORTED}'",
        )


def _check_runnable(task: ConfigurableTask) -> None:
    if getattr(task, "MULTIMODAL", False):
        raise UsageError(
            "the task shows images or sounds, which no backend here reads",
            where=str(task.config.task),
            mend="leave it out",
        )
