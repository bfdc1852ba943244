"""One of lm-eval's tasks in our shape: what it asks, in its words, and how it judges answers.

Nothing here imports lm-eval; ``adapter`` builds the tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from llmeval.core import (
    Ask,
    GenerateRequest,
    Generation,
    Gold,
    Loglikelihood,
    LoglikelihoodRequest,
    Metric,
    Request,
    Response,
    RollingRequest,
    Sample,
    Score,
    TrainingRows,
    Unscorable,
    UsageError,
)
from llmeval.data.clusters import find_cluster
from llmeval.tasks.chat import decode_chat, encode_chat
from llmeval.tasks.defect import Defect
from llmeval.tasks.generation import require_whole, to_sampling
from llmeval.tasks.lmeval.code_eval import code_context
from llmeval.tasks.lmeval.datasets import Source
from llmeval.tasks.lmeval.description import describe_config
from llmeval.tasks.lmeval.errors import first_line, one_line_errors
from llmeval.tasks.lmeval.estimators import estimator
from llmeval.tasks.lmeval.training import plain_question, read_training
from llmeval.tasks.options import ChatTemplate, TaskOptions, Workbench

log = logging.getLogger(__name__)

SUPPORTED = "0.4.13"

Foreign = Any
"""An object of lm-eval, which is untyped: ``lm_eval.api.task.Task`` or ``Instance``."""


class LmEvalTask:
    """One of lm-eval's tasks in the shape of :class:`llmeval.core.Task`.

    Prompts are rendered lazily and in order: lm-eval draws few-shot examples from one generator
    that advances with every row, so it is reseeded when :meth:`samples` starts and every row is
    rendered, whatever part of them a process is then given to answer.

    A row that cannot be rendered becomes an unscored sample, so that one bad row does not end a
    run; where it is the first one, the task is what is wrong.
    """

    def __init__(
        self, task: Foreign, options: TaskOptions, workbench: Workbench, source: Source
    ) -> None:
        self._task = task
        self._options = options
        self._workbench = workbench
        self._source = source
        with one_line_errors(self.name, "set up"):
            self._set_options()
            self._check_options()
        self.filters = tuple(f.name for f in task._filters)
        self.metrics: dict[str, Metric] = {}
        for metric in self._declared_metrics():
            for filter_name in self.filters:
                self._declare(metric, filter_name)

    def _set_options(self) -> None:
        task, options = self._task, self._options
        self.num_fewshot = count_shots(task, options)
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

    def _check_options(self) -> None:
        """Refuse now what would otherwise fail at every sample."""
        if self.num_fewshot:
            self._check_examples()
        if self._task.OUTPUT_TYPE == "generate_until":
            to_sampling(self._task.config.generation_kwargs, 0, f"{self.name}: generation_kwargs")
            self._check_draws()

    def _check_examples(self) -> None:
        try:
            self._draw_examples(self._task.task_docs[0])
        except (ValueError, AssertionError) as error:
            pool = len(self._task.sampler.df)
            raise UsageError(
                f"{self.num_fewshot} few-shot examples cannot be drawn from {pool} rows",
                where=self.name,
                mend=f"ask for fewer than {pool}",
            ) from error

    def _draw_examples(self, doc: Mapping[str, Any]) -> None:
        """Draw a row's examples, as rendering it does."""
        task = self._task
        # By lm-eval's rule, which also holds where both are None.
        never_itself = task.fewshot_cfg.split == task.config.test_split
        task.sampler.sample(n=self.num_fewshot, eval_doc=doc if never_itself else None)

    def _check_draws(self) -> None:
        draws = self._task.config.repeats or 1
        for ensemble in self._task._filters:
            read = max((make.keywords.get("k", 1) for make in ensemble.filters), default=1)
            if read > draws:
                raise UsageError(
                    f"the filter {ensemble.name} reads {read} draws of a question, not {draws}",
                    where=self.name,
                    mend=f"--repeats {read} or more",
                )

    @property
    def name(self) -> str:
        return task_name(self._task)

    @property
    def version(self) -> str:
        return str(self._task.VERSION)

    def __len__(self) -> int:
        total = len(self._task.task_docs)
        return total if self._options.limit is None else min(total, self._options.limit)

    def data(self) -> list[dict[str, Any]]:
        return self._source.fingerprints(self._task, with_fewshot=self.num_fewshot > 0)

    def describe(self) -> dict[str, Any]:
        config = describe_config(self._task.dump_config())
        notes = {"note": self._missing_split} if self._missing_split else {}
        return {"source": f"lm-eval {SUPPORTED}", "config": config, **notes}

    # -- samples --

    def samples(self) -> Iterator[Sample]:
        """Yield the samples in the order of the rows.

        Raises:
            UsageError: the first row cannot be rendered.
        """
        task = self._task
        task.set_fewshot_seed(self._options.seed)
        sampler = getattr(task, "sampler", None)
        drawn = task.fewshot_rnd, getattr(sampler, "rnd", None)
        for doc_id, doc in itertools.islice(enumerate(task.task_docs), self._options.limit):
            task.fewshot_rnd = drawn[0]  # two iterations at once must not share a generator
            if sampler is not None:
                sampler.rnd = drawn[1]
            if doc_id == 0:
                with one_line_errors(self.name, "render the first row of"):
                    sample = self._sample(doc_id, doc)
            else:
                sample = self._sample_or_defect(doc_id, doc)
            yield sample

    def _sample_or_defect(self, doc_id: int, doc: Mapping[str, Any]) -> Sample:
        generator = self._task.sampler.rnd if self.num_fewshot else None
        before = generator.getstate() if generator else None
        try:
            return self._sample(doc_id, doc)
        except Exception as error:
            log.debug("%s, row %d", self.name, doc_id, exc_info=error)
            reason = f"{type(error).__name__}: {first_line(error)}"
        if generator:  # the examples of later rows are those that follow this row's
            generator.setstate(before)
            with contextlib.suppress(Exception):  # what cannot be drawn now could not before
                self._draw_examples(doc)
        return Sample(id=str(doc_id), fields=doc, payload=Defect(reason))

    def _sample(self, doc_id: int, doc: Mapping[str, Any]) -> Sample:
        task, options = self._task, self._options
        chat = options.apply_chat_template
        context = task.fewshot_context(
            doc,
            num_fewshot=self.num_fewshot,
            system_instruction=options.system_instruction,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat and options.fewshot_as_multiturn,
            chat_template=self._template if chat else None,
            gen_prefix=task.doc_to_prefix(doc),
        )
        instances = task.construct_requests(
            doc=doc,
            ctx=context,
            metadata=(self.name, doc_id, task.config.repeats),
            apply_chat_template=chat,
            chat_template=self._template if chat else None,
        )
        instances = instances if isinstance(instances, list) else [instances]
        return Sample(
            id=str(doc_id),
            fields=doc,
            target=str(task.doc_to_target(doc)),
            cluster=self._cluster(doc),
            gold=self._gold(doc),
            payload=instances,
            size=_size(instances),
        )

    @property
    def _template(self) -> ChatTemplate:
        return self._workbench.chat_template or encode_chat

    def _cluster(self, doc: Mapping[str, Any]) -> str | None:
        config = self._task.config
        return find_cluster(str(config.dataset_path), config.dataset_name, doc)

    def _gold(self, doc: Mapping[str, Any]) -> Gold:
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

    # -- what a baseline may learn --

    def training_rows(self) -> TrainingRows:
        with one_line_errors(self.name, "read the training rows of"):
            return read_training(self._task, self._source, self._gold)

    def question(self, sample: Sample) -> str:
        return plain_question(self._task, sample.fields)

    # -- evaluation --

    async def evaluate(self, sample: Sample, ask: Ask) -> list[Score]:
        if isinstance(sample.payload, Defect):
            raise Unscorable(f"the row cannot be rendered: {sample.payload.reason}")
        # Fresh instances per evaluation: lm-eval collects answers in them.
        instances = [replace(i, resps=[], filtered_resps={}) for i in sample.payload]
        requests = [request for inst in instances for request in self._requests(inst)]
        responses = await ask(requests)
        for request, response in zip(requests, responses, strict=True):
            if isinstance(request, GenerateRequest) and isinstance(response, Generation):
                require_whole(request, response, self._workbench.grade_cut())
        answers = iter(responses)
        for instance in instances:
            instance.resps = [_raw(instance, next(answers)) for _ in self._requests(instance)]
        if self._unsafe:  # executing code takes a while, and other samples can go on
            results = await asyncio.to_thread(self._judge, sample, instances)
        else:
            results = self._judge(sample, instances)
        # Here and not in the thread: a score may declare a metric, which others may be reading.
        return [self._score(*result) for result in results]

    def _requests(self, instance: Foreign) -> list[Request]:
        if instance.request_type == "loglikelihood":
            return [LoglikelihoodRequest(*instance.args)]  # a chat stays encoded in its context
        if instance.request_type == "loglikelihood_rolling":
            return [RollingRequest(*instance.args)]
        prompt, settings = instance.args
        request = GenerateRequest(decode_chat(prompt), to_sampling(settings, self._options.seed))
        return list(request.draws(instance.repeats or 1))

    def _judge(
        self, sample: Sample, instances: Sequence[Foreign]
    ) -> list[tuple[str, str, Any, Sequence[Any]]]:
        """Return lm-eval's results: metric, filter, value, and what the filter gave."""
        task = self._task
        results: list[tuple[str, str, Any, Sequence[Any]]] = []
        with code_context(self._workbench.sandbox, sample.fields):
            for ensemble in task._filters:
                ensemble.apply(instances)
                answers = [instance.filtered_resps[ensemble.name] for instance in instances]
                for metric, value in task.process_results(sample.fields, answers).items():
                    results.append((metric, ensemble.name, value, answers))
        return results

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
        key = metric_key(metric, filter_name)
        if key not in self.metrics:
            aggregate = self._task.aggregation().get(metric)
            if aggregate is None and metric.startswith("pass@"):
                aggregate = self._task.aggregation().get("pass_at_k")
            better = self._task.higher_is_better()
            stock = self._task.config.process_results is None  # else acc may be anything, as in mc2
            choice = self._task.OUTPUT_TYPE == "multiple_choice" and stock
            self.metrics[key] = Metric(
                name=key,
                estimate=estimator(aggregate),
                higher_is_better=bool(better.get(metric, True)),
                chance="choices" if choice and metric in _CHANCE_METRICS else None,
                aggregation=getattr(aggregate, "__name__", "custom") if aggregate else "mean",
            )
        return key


_CHANCE_METRICS = frozenset({"acc", "acc_norm", "acc_bytes", "acc_mutual_info"})


def metric_key(metric: str, filter_name: str) -> str:
    """Return lm-eval's key of a metric; the filter called ``none`` is left out."""
    return metric if filter_name == "none" else f"{metric},{filter_name}"


def task_name(task: Foreign) -> str:
    """Return a task's name; its own ``task_name`` draws from the global random generator."""
    return str(task.config.task)


def count_shots(task: Foreign, options: TaskOptions) -> int:
    """Return how many examples to show: a task that fixes 0 stays at 0, as in lm-eval."""
    own = task.config.num_fewshot
    if options.num_fewshot is not None and own != 0:
        return options.num_fewshot
    return int(own or 0)


def _size(instances: Sequence[Foreign]) -> int:
    """Return the characters of what is asked; choices share their context, which counts once."""
    texts = {text for instance in instances for text in instance.args if isinstance(text, str)}
    return sum(map(len, texts))


def _raw(instance: Foreign, response: Response) -> Any:
    """Return an answer in lm-eval's form."""
    if isinstance(response, Generation):
        return response.text
    assert isinstance(response, Loglikelihood)
    if instance.request_type == "loglikelihood_rolling":
        return response.logprob
    return (response.logprob, response.is_greedy)


def _plain(value: Any) -> Any:
    """Return a corpus metric's item as plain data; lm-eval's aggregations take lists as well."""
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return value.tolist() if hasattr(value, "tolist") else value
