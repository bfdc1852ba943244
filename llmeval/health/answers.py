"""Answers that are none: empty, cut, withheld, unreadable, or the same to every question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmeval.health.counting import FrequentKeys
from llmeval.health.finding import Finding, Metrics, Share
from llmeval.health.seen import Seen
from llmeval.tasks.generation import SHORT

EMPTY = "empty answers"
CUT = "cut answers"
WITHHELD = "withheld answers"
UNREAD = "unreadable answers"
SAME = "identical answers"

_LEAST = 3  # one or two may happen to anyone
_EMPTY = 0.02  # of answers, beyond the share of targets that are empty
_CUT = 0.1  # of answers: a few that ramble are the model's, many are the limit's
_WITHHELD = 0.01  # of answers
_UNREAD = 0.05  # of samples: below that the metric's coverage tells enough
_GRAVE = 0.5  # of samples: the number is then of a minority
_SAME = 0.3  # of answers, beyond the share of the most frequent target
_SAME_LEAST = 20  # answers
_SHOWN = 40  # characters of an answer

_INVALID = frozenset({"[invalid]", "None", ""})  # what lm-eval's filters give for nothing found


class Broken:
    """Answers of which nothing can be graded, by what happened to them."""

    def __init__(self) -> None:
        self._empty, self._cut, self._withheld = Share(), Share(), Share()
        self._limits: set[int | None] = set()
        self._no_targets = 0

    def add(self, seen: Seen) -> None:
        sample_id = seen.sample.id
        self._no_targets += len(seen.drawn) if seen.sample.target == "" else 0
        for request, answer in seen.drawn:
            limit = request.sampling.max_tokens
            held = answer.finish_reason in ("content_filter", "tool_call")
            # A limit of some tokens is meant to cut: the task reads a beginning.
            cut = answer.finish_reason == "length" and (limit is None or limit > SHORT)
            self._withheld.add(held, sample_id)
            self._cut.add(cut, sample_id)
            if cut and len(self._limits) < _LEAST:
                self._limits.add(limit)
            self._empty.add(not held and not cut and not answer.text.strip(), sample_id)

    @property
    def tests(self) -> Mapping[str, int]:
        return {}

    def find(self, metrics: Metrics) -> Iterator[Finding]:
        empty, cut, withheld = self._empty, self._cut, self._withheld
        expected = self._no_targets / empty.n if empty.n else 0.0
        if empty.is_above(_EMPTY + expected, _LEAST):
            yield empty.finding(
                EMPTY,
                "error" if empty.share > _GRAVE + expected else "warning",
                f"{empty} answers are empty",
                "read the prompts' ends and the stop strings: the model ends at once where a stop "
                "string or a blank begins its answer, or where it needs its chat template",
            )
        if cut.is_above(_CUT, _LEAST):
            limits = ", ".join(map(str, sorted(limit for limit in self._limits if limit)))
            yield cut.finding(
                CUT,
                "error" if cut.share > _GRAVE else "warning",
                f"{cut} answers ended at the token limit{f' of {limits}' if limits else ''}",
                "allow more with --gen-kwargs max_gen_toks=N, or see whether the model knows no "
                "end (wrong chat template, no stop string)",
            )
        if withheld.is_above(_WITHHELD):
            yield withheld.finding(
                WITHHELD,
                "warning",
                f"{withheld} answers were withheld by the provider's filter, or were tool calls",
                "they are left out of the number, and are seldom a random part: report how many",
            )


class Unread:
    """Answers out of which nothing could be read, by metric."""

    def __init__(self) -> None:
        self._metrics: dict[str, Share] = {}

    def add(self, seen: Seen) -> None:
        if not seen.drawn:
            return
        answered = any(a.text.strip() and a.finish_reason == "stop" for _, a in seen.drawn)
        for score in seen.scores:
            if score.status == "errored":
                continue
            lost = score.status == "unscored" or score.extracted in _INVALID
            share = self._metrics.setdefault(score.metric, Share())
            share.add(answered and lost, seen.sample.id)

    @property
    def tests(self) -> Mapping[str, int]:
        return {}

    def find(self, metrics: Metrics) -> Iterator[Finding]:
        worst = max(self._metrics.items(), key=lambda item: item[1].share, default=None)
        if worst is None or not worst[1].is_above(_UNREAD, _LEAST):
            return
        name, share = worst
        best, other = min((share.share, metric) for metric, share in self._metrics.items())
        yield share.finding(
            UNREAD,
            "error" if share.share > _GRAVE else "warning",
            f"{name}: no answer could be read out of {share} completions",
            f"{other} finds something in them: read some, and see which of the two reads rightly"
            if best < _UNREAD
            else "read some: ask for the format in the prompt, give examples (--num-fewshot), or "
            "let the task's pattern take what the model says",
        )


class Identical:
    """One text given to many different questions."""

    def __init__(self) -> None:
        self._answers: FrequentKeys[str] = FrequentKeys()
        self._targets: FrequentKeys[int] = FrequentKeys()
        self._examples: dict[str, list[str]] = {}

    def add(self, seen: Seen) -> None:
        target = seen.sample.target
        if target is None or not seen.drawn:  # without a target, all refusing may be right
            return
        text = seen.drawn[-1][1].text.strip()
        if not text:
            return
        key = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}\0{hash(text)}"
        self._answers.add(key)
        self._targets.add(hash(target.strip()))
        if key in self._answers:
            ids = self._examples.setdefault(key, [])
            if len(ids) < _LEAST:
                ids.append(seen.sample.id)
        if len(self._examples) > 256:
            self._examples = {k: v for k, v in self._examples.items() if k in self._answers}

    @property
    def tests(self) -> Mapping[str, int]:
        return {}

    def find(self, metrics: Metrics) -> Iterator[Finding]:
        answer, target, n = self._answers.top(), self._targets.top(), self._answers.n
        if answer is None or target is None or n < _SAME_LEAST:
            return
        (key, count), (_, usual) = answer, target
        if (count - usual) / n <= _SAME:
            return
        text, _, cut = key.partition("\0")
        yield Finding(
            check=SAME,
            severity="error" if count / n > _GRAVE else "warning",
            what=(
                f"the answer {f'{text}...' if cut else text!r} was given {count:,} of {n:,} "
                f"times; the most frequent target comes {usual:,} times"
            ),
            mend="read some prompts: the question may be missing or cut, or the model refuses",
            count=count,
            n=n,
            examples=tuple(self._examples.get(key, ())),
        )
