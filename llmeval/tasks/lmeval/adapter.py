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

_CLUSTER_FIELDS = {
    # Questions about the same text are not independent.
    "EleutherAI/drop": "passage",
    "aps/super_glue/boolq": "passage",
    "aps/super_glue/multirc": "paragraph",
    "aps/super_glue/record": "passage",
    "EleutherAI/race": "article",
    "EleutherAI/coqa": "story",
}

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


# -- the task --------------------------------------------------------------------------------------


class LmEvalTask:
    """One of lm-eval's tasks in the shape of :class:`llmeval.core.Task`.

    Prompts are rendered lazily and in order: lm-eval draws few-shot examples from one generator
    that advances with every row, so it is reseeded when :meth:`samples` starts and every row is
    rendered, whatever part of them a process is then given to answer.
    """

    def __init__(
        self, task: Foreign, options: TaskOptions, workbench: Workbench, source: Source
    ) -> None:
        self._task = task
        self._options = options
        self._workbench = workbench
        self._source = source
        self._set_options()
        self.filters = tuple(f.name for f in task._filters)
        self.metrics: dict[str, Metric] = {}
        for metric in self._declared_metrics():
            for filter_name in self.filters:
                self._declare(metric, filter_name)

    def _set_options(self) -> None:
        task, options = self._task, self._options
        self.num_fewshot = _shots(task, options)
        task.set_config("num_fewshot", self.num_fewshot)
        if task.OUTPUT_TYPE == "generate_until":
            if options.gen_kwargs:
                task.set_config("generation_kwargs", dict(options.gen_kwargs), update=True)
            if options.repeats is not None:
                task.set_config("repeats", options.repeats)
        self._unsafe = bool(getattr(task, "UNSAFE_CODE", False))
        self._missing_split = self._source.missing_fewshot_split(task) if self.num_fewshot else None
        if self._missing_split:
            log.warning("%s: %s", self.name, self._missing_split)

    @property
    def name(self) -> str:
        return str(self._task.task_name)

    @property
    def version(self) -> str:
        return str(self._task.VERSION)

    def __len__(self) -> int:
        total = len(self._task.task_docs)
        return total if self._options.limit is None else min(total, self._options.limit)

    def data(self) -> list[dict[str, Any]]:
        return self._source.fingerprints(self._task, with_fewshot=self.num_fewshot > 0)

    def describe(self) -> dict[str, Any]:
        config = self._task.dump_config()
        notes = {"note": self._missing_split} if self._missing_split else {}
        return {"source": f"lm-eval {SUPPORTED}", "config": config, **notes}

    # -- samples --

    def samples(self) -> Iterator[Sample]:
        task = self._task
        task.set_fewshot_seed(self._options.seed)
        docs = itertools.islice(enumerate(task.task_docs), self._options.limit)
        return (self._sample(doc_id, doc) for doc_id, doc in docs)

    def _sample(self, doc_id: int, doc: Mapping[str, Any]) -> Sample:
        task, options = self._task, self._options
        chat = options.apply_chat_template
        context = task.fewshot_context(
            doc,
            num_fewshot=self.num_fewshot,
            system_instruction=options.system_instruction,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat and options.fewshot_as_multiturn,
            chat_template=self._workbench.chat_template if chat else None,
            gen_prefix=task.doc_to_prefix(doc),
        )
        instances = task.construct_requests(
            doc=doc,
            ctx=context,
            metadata=(self.name, doc_id, task.config.repeats),
            apply_chat_template=chat,
            chat_template=self._workbench.chat_template if chat else None,
        )
        instances = instances if isinstance(instances, list) else [instances]
        return Sample(
            id=str(doc_id),
            fields=doc,
            target=str(task.doc_to_target(doc)),
            cluster=self._cluster(doc),
            gold=self._gold(doc, instances),
            payload=instances,
        )

    def _cluster(self, doc: Mapping[str, Any]) -> str | None:
        config = self._task.config
        for place in (config.dataset_path, f"{config.dataset_path}/{config.dataset_name}"):
            field = _CLUSTER_FIELDS.get(str(place))
            if field and field in doc:
                return fingerprint(doc[field], size=8)
        return None

    def _gold(self, doc: Mapping[str, Any], instances: Sequence[Instance]) -> Gold:
        task = self._task
        target = task.doc_to_target(doc)
        if task.OUTPUT_TYPE != "multiple_choice":
            answer = doc.get("canonical_solution") or doc.get("code") if self._unsafe else None
            first = target[0] if isinstance(target, list) and target else target
            return Gold(text=str(answer if answer is not None else first))
        choices = task.doc_to_choice(doc)
        gold = task.doc_to_text(doc) if getattr(task, "multiple_input", 0) else target
        right = gold if isinstance(gold, list) else [gold]
        right = [choices.index(r) if isinstance(r, str) and r in choices else r for r in right]
        return Gold(
            choices=tuple(str(choice) for choice in choices),
            right=tuple(r for r in right if isinstance(r, int) and 0 <= r < len(choices)),
        )

    # -- evaluation --

    async def evaluate(self, sample: Sample, ask: Ask) -> list[Score]:
        # Fresh instances per evaluation: lm-eval collects answers in them.
        instances = [_fresh(instance) for instance in sample.payload]
        requests = [request for inst in instances for request in self._requests(inst)]
        answers = iter(await ask(requests))
        for instance in instances:
            instance.resps = [_raw(next(answers)) for _ in self._requests(instance)]
        if self._unsafe:  # executing code takes a while, and other samples can go on
            return await asyncio.to_thread(self._judge, sample, instances)
        return self._judge(sample, instances)

    def _requests(self, instance: Instance) -> list[Request]:
        if instance.request_type == "loglikelihood":
            return [LoglikelihoodRequest(*instance.args)]
        if instance.request_type == "loglikelihood_rolling":
            return [RollingRequest(*instance.args)]
        prompt, settings = instance.args
        request = GenerateRequest(prompt, to_sampling(settings, self._options.seed))
        return list(request.draws(instance.repeats or 1))

    def _judge(self, sample: Sample, instances: Sequence[Instance]) -> list[Score]:
        task = self._task
        scores: list[Score] = []
        with code_context(self._workbench.sandbox, sample.fields):
            for ensemble in task._filters:
                ensemble.apply(instances)
                answers = [instance.filtered_resps[ensemble.name] for instance in instances]
                for metric, value in task.process_results(sample.fields, answers).items():
                    scores.append(self._score(metric, ensemble.name, value, answers))
        return scores

    def _score(self, metric: str, filter_name: str, value: Any, answers: Sequence[Any]) -> Score:
        key = self._declare(metric, filter_name)
        extracted = str(answers[0])[:2000] if self._task.OUTPUT_TYPE == "generate_until" else None
        if isinstance(value, bool | int | float) or (hasattr(value, "ndim") and value.ndim == 0):
            return Score(key, float(value), extracted=extracted)
        return Score(key, None, extracted=extracted, item=_plain(value))

    # -- metrics --

    def _declared_metrics(self) -> list[str]:
        names: list[str] = []
        for name in getattr(self._task, "_metric_fn_list", None) or self._task.aggregation():
            ks = self._task_metric_kwargs(name).get("k")
            if name == "pass_at_k" and ks is not None:  # one name there, a key for each k here
                names += [f"pass@{k}" for k in (ks if isinstance(ks, list) else [ks])]
            elif name != "bypass":
                names.append(str(name))
        return names

    def _task_metric_kwargs(self, name: str) -> Mapping[str, Any]:
        kwargs = getattr(self._task, "_metric_fn_kwargs", {}).get(name) or {}
        return cast(Mapping[str, Any], kwargs)

    def _declare(self, metric: str, filter_name: str) -> str:
        """Return a metric's key; a key that lm-eval only now tells of is added."""
        key = _key(metric, filter_name)
        if key not in self.metrics:
            aggregate = self._task.aggregation().get(metric)
            if aggregate is None and metric.startswith("pass@"):
                aggregate = self._task.aggregation().get("pass_at_k")
            aggregate = aggregate or lm_mean()
            better = self._task.higher_is_better()
            stock = self._task.config.process_results is None  # else acc may be anything, as in mc2
            choice = self._task.OUTPUT_TYPE == "multiple_choice" and stock
            self.metrics[key] = Metric(
                name=key,
                estimate=estimator(aggregate),
                higher_is_better=bool(better.get(metric, True)),
                chance="choices" if choice and metric in _CHANCE_METRICS else None,
                aggregation=getattr(aggregate, "__name__", "custom"),
            )
        return key


_CHANCE_METRICS = frozenset({"acc", "acc_norm", "acc_bytes", "acc_mutual_info"})


def lm_mean() -> Callable[[Sequence[Any]], float]:
    """lm-eval's mean: what it uses where a metric names no aggregation."""
    from lm_eval.api.metrics import mean

    return cast(Callable[[Sequence[Any]], float], mean)


def _fresh(instance: Instance) -> Instance:
    return Instance(
        request_type=instance.request_type,
        doc=instance.doc,
        arguments=instance.arguments,
        idx=instance.idx,
        metadata=instance.metadata,
    )


def _raw(response: Response) -> Any:
    """Return an answer in lm-eval's form."""
    if isinstance(response, Generation):
        return response.text
    assert isinstance(response, Loglikelihood)
    return (response.logprob, response.is_greedy)


def _plain(value: Any) -> Any:
    """Return a corpus metric's item as plain data; lm-eval's aggregations take lists as well."""
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return value.tolist() if hasattr(value, "tolist") else value


def to_sampling(settings: Mapping[str, Any], seed: int) -> Sampling:
    """Translate lm-eval's generation settings; aliases and defaults are lm-eval's."""
    until = settings.get("until") or []
    until = [until] if isinstance(until, str) else until
    lengths = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
    longest = next((settings[k] for k in lengths if settings.get(k) is not None), None)
    temperature = float(settings.get("temperature") or 0.0)
    sampled = settings.get("do_sample", temperature > 0)
    if sampled and temperature == 0.0:
        temperature = 1.0 if settings.get("temperature") is None else 0.0
    return Sampling(
        max_tokens=None if longest is None else int(longest),
        temperature=temperature if sampled else 0.0,
        top_p=settings.get("top_p"),
        top_k=settings.get("top_k"),
        stop=tuple(str(text) for text in until),
        seed=seed,
    )
