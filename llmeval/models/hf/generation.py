"""Completions: greedy or sampled, in left-padded batches, each row stopping on its own."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    LogitsProcessorList,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from llmeval.core.hashes import fingerprint
from llmeval.core.requests import GenerateRequest, Sampling
from llmeval.core.responses import Failure, Generation
from llmeval.models.hf.batching import Cutter, MemoryGuard
from llmeval.models.hf.tokens import TokenRules

GENERATION_VERSION = 1

_LOOKBACK = 4  # more than a stop string's bytes: decoders may drop a blank at the beginning


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One completion to make: the prompt's tokens, cut from the left to leave room."""

    request: GenerateRequest
    tokens: tuple[int, ...]
    truncated: int


class Generator:
    """Makes completions with ``model.generate``.

    Args:
        model: a transformers causal language model.
        rules: its tokenizer.
        cutter: when a batch is full, its rows counted with all the tokens that they may get.
        max_gen_toks: new tokens of a request that names no limit.
    """

    def __init__(self, model: Any, rules: TokenRules, cutter: Cutter, max_gen_toks: int) -> None:
        self._model = model
        self._rules = rules
        self._cutter = cutter
        self._guard = MemoryGuard()
        self._config = _greedy_config(model.generation_config, rules.pad_id)
        eos = rules.tokenizer.eos_token_id
        self._eos_text = "" if eos is None else rules.tokenizer.decode([eos])
        # A chat model's tokenizer may end turns with a token that its generation settings lack.
        self._eos_ids = {*_list_ids(self._config.eos_token_id), *_list_ids(eos)}
        self._max_gen_toks = max_gen_toks

    def allowed_tokens(self, sampling: Sampling) -> int:
        """Return the most new tokens of a draw.

        A limit that leaves the prompt no room (lm-eval stops there) is cut to half the context.
        """
        if self.shortens(sampling):
            return max(1, self._rules.max_length // 2)
        return self._wanted_tokens(sampling)

    def shortens(self, sampling: Sampling) -> bool:
        """Whether a draw is allowed fewer new tokens than it asks for."""
        return self._wanted_tokens(sampling) >= self._rules.max_length

    def _wanted_tokens(self, sampling: Sampling) -> int:
        return self._max_gen_toks if sampling.max_tokens is None else sampling.max_tokens

    def fit(self, request: GenerateRequest, tokens: Sequence[int]) -> PromptRow | Failure:
        """Cut a prompt from the left so that all new tokens find room."""
        room = self._rules.max_length - self.allowed_tokens(request.sampling)
        if room < 1:
            return Failure(f"a context of {self._rules.max_length} token has no room to generate")
        kept = tuple(tokens[-room:])
        if not kept:
            if self._rules.prefix_id is None:
                return Failure("the prompt is empty and the tokenizer has neither BOS nor EOS")
            kept = (self._rules.prefix_id,)
        if failure := self._rules.check_vocabulary(kept):
            return failure
        return PromptRow(request, kept, max(0, len(tokens) - room))

    def plan(self, rows: Sequence[PromptRow]) -> list[list[int]]:
        """Cut by length, longest first; only draws with the same settings share a batch."""
        groups: dict[tuple[Any, ...], list[int]] = {}
        for index, row in enumerate(rows):
            groups.setdefault(_settings_key(row.request.sampling), []).append(index)
        batches = []
        for group in groups.values():
            group.sort(key=lambda index: -len(rows[index].tokens))
            new = self.allowed_tokens(rows[group[0]].request.sampling)
            sizes = [(1, len(rows[index].tokens) + new) for index in group]
            batches += [[group[i] for i in batch] for batch in self._cutter.cut(sizes)]
        return batches

    def complete(self, rows: Sequence[PromptRow]) -> tuple[list[Generation | Failure], int]:
        """Complete prompts that share their settings; return answers and computed positions."""
        computed = 0

        def compute(part: Sequence[PromptRow]) -> list[Generation | Failure]:
            nonlocal computed
            answers, positions = self._generate(part)
            computed += positions
            return answers

        answers = self._guard.run(rows, compute)
        return answers, computed

    def _generate(self, rows: Sequence[PromptRow]) -> tuple[list[Generation | Failure], int]:
        sampling = rows[0].request.sampling
        stops = (*sampling.stop, self._eos_text)
        width = max(len(row.tokens) for row in rows)
        ids = torch.full((len(rows), width), self._config.pad_token_id, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, width - len(row.tokens) :] = torch.tensor(row.tokens)
            mask[number, width - len(row.tokens) :] = 1
        watcher = RowWatcher(self._rules, [s for s in stops if s], self._eos_ids, width, len(rows))
        drawer = Drawer(sampling, [row.request for row in rows])
        device = self._model.device
        with torch.inference_mode():
            output = self._model.generate(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                generation_config=self._config,
                max_new_tokens=self.allowed_tokens(sampling),
                logits_processor=LogitsProcessorList([drawer]),
                stopping_criteria=StoppingCriteriaList([watcher]),
            )
        new = output[:, width:].tolist()
        answers: list[Generation | Failure] = []
        for number, row in enumerate(rows):
            if drawer.broken is not None and drawer.broken[number]:
                answers.append(Failure("the model's logits are not numbers"))
            else:
                tokens = new[number][: watcher.lengths[number] or len(new[number])]
                answers.append(self._read(row, tokens, watcher.lengths[number] > 0, stops))
        # The last new token is never read back.
        return answers, len(rows) * (width + max(0, output.shape[1] - width - 1))

    def _read(
        self, row: PromptRow, tokens: list[int], stopped: bool, stops: Sequence[str]
    ) -> Generation:
        return Generation(
            text=cut_at_stops(self._rules.decode(tokens), stops),
            finish_reason="stop" if stopped else "length",
            prompt_tokens=len(row.tokens),
            completion_tokens=len(tokens),
            truncated=row.truncated,
        )


class RowWatcher:
    """Stopping criterion: a row is done at an end token or once its text holds a stop string.

    ``lengths`` has the new tokens of each row that is done, the last one included, else 0.
    """

    def __init__(
        self,
        rules: TokenRules,
        stops: Sequence[str],
        eos_ids: Set[int],
        prompt_width: int,
        rows: int,
    ) -> None:
        self._rules = rules
        self._stops = stops
        self._eos_ids = eos_ids
        self._start = prompt_width
        # A token has at least one byte, so the tail that ends in a stop string is no longer.
        self._tail = max((len(stop.encode()) for stop in stops), default=0) + _LOOKBACK
        self.lengths = [0] * rows

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        new = input_ids[:, self._start :].tolist()
        open_rows = [row for row, length in enumerate(self.lengths) if not length]
        # A stop string may be a special token's text, so these are not left out here.
        tails = self._rules.tokenizer.batch_decode([new[row][-self._tail :] for row in open_rows])
        for row, tail in zip(open_rows, tails, strict=True):
            if new[row][-1] in self._eos_ids or self._holds_stop(tail, new[row]):
                self.lengths[row] = len(new[row])
        return torch.tensor([length > 0 for length in self.lengths], device=input_ids.device)

    def _holds_stop(self, tail: str, tokens: list[int]) -> bool:
        """Trust the tail for a first look only: a cut inside a character can deceive."""
        if not any(stop in tail for stop in self._stops):
            return False
        text = self._rules.tokenizer.decode(tokens)
        return any(stop in text for stop in self._stops)


class Drawer:
    """Logits processor that leaves each row only the token it draws; greedy rows are untouched.

    A row draws by inverting the cumulative distribution at a number from its own generator, seeded
    by the request and its repeat: the draw depends on no other row of the batch. ``broken`` marks
    rows whose logits were not numbers.
    """

    def __init__(self, sampling: Sampling, requests: Sequence[GenerateRequest]) -> None:
        self.broken: Any = None
        self._warpers: list[Any] = []
        self._dice: list[random.Random] = []
        if sampling.greedy:
            return
        if sampling.temperature != 1.0:
            self._warpers.append(TemperatureLogitsWarper(sampling.temperature))
        if sampling.top_k:
            self._warpers.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p is not None and sampling.top_p < 1.0:
            self._warpers.append(TopPLogitsWarper(sampling.top_p))
        self._dice = [
            random.Random(fingerprint([r.sampling.seed, r.canonical()])) for r in requests
        ]

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        broken = scores.isnan().any(dim=-1)
        self.broken = broken if self.broken is None else self.broken | broken
        if not self._dice:
            return scores
        warped = scores.float()
        for warp in self._warpers:
            warped = warp(input_ids, warped)
        # On the CPU in float64: the same draw on every device, as far as the logits agree.
        heights = warped.softmax(dim=-1).cpu().double().cumsum(dim=-1)
        levels = torch.tensor([dice.random() for dice in self._dice], dtype=torch.float64)
        drawn = torch.searchsorted(heights, (levels * heights[:, -1]).unsqueeze(1), right=True)
        drawn = drawn.clamp(max=scores.shape[-1] - 1).to(scores.device)
        return torch.full_like(scores, float("-inf")).scatter(1, drawn, 0.0)


def cut_at_stops(text: str, stops: Sequence[str]) -> str:
    """Return the text before the first stop string, one stop string after the other as lm-eval."""
    for stop in stops:
        if stop:
            text = text.partition(stop)[0]
    return text


def _settings_key(sampling: Sampling) -> tuple[Any, ...]:
    s = sampling
    return (s.max_tokens, s.temperature, s.top_p, s.top_k, s.stop)


def _list_ids(ids: int | list[int] | None) -> list[int]:
    if ids is None:
        return []
    return [ids] if isinstance(ids, int) else list(ids)


def _greedy_config(config: Any, pad_id: int) -> Any:
    """Copy a checkpoint's generation settings without its sampling, which requests decide.

    What else it sets (end tokens, repetition penalty) stays, as in lm-eval.
    """
    config = copy.deepcopy(config)
    config.do_sample = False
    config.num_beams = 1
    config.temperature = config.top_p = config.top_k = None
    config.max_length = None
    # Masked, but settings that look back at tokens (no_repeat_ngram_size) read it all the same.
    config.pad_token_id = pad_id
    config.return_dict_in_generate = False
    return config
