"""Completions: prompts are cut to leave room, and made in slots or, where that fails, plainly."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import Any

from transformers import GenerationConfig, GenerationMixin

from llmeval.core.requests import Sampling
from llmeval.models.hf.batching import Cutter
from llmeval.models.hf.completions import Completions, Endings, GenerationUnit, PromptRow, Room
from llmeval.models.hf.loading import quiet_transformers
from llmeval.models.hf.packability import Unpackable
from llmeval.models.hf.plain_generation import PlainGenerator
from llmeval.models.hf.runner import PackRunner
from llmeval.models.hf.slot_generation import (
    SlotGenerator,
    can_share,
    choose_slots,
    find_decoding_fault,
)
from llmeval.models.hf.tokens import TokenRules

GENERATION_VERSION = 2  # in the model's fingerprint: raise it where texts may change

# What ``model.generate`` is told anyway, what only sampling or beams meet, and what changes no
# token. Whatever else a checkpoint sets, ``model.generate`` has to do.
_HARMLESS = frozenset(
    [
        "max_length",
        "max_new_tokens",
        "do_sample",
        "num_beams",
        "num_return_sequences",
        "early_stopping",
        "temperature",
        "top_k",
        "top_p",
        "min_p",
        "top_h",
        "typical_p",
        "epsilon_cutoff",
        "eta_cutoff",
        "length_penalty",
        "use_cache",
        "cache_implementation",
        "cache_config",
        "max_cache_len",
        "prefill_chunk_size",
        "low_memory",
        "compile_config",
        "disable_compile",
        "continuous_batching_config",
        "renormalize_logits",
        "num_assistant_tokens",
        "num_assistant_tokens_schedule",
        "assistant_confidence_threshold",
        "assistant_lookbehind",
        "target_lookbehind",
        "is_assistant",
        "max_matching_ngram_size",
        "output_attentions",
        "output_hidden_states",
        "output_scores",
        "output_logits",
        "return_dict_in_generate",
        "pad_token_id",
        "bos_token_id",
        "eos_token_id",
        "decoder_start_token_id",
        "transformers_version",
    ]
)
_NEUTRAL: dict[str, float] = {
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "guidance_scale": 1.0,
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "min_length": 0,
    "min_new_tokens": 0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
}


class Generator:
    """Makes completions in the fastest way that the model allows.

    Args:
        model: a transformers causal language model.
        rules: its tokenizer.
        runner: computes packs of it, or why there is none.
        cutter: when a batch of the plain way is full.
        slots: most rows of a decoding step; None chooses by the machine.
        pack_size: most new tokens of a pack.
        max_gen_toks: new tokens of a request that names no limit.
    """

    def __init__(
        self,
        model: Any,
        rules: TokenRules,
        runner: PackRunner | Unpackable,
        *,
        cutter: Cutter,
        slots: int | None,
        pack_size: int,
        max_gen_toks: int,
    ) -> None:
        self._model = model
        self._rules = rules
        self._runner = runner
        self._cutter = cutter
        self._slots = slots
        self._pack_size = pack_size
        self.room = Room(rules, max_gen_toks)
        self.fallback: str | None = None

    @property
    def end_ids(self) -> frozenset[int]:
        """The tokens that end an answer.

        A chat model's tokenizer may end turns with a token that its generation settings lack.
        """
        own = _list_ids(getattr(self._model.generation_config, "eos_token_id", None))
        return frozenset([*own, *_list_ids(self._rules.tokenizer.eos_token_id)])

    @functools.cached_property
    def engine(self) -> SlotGenerator | PlainGenerator:
        """How completions are made: tried when the first is asked for, since many runs ask none."""
        model, rules = self._model, self._rules
        config = _make_greedy(model.generation_config, rules.pad_id)
        endings = Endings(rules, self.end_ids)
        with quiet_transformers():
            self.fallback = find_obstacle(model, self._runner, rules.max_length)
            if isinstance(self._runner, PackRunner) and self.fallback is None:
                return SlotGenerator(
                    model,
                    self._runner,
                    endings,
                    slots=self._slots or choose_slots(model),
                    pack_size=self._pack_size,
                    shares=can_share(model, self._runner, rules.max_length),
                )
        return PlainGenerator(model, config, endings, self._cutter)

    def describe(self) -> dict[str, str | None]:
        """Return how completions are made, and why not in slots; nothing where none was asked."""
        if "engine" not in vars(self):
            return {}
        return {"generator": self.engine.name, "generator_fallback": self.fallback}

    def plan(self, rows: Sequence[PromptRow]) -> list[GenerationUnit]:
        """Cut prompts into units; only draws with the same settings share one."""
        groups: dict[tuple[Any, ...], list[int]] = {}
        for index, row in enumerate(rows):
            groups.setdefault(_settings_key(row.request.sampling), []).append(index)
        units = []
        for group in groups.values():
            chosen = [rows[index] for index in group]
            for unit in self.engine.plan(chosen, self._allowed(chosen)):
                members = [group[place] for place in unit.members]
                units.append(GenerationUnit(members, unit.rows, unit.trunk, unit.distinct))
        return units

    def complete(self, unit: GenerationUnit) -> Completions:
        """Make the completions of one unit of :meth:`plan`."""
        return self.engine.complete(unit, self._allowed(unit.rows))

    def _allowed(self, rows: Sequence[PromptRow]) -> int:
        return self.room.allowed_tokens(rows[0].request.sampling)


def find_obstacle(model: Any, runner: PackRunner | Unpackable, max_length: int) -> str | None:
    """Return why a model's completions must be made by ``model.generate``; None if they need not.

    What a checkpoint's own settings look back at (repetition penalty and the like) is left to it.
    """
    if isinstance(runner, Unpackable):
        return runner.reason
    if (wanted := _list_demands(model.generation_config)) != []:
        return f"its generation settings have {', '.join(wanted)}"
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    if type(inner).generate is not GenerationMixin.generate:
        return "it generates in a way of its own"
    return find_decoding_fault(model, runner, max_length)


def _list_demands(config: GenerationConfig) -> list[str]:
    """Return the settings of a checkpoint that change which token is the best."""
    known = {name for name in vars(GenerationConfig()) if not name.startswith("_")} - _HARMLESS
    given = {name: value for name, value in config.to_dict().items() if name in known}
    return sorted(
        name
        for name, value in given.items()
        if value is not None and value is not False and value != _NEUTRAL.get(name, [])
    )


def _settings_key(sampling: Sampling) -> tuple[Any, ...]:
    s = sampling
    return (s.max_tokens, s.temperature, s.top_p, s.top_k, s.stop)


def _list_ids(ids: int | list[int] | None) -> list[int]:
    if ids is None:
        return []
    return [ids] if isinstance(ids, int) else list(ids)


def _make_greedy(config: Any, pad_id: int) -> GenerationConfig:
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
