"""Prompts that do not ask what they should: cut on the left, or with the answer among examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from llmeval.health.finding import Finding, Metrics, Share
from llmeval.health.seen import Seen, TaskFacts, flatten

TRUNCATED = "cut prompts"
LEAKED = "item among its examples"

_TRUNCATED = 0.01  # of samples
_GRAVE = 0.1  # of samples
_LEAKED = 0.005  # of samples: `first` examples of the evaluated split leak as many as are shown
_LEAKED_LEAST = 2  # the data may hold one row twice
_LONG = 20  # characters of a text that does not come twice by chance


class Truncated:
    """Prompts that were too long for the model."""

    def __init__(self) -> None:
        self._share = Share()

    def add(self, seen: Seen) -> None:
        self._share.add(any(r.truncated for _, r in seen.exchanges), seen.sample.id)

    @property
    def tests(self) -> Mapping[str, int]:
        return {}

    def find(self, metrics: Metrics) -> Iterator[Finding]:
        share = self._share
        if share.is_above(_TRUNCATED):
            yield share.finding(
                TRUNCATED,
                "error" if share.share > _GRAVE else "warning",
                f"{share} samples had prompts too long for the model, which were cut from the left",
                "show fewer examples (--num-fewshot), raise max_length if the model can, or leave "
                "this task out: instructions and examples are what is lost",
            )


class Leaked:
    """Items whose own question stands among the examples before it, with its answer."""

    def __init__(self, facts: TaskFacts) -> None:
        self._num_fewshot = facts.num_fewshot
        self._share = Share()
        self._before: frozenset[str] = frozenset()

    def add(self, seen: Seen) -> None:
        if not self._num_fewshot or seen.prompt is None:
            return
        texts = [text.strip() for text in flatten(seen.sample.fields)]
        # What the sample before has as well is an instruction, or a passage with many questions.
        own = [text for text in texts if len(text) >= _LONG and text not in self._before]
        self._before = frozenset(text for text in texts if len(text) >= _LONG)
        self._share.add(_is_shown_twice(seen, own, texts), seen.sample.id)

    @property
    def tests(self) -> Mapping[str, int]:
        return {}

    def find(self, metrics: Metrics) -> Iterator[Finding]:
        if self._share.is_above(_LEAKED, _LEAKED_LEAST):
            yield self._share.finding(
                LEAKED,
                "error",
                f"{self._share} items stand among the examples of their own prompt",
                "take the examples from another split (train, dev), or a sampler that leaves the "
                "item out; the number is too high",
            )


def _is_shown_twice(seen: Seen, own: Sequence[str], texts: Sequence[str]) -> bool:
    """Return whether a prompt shows all of an item twice.

    The item's longest text comes twice, and so does each other of its texts that stands in the last
    question or behind it: a passage may have several questions, a question several choices.
    """
    prompt = seen.prompt or ""
    longest = max((text for text in own if text in prompt), key=len, default=None)
    if longest is None or prompt.count(longest) < 2:
        return False
    first = prompt.find(longest)
    for text in texts:
        if not text or text == longest or _is_answer(seen, text):
            continue  # an example shows the answer, the question does not
        last = prompt.rfind(text)
        if last > first and prompt.find(text) == last:
            return False
    return True


def _is_answer(seen: Seen, text: str) -> bool:
    gold, target = seen.gold, (seen.sample.target or "").strip()
    right = [gold.choices[i].strip() for i in gold.right] if gold is not None else []
    if text == target or text in right:
        return True
    return len(text) >= _LONG and len(target) >= _LONG and (text in target or target in text)
