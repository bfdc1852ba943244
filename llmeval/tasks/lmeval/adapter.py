"""lm-eval 0.4.13 as a source of tasks: the only module that imports it.

lm-eval builds a task, renders its prompts and judges its answers; everything between, and the
uncertainty of the numbers, is ours. What is replaced while a task is built: where its data come
from, the hub's ``code_eval``, and the compilation of its Jinja templates (each once, not once a
row). What is replaced is named in ``_prepared``; a test fails loudly when lm-eval moves.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast
from unittest import mock

import datasets as foreign_datasets
import lm_eval.tasks._factory as lm_factory
import lm_eval.utils as lm_utils
from lm_eval.api.group import Group
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.api.task import Task as Foreign
from lm_eval.tasks._index import Entry, Kind, TaskIndex
from lm_eval.tasks._yaml_loader import load_yaml

from llmeval.core import (
    Ask,
    GenerateRequest,
    Generation,
    Gold,
    GroupMetric,
    Loglikelihood,
    LoglikelihoodRequest,
    Metric,
    Request,
    Response,
    RollingRequest,
    Sample,
    Sampling,
    Score,
    TaskGroup,
    UsageError,
    fingerprint,
)
from llmeval.tasks.lmeval.code_eval import code_context, replace_code_eval
from llmeval.tasks.lmeval.datasets import Source
from llmeval.tasks.lmeval.estimators import estimator
from llmeval.tasks.lmeval.index import IndexEntry
from llmeval.tasks.options import TaskOptions, Workbench

log = logging.getLogger(__name__)

SUPPORTED = "0.4.13"

_KINDS = {Kind.TASK: "task", Kind.PY_TASK: "py_task", Kind.GROUP: "group", Kind.TAG: "tag"}


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


def build_tasks(
    name: str,
    index: Mapping[str, IndexEntry],
    root: Path,
    options: TaskOptions,
    workbench: Workbench,
) -> tuple[list[LmEvalTask], list[TaskGroup]]:
    """Build the tasks behind a task, group or tag name, and the groups with their metrics.

    ``name`` may be the path of a YAML file in lm-eval's own format.
    """
    registry = _registry(index, root)
    factory = lm_factory.TaskFactory()
    source = Source(workbench.mirror)
    with _prepared(name, source, options, workbench):
        entry = registry.get(name) or TaskIndex.entry_from_path(Path(name))
        if entry is None:
            raise UsageError("neither a task of lm-eval nor a file", where=name)
        built = factory.build(entry, overrides=None, registry=registry)
    items = built if isinstance(built, list) else [built]
    tasks: list[LmEvalTask] = []
    groups: list[Group] = []
    for item in items:
        if isinstance(item, Group):
            groups += [item, *item.get_all_groups()]
            tasks += [LmEvalTask(t, options, workbench, source) for t in item.get_all_tasks()]
        else:
            tasks.append(LmEvalTask(item, options, workbench, source))
    by_name = {task.name: task for task in tasks}
    return list(by_name.values()), [_convert_group(group, by_name) for group in groups]


def _registry(index: Mapping[str, IndexEntry], root: Path) -> dict[str, Entry]:
    kinds = {text: kind for kind, text in _KINDS.items()}
    return {
        e.name: Entry(e.name, kinds[e.kind], root / e.path if e.path else None, None, set(e.tags))
        for e in index.values()
    }


def read_config(path: Path) -> dict[str, Any]:
    """Return a task's YAML with its includes, functions left as text (for ``tasks show``)."""
    return cast(dict[str, Any], load_yaml(path, resolve_func=False))


# -- building --------------------------------------------------------------------------------------


@contextmanager
def _prepared(
    name: str, source: Source, options: TaskOptions, workbench: Workbench
) -> Iterator[None]:
    """Give lm-eval our data, our sandbox and compiled templates while it builds a task."""
    _check_version()
    _compile_templates_once()
    foreign_datasets.disable_progress_bars()

    def download(task: ConfigurableTask, dataset_kwargs: Any = None, **_: Any) -> None:
        _check_runnable(task)
        source.give(task, dataset_kwargs)
        if task.config.process_docs is not None:
            task.config.process_docs = _once_per_dataset(task.config.process_docs)

    def fewshot_docs(task: ConfigurableTask) -> Any:
        # Without examples their split need not be read, nor its rows turned into dicts.
        return original_fewshot(task) if _shots(task, options) else None

    original_fewshot = ConfigurableTask.fewshot_docs
    with ExitStack() as stack:
        stack.enter_context(replace_code_eval())
        stack.enter_context(code_context(workbench.sandbox, {}))
        stack.enter_context(mock.patch.object(ConfigurableTask, "download", download))
        stack.enter_context(mock.patch.object(ConfigurableTask, "fewshot_docs", fewshot_docs))
        stack.enter_context(_one_line_errors(name))
        yield


@contextmanager
def _one_line_errors(name: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f"the task cannot be loaded: {error}",
            where=name,
            mend="install the package that it names, see lm-eval's README for its extras",
        ) from error
    except (KeyError, ValueError, TypeError, AssertionError, FileNotFoundError) as error:
        raise UsageError(
            f"lm-eval cannot build the task: {type(error).__name__}: {error}", where=name
        ) from error


def _check_version() -> None:
    import importlib.metadata

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


@functools.cache
def _compile_templates_once() -> None:
    """Cache Jinja's compilation: 80 s of MMLU 5-shot's rendering become 4 s, same text."""
    environment = lm_utils.env
    environment.from_string = functools.lru_cache(maxsize=4096)(environment.from_string)


def _once_per_dataset(process: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """lm-eval processes the same split anew for every look at it; keep what came out."""
    kept: dict[str, Any] = {}

    @functools.wraps(process)
    def processed(dataset: Any) -> Any:
        key = str(getattr(dataset, "_fingerprint", id(dataset)))
        if key not in kept:
            kept[key] = process(dataset)
        return kept[key]

    return processed


def _shots(task: Foreign, options: TaskOptions) -> int:
    """Few-shot examples to show: a task that fixes 0 stays at 0, as in lm-eval."""
    own = task.config.num_fewshot
    if options.num_fewshot is not None and own != 0:
        return options.num_fewshot
    return int(own or 0)


def _convert_group(group: Group, tasks: Mapping[str, LmEvalTask]) -> TaskGroup:
    leaves = [task.task_name for task in group.get_all_tasks()]
    metrics: list[GroupMetric] = []
    for wanted in group.aggregate_metric_list or ():
        filters = wanted.filter_list
        if filters is None:
            filters = sorted({f for leaf in leaves for f in tasks[leaf].filters})
        metrics += [GroupMetric(_key(wanted.metric, f), wanted.weight_by_size) for f in filters]
    return TaskGroup(
        group.name, tuple(group.child_names), tuple(leaves), tuple(metrics), group.version
    )


def _key(metric: str, filter_name: str) -> str:
    """lm-eval's key; the filter called ``none`` is left out."""
    return metric if filter_name == "none" else f"{metric},{filter_name}"


