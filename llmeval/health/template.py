"""How the model was addressed, in the whole run: its chat template, and what begins a text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llmeval.core import GenerateRequest
from llmeval.health.finding import Finding, Share
from llmeval.health.seen import Seen

DOUBLED = "doubled beginning of text"
UNTEMPLATED = "chat template missing"

_DOUBLED = 0.01  # of prompts: a text that really begins with two of them is rare

# What begins a text in families whose chat templates write it themselves.
_BEGINNINGS = (
    "<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>", "<BOS_TOKEN>",
    "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<|begin_of_sentence|>", "[BOS]",
)  # fmt: skip
_TWICE = tuple(text * 2 for text in _BEGINNINGS)

_CHATS = re.compile(r"(?<![a-z])(instruct|chat|it|sft|dpo|rlhf|assistant)(?![a-z])", re.IGNORECASE)
_BASE = re.compile(r"(?<![a-z])(base|pt|pretrained)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known of a run beside its samples.

    Args:
        model: what the manifest says of the model.
        chat_applied: whether ``--apply-chat-template`` was given.
        report: what the model measured (``performance`` of the manifest).
    """

    model: Mapping[str, Any]
    chat_applied: bool = False
    report: Mapping[str, Any] | None = None

    @property
    def chats(self) -> str | None:
        """Why the model is one that chats; None for one that completes texts, or may.

        Its name tells, or a template whose turns end as its answers do. Base models may carry their
        siblings' template, which they have not learned.
        """
        name = re.split(r"[/\\]", str(self.model.get("name", "")).rstrip("/\\"))[-1]
        if _BASE.search(name):
            return None
        if found := _CHATS.search(name):
            return f"its name says {found[0]!r}"
        if self.model.get("chat_template") == "learned":
            return "its answers end with a token of its chat template"
        return None

    @property
    def renders_texts(self) -> bool:
        """Whether a plain prompt is put into a chat all the same: a server that only chats."""
        api = self.model.get("api")
        return isinstance(api, Mapping) and api.get("text") != "completions"

    @property
    def begins_texts(self) -> bool:
        """Whether texts get what begins a text from a server, whatever they begin with."""
        return self.model.get("backend") == "openai" and not self.renders_texts


class Addressing:
    """Counts over all tasks of a run."""

    def __init__(self) -> None:
        self._begun, self._twice, self._plain = Share(), Share(), Share()

    def add(self, seen: Seen) -> None:
        if not seen.exchanges:
            return
        request = seen.exchanges[0][0]
        sample_id = seen.sample.id
        if isinstance(request.prompt, str):
            self._begun.add(request.prompt.startswith(_BEGINNINGS), sample_id)
            self._twice.add(request.prompt.startswith(_TWICE), sample_id)
        if isinstance(request, GenerateRequest):
            self._plain.add(isinstance(request.prompt, str), sample_id)

    def find(self, facts: RunFacts) -> Iterator[Finding]:
        if finding := self._find_doubled(facts):
            yield finding
        why = facts.chats
        if why and self._plain.count and not (facts.chat_applied or facts.renders_texts):
            yield self._plain.finding(
                UNTEMPLATED,
                "warning",
                f"the model chats ({why}), and {self._plain} prompts to complete were plain texts",
                "give --apply-chat-template, or say with the number that there was none",
            )

    def _find_doubled(self, facts: RunFacts) -> Finding | None:
        mend = "take the one out of the chat template, or set add_bos_token=false"
        measured = (facts.report or {}).get("doubled_bos") or 0.0
        if measured > _DOUBLED:
            count = round(measured * self._begun.n)
            what = f"{measured:.0%} of the prompts reached the model with two BOS tokens"
            return Finding(DOUBLED, "error", what, mend, count, self._begun.n)
        if self._twice.is_above(_DOUBLED):
            what = f"{self._twice} prompts begin with the text of BOS twice"
            return self._twice.finding(DOUBLED, "error", what, mend)
        if facts.begins_texts and self._begun.is_above(_DOUBLED):
            what = f"{self._begun} prompts begin with the text of BOS, and servers add another"
            mend = "let the server render the chat (drop the template here), or take BOS out of it"
            return self._begun.finding(DOUBLED, "warning", what, mend)
        return None
