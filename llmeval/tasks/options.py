"""What a run sets on its tasks, and what a task may use while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmeval.core import UsageError
from llmeval.tasks.generation import check_count, check_generation

if TYPE_CHECKING:
    from llmeval.sandbox import Sandbox

CUT_ANSWERS = ("auto", "grade", "unscored")

ChatTemplate = Callable[[Sequence[Mapping[str, str]], bool], str]
"""``(messages, add_generation_prompt) -> text``, the model's own template."""


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """Settings of a run that change what its tasks ask. None leaves the task's own value.

    Args:
        num_fewshot: solved examples before each question.
        limit: only the first so many samples of each task.
        apply_chat_template: render prompts with the model's chat template.
        system_instruction: text of a system turn (or of a preamble without a chat template).
        fewshot_as_multiturn: examples as user/assistant turns rather than in one user turn.
        gen_kwargs: generation settings that override the task's: ``temperature``, ``top_p``,
            ``top_k``, ``max_gen_toks``, ``until``.
        repeats: draws per question for generation tasks.
        seed: seeds few-shot draws (lm-eval's default 1234) and sampled completions.
        cut_answers: ``grade`` an answer that ended at the token limit as it is, or leave it
            ``unscored``; ``auto`` grades completions of a text and leaves a served chat's unscored.

    Raises:
        UsageError: a value that no task could use.
    """

    num_fewshot: int | None = None
    limit: int | None = None
    apply_chat_template: bool = False
    system_instruction: str | None = None
    fewshot_as_multiturn: bool = True
    gen_kwargs: Mapping[str, Any] = field(default_factory=dict)
    repeats: int | None = None
    seed: int = 1234
    cut_answers: str = "auto"

    def __post_init__(self) -> None:
        check_count("--limit", self.limit, least=1)
        check_count("--num-fewshot", self.num_fewshot, least=0)
        check_count("--repeats", self.repeats, least=1)
        check_generation(self.gen_kwargs, "--gen-kwargs")
        if self.cut_answers not in CUT_ANSWERS:
            what, known = f"unknown choice {self.cut_answers!r}", ", ".join(CUT_ANSWERS)
            raise UsageError(what, where="--cut-answers", mend=f"one of {known}")


@dataclass(frozen=True, slots=True)
class Workbench:
    """What tasks stand on during a run.

    Args:
        mirror: local mirror folder of data sets (``--data``), None for the hub.
        chat_template: the model's renderer; None where the backend renders chats itself.
        sandbox: gives the sandbox, started when the first task needs it.
        grade_cut: whether an answer that ended at the token limit is graded; known once it is
            known how the model is asked.
    """

    mirror: Path | None = None
    chat_template: ChatTemplate | None = None
    sandbox: Callable[[], Sandbox] | None = None
    grade_cut: Callable[[], bool] = lambda: True
