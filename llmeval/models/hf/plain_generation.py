"""Completions by ``model.generate`` in left-padded batches: for models that do not pack."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from llmeval.core.responses import Failure, Generation
from llmeval.models.hf.batching import Cutter, MemoryGuard
from llmeval.models.hf.completions import BROKEN, Completions, Endings, GenerationUnit, PromptRow
from llmeval.models.hf.runner import Effort
from llmeval.models.hf.sampling import Drawer, make_dice
from llmeval.models.hf.stopping import StopWatch
from llmeval.models.packing import build_trie


class PlainGenerator:
    """Each batch waits for its slowest row.

    Args:
        model: a transformers causal language model.
        config: its generation settings, greedy.
        endings: what ends a completion.
        cutter: when a batch is full, its rows counted with all the tokens that they may get.
    """

    name = "plain"

    def __init__(
        self, model: Any, config: GenerationConfig, endings: Endings, cutter: Cutter
    ) -> None:
        self._model = model
        self._config = config
        self._endings = endings
        self._cutter = cutter
        self._guard = MemoryGuard()

    def plan(self, rows: Sequence[PromptRow], new: int) -> list[GenerationUnit]:
        """Cut by length, longest first."""
        order = sorted(range(len(rows)), key=lambda index: -len(rows[index].tokens))
        batches = self._cutter.cut([(1, len(rows[index].tokens) + new) for index in order])
        return [_make_unit(rows, [order[place] for place in batch]) for batch in batches]

    def complete(self, unit: GenerationUnit, new: int) -> Completions:
        """Complete a unit's prompts with at most ``new`` tokens each."""
        effort = Effort()

        def compute(part: Sequence[PromptRow]) -> list[Generation | Failure]:
            nonlocal effort
            answers, spent = self._generate(part, new)
            effort += spent
            return answers

        answers = self._guard.run(unit.rows, compute)
        read = sum(max(0, a.completion_tokens - 1) for a in answers if isinstance(a, Generation))
        return Completions(answers, effort, unit.distinct + read)

    def _generate(
        self, rows: Sequence[PromptRow], new: int
    ) -> tuple[list[Generation | Failure], Effort]:
        sampling = rows[0].request.sampling
        width = max(len(row.tokens) for row in rows)
        ids = torch.full((len(rows), width), self._config.pad_token_id, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, width - len(row.tokens) :] = torch.from_numpy(row.tokens)
            mask[number, width - len(row.tokens) :] = 1
        watcher = RowWatcher(self._endings.watch(sampling), width, len(rows))
        dice = [make_dice(row.request) for row in rows]
        drawing = DrawProcessor(Drawer(sampling), dice)
        with torch.inference_mode():
            output = self._model.generate(
                input_ids=ids.to(self._model.device),
                attention_mask=mask.to(self._model.device),
                generation_config=self._config,
                max_new_tokens=new,
                logits_processor=LogitsProcessorList([drawing]),
                stopping_criteria=StoppingCriteriaList([watcher]),
            )
        answers: list[Generation | Failure] = []
        for number, row in enumerate(rows):
            length = watcher.lengths[number]
            tokens = output[number, width:].tolist()[: length or None]
            broken = drawing.broken[number]
            answers.append(BROKEN if broken else self._endings.read(row, tokens, length > 0))
        # The last new token is never read back.
        steps = max(1, output.shape[1] - width)
        read = len(rows) * (width + steps - 1)
        return answers, Effort(read, read * (width + steps) // 2, len(rows) * steps)


class RowWatcher:
    """Stopping criterion: each row is done on its own.

    ``lengths`` has the new tokens of each row that is done, the last one included, else 0.
    """

    def __init__(self, watch: StopWatch, prompt_width: int, rows: int) -> None:
        self._watch = watch
        self._start = prompt_width
        self.lengths = [0] * rows

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        new = input_ids[:, self._start :].tolist()
        going = [row for row, length in enumerate(self.lengths) if not length]
        done = self._watch.find_done([new[row] for row in going])
        for row, is_done in zip(going, done, strict=True):
            if is_done:
                self.lengths[row] = len(new[row])
        return torch.tensor([length > 0 for length in self.lengths], device=input_ids.device)


class DrawProcessor:
    """Logits processor that leaves each row only the token it draws.

    ``broken`` marks rows whose logits were not numbers; what these draw is of no account.
    """

    def __init__(self, drawer: Drawer, dice: Sequence[random.Random]) -> None:
        self._drawer = drawer
        self._dice = dice
        self.broken = [False] * len(dice)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        tokens = self._drawer.draw(scores, self._dice)
        self.broken = [b or t < 0 for b, t in zip(self.broken, tokens.tolist(), strict=True)]
        chosen = tokens.clamp(min=0).unsqueeze(1).to(scores.device)
        return torch.full_like(scores, float("-inf")).scatter(1, chosen, 0.0)


def _make_unit(rows: Sequence[PromptRow], members: list[int]) -> GenerationUnit:
    chosen = [rows[index] for index in members]
    return GenerationUnit(members, chosen, 0, build_trie([row.tokens for row in chosen]).nodes)
