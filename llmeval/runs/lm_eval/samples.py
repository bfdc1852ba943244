"""lm-eval's ``samples_TASK.jsonl``: a line for each sample and filter."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmeval.core import (
    GenerateRequest,
    Generation,
    Gold,
    Loglikelihood,
    LoglikelihoodRequest,
    Message,
    Request,
    Response,
    RollingRequest,
    Sample,
    Sampling,
    Score,
    UsageError,
)
from llmeval.data.clusters import find_cluster
from llmeval.runs.lm_eval.files import parse

_EXTRACTED = 2000  # letters of an answer that are kept
_IGNORED = "bypass"  # the metric of a run that only collects answers

Scored = tuple[Sample, list[tuple[Request, Response]], list[Score]]
"""A sample, its questions with their answers, its scores by all filters."""


def read_samples(path: Path, config: Mapping[str, Any]) -> list[Scored]:
    """Return a task's samples in the order of the file.

    Args:
        config: of the task, as the results hold it.

    Raises:
        UsageError: a line is not what lm-eval writes.
    """
    found: dict[Any, Scored] = {}
    for number, line in enumerate(_read_lines(path), start=1):
        try:
            entry = parse(line)
            doc_id = entry["doc_id"]
            if doc_id not in found:
                found[doc_id] = (_to_sample(entry, config), _to_exchanges(entry, config), [])
            scores = found[doc_id][2]
            new = _to_scores(entry, config)
            if {score.metric for score in new} & {score.metric for score in scores}:
                raise ValueError(f"sample {doc_id} stands here twice")
            scores += new
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            what = f"not a sample of lm-eval's: {type(error).__name__}: {error}"
            raise UsageError(what, where=f"{path}, line {number}") from error
    return list(found.values())


def _read_lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            yield from (line for line in file if line.strip())
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"cannot be read: {error}", where=str(path)) from error


def metric_key(metric: str, filter_name: str) -> str:
    """Return llmeval's key of a metric: lm-eval's, without the filter that is called ``none``."""
    return metric if filter_name == "none" else f"{metric},{filter_name}"


# -- samples ---------------------------------------------------------------------------------------


def _to_sample(entry: Mapping[str, Any], config: Mapping[str, Any]) -> Sample:
    row = entry["doc"]
    fields = dict(row) if isinstance(row, Mapping) else {"doc": row}
    target = str(entry["target"])
    name = config.get("dataset_name")
    return Sample(
        id=str(entry["doc_id"]),
        fields=fields,
        target=target,
        cluster=find_cluster(str(config.get("dataset_path")), name, fields),
        gold=_to_gold(entry, config, target),
    )


def _to_gold(entry: Mapping[str, Any], config: Mapping[str, Any], target: str) -> Gold | None:
    """Return how many choices there are and which are right: what guessing reaches is in that."""
    if config.get("output_type") != "multiple_choice" or config.get("process_results"):
        return None
    choices = [_arguments(args)[-1] for args in _list_arguments(entry)]
    if any(m.get("metric") == "acc_mutual_info" for m in config.get("metric_list") or ()):
        choices = choices[: len(choices) // 2]  # asked again without their context
    try:
        right = json.loads(target)
    except ValueError:
        right = 0  # one right choice, whichever
    right = right if isinstance(right, list) else [right]
    return Gold(
        choices=tuple(map(str, choices)),
        right=tuple(r for r in right if isinstance(r, int) and 0 <= r < len(choices)) or (0,),
    )


# -- questions and answers -------------------------------------------------------------------------


def _list_arguments(entry: Mapping[str, Any]) -> list[Any]:
    arguments = entry["arguments"]
    return list(arguments.values()) if isinstance(arguments, Mapping) else list(arguments)


def _arguments(args: Any) -> list[Any]:
    """Return one request's arguments: ``{"arg_0": ..., "arg_1": ...}``, or a list in old logs."""
    return list(args.values()) if isinstance(args, Mapping) else list(args)


def _to_exchanges(
    entry: Mapping[str, Any], config: Mapping[str, Any]
) -> list[tuple[Request, Response]]:
    exchanges: list[tuple[Request, Response]] = []
    for args, answers in zip(_list_arguments(entry), entry["resps"], strict=False):
        request = _to_request(_arguments(args))
        if isinstance(request, GenerateRequest):
            draws = request.draws(len(answers))
            exchanges += [
                (draw, Generation(str(a))) for draw, a in zip(draws, answers, strict=True)
            ]
        else:
            exchanges += [
                (request, answer) for a in answers[:1] if (answer := _to_loglikelihood(a))
            ]
    return exchanges


def _to_request(args: Sequence[Any]) -> Request:
    if len(args) == 1:
        return RollingRequest(str(args[0]))
    prompt, second = args[0], args[1]
    if isinstance(second, Mapping):
        return GenerateRequest(_to_prompt(prompt), _to_sampling(second))
    return LoglikelihoodRequest(str(prompt), str(second))


def _to_prompt(prompt: Any) -> str | tuple[Message, ...]:
    """Return a text, or the turns of a chat that a server rendered: JSON in a list of one."""
    if isinstance(prompt, str):
        return prompt
    turns = json.loads(prompt[0])
    return tuple(Message(str(turn["role"]), str(turn["content"])) for turn in turns)


def _to_sampling(settings: Mapping[str, Any]) -> Sampling:
    stop = settings.get("until") or ()
    temperature = settings.get("temperature") or 0.0
    greedy = not settings.get("do_sample", float(temperature) > 0)
    return Sampling(
        max_tokens=settings.get("max_gen_toks"),
        temperature=0.0 if greedy else float(temperature) or 1.0,
        stop=(stop,) if isinstance(stop, str) else tuple(map(str, stop)),
    )


def _to_loglikelihood(answer: Any) -> Loglikelihood | None:
    """Return an answer; numbers are texts in the log. The count of tokens was not logged."""
    value, greedy = (answer[0], answer[1]) if isinstance(answer, list) else (answer, False)
    logprob = float(value)
    return Loglikelihood(logprob, str(greedy) == "True", 0) if math.isfinite(logprob) else None


# -- scores ----------------------------------------------------------------------------------------


def _to_scores(entry: Mapping[str, Any], config: Mapping[str, Any]) -> list[Score]:
    filter_name = str(entry.get("filter", "none"))
    extracted = None
    if config.get("output_type") == "generate_until" and entry.get("filtered_resps"):
        extracted = str(entry["filtered_resps"][0])[:_EXTRACTED]
    named = entry.get("metrics")
    names = named if named is not None else _guess_metrics(entry, config)
    if not names:
        raise KeyError("metrics")
    return [
        _to_score(metric_key(name, filter_name), entry[name], extracted)
        for name in names
        if name != _IGNORED
    ]


def _guess_metrics(entry: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """Old logs do not list the metrics of a sample; the task's configuration does."""
    listed = [str(metric.get("metric")) for metric in config.get("metric_list") or ()]
    return [name for name in listed if name in entry]


def _to_score(key: str, value: Any, extracted: str | None) -> Score:
    if isinstance(value, bool | int | float):
        if not math.isfinite(value):
            return Score(key, None, "unscored", f"lm-eval's score is {value}", extracted)
        return Score(key, float(value), extracted=extracted)
    if value is None:
        return Score(key, None, "unscored", "lm-eval gave no score", extracted)
    return Score(key, None, extracted=extracted, item=value)
