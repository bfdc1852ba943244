"""From examples and a question to a prompt: plain text, or the model's chat template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmeval.core import Message
from llmeval.tasks.chat import encode_chat
from llmeval.tasks.options import ChatTemplate, TaskOptions, Workbench

Solved = tuple[str, str]
"""A question and its answer."""


@dataclass(frozen=True, slots=True)
class Prompter:
    """Writes prompts as lm-eval does.

    Plain text is ``system + gap + question + delimiter + answer + gap + ... + question``. With a
    chat template, system and question are turns, and so are the examples unless they are to stand
    in the one user turn.

    Args:
        system: instruction before everything; empty for none.
        delimiter: between a question and its answer, in plain text.
        gap: between examples, in plain text.
        chat: render as a chat.
        multiturn: examples are turns of the chat.
        template: the model's chat template; None leaves the rendering to the backend.
    """

    system: str
    delimiter: str
    gap: str
    chat: bool = False
    multiturn: bool = True
    template: ChatTemplate | None = None

    @classmethod
    def of(
        cls,
        options: TaskOptions,
        workbench: Workbench,
        *,
        system: str | None,
        delimiter: str,
        gap: str,
    ) -> Prompter:
        """Return the prompter of a run; the command line's system instruction comes first."""
        parts = [part for part in (options.system_instruction, system) if part]
        return cls(
            gap.join(parts),
            delimiter,
            gap,
            options.apply_chat_template,
            options.fewshot_as_multiturn,
            workbench.chat_template,
        )

    def with_system(self, system: str | None) -> Prompter:
        """Return the prompter of a step that has an instruction of its own."""
        return self if system is None else replace(self, system=system)

    def write(self, question: str, examples: Sequence[Solved] = ()) -> str | tuple[Message, ...]:
        """Return the prompt of a question that is to be answered by a completion."""
        if not self.chat:
            start = self.system + self.gap if self.system else ""
            return start + self._solved(examples) + question
        turns = self._turns(question, examples)
        if self.template is None:
            return tuple(turns)
        return self.template([{"role": t.role, "content": t.content} for t in turns], True)

    def write_text(self, question: str, examples: Sequence[Solved] = ()) -> str:
        """Return the prompt as text, which scoring choices needs; a backend's chat is encoded."""
        prompt = self.write(question, examples)
        if isinstance(prompt, str):
            return prompt
        turns = [{"role": turn.role, "content": turn.content} for turn in prompt]
        return encode_chat(turns, True)

    def _solved(self, examples: Sequence[Solved]) -> str:
        return "".join(f"{q}{self.delimiter}{a}{self.gap}" for q, a in examples)

    def _turns(self, question: str, examples: Sequence[Solved]) -> list[Message]:
        turns = [Message("system", self.system)] if self.system else []
        if not self.multiturn:
            return [*turns, Message("user", self._solved(examples) + question)]
        for asked, answered in examples:
            turns += [Message("user", asked), Message("assistant", answered)]
        return [*turns, Message("user", question)]
