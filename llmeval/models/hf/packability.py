"""Whether a model can be computed in packs: tried on a small tree when it is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from llmeval.models.hf.attention import attends_by_sdpa
from llmeval.models.hf.head import SlicedHead, find_sliced_head
from llmeval.models.hf.masks import list_forms
from llmeval.models.hf.packed_attention import BLOCK
from llmeval.models.hf.runner import PackRunner
from llmeval.models.packing import IntArray, Pack, build_trie, cut_packs

_PACK = 7  # smaller than a row, so that what is cached between packs is tried as well

# Largest difference of log-probabilities that rounding explains, where padding alone gives less.
_TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 2e-1}


@dataclass(frozen=True, slots=True)
class Unpackable:
    """Why a model is computed in plain batches."""

    reason: str


def find_runner(model: Any, max_length: int) -> PackRunner | Unpackable:
    """Return a runner whose numbers equal plain ones, or why there is none.

    Args:
        model: a transformers causal language model, on its device.
        max_length: the longest sequence that will be asked.
    """
    if reason := _know_better(model, max_length):
        return Unpackable(reason)
    forms = list_forms(model)
    if not forms:
        return Unpackable("its layers carry a state from token to token, or have windows by place")
    rows = _make_rows(model.get_input_embeddings().num_embeddings, max_length)
    expected = _compute_alone(model, rows)
    allowed = allow_rounding(model, _padding_noise(model, rows, expected))
    problem = "it computes no plain log-probabilities"
    for form in forms:
        runner = PackRunner(model, form)
        try:
            difference = _compare(runner, rows, expected)
        except (TypeError, ValueError, RuntimeError, AttributeError, KeyError) as error:
            problem = f"its attention takes no such mask, e.g. ALiBi ({type(error).__name__})"
            continue
        if difference <= allowed:
            runner.head = _find_head(model, runner, rows, expected, allowed)
            runner.block = _find_block(model, runner, rows, expected, allowed)
            runner.reset()
            runner.take_effort()
            return runner
        problem = f"in packs its log-probabilities differ by {difference:.2g} (ALiBi, own masks?)"
    return Unpackable(problem)


def allow_rounding(model: Any, noise: float) -> float:
    """Return how much log-probabilities may differ: what the dtype explains, or four times what
    rounding was seen to do to this model."""
    return max(_TOLERANCE.get(model.dtype, 2e-1), 4 * noise)


def _know_better(model: Any, max_length: int) -> str | None:
    """Name what a small tree would not show."""
    if getattr(model, "_is_stateful", False):
        return "it is recurrent"
    config = model.config.get_text_config(decoder=True)
    parameters = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)
    for rope in _find_ropes(parameters):
        kind = rope.get("rope_type", rope.get("type"))
        original = rope.get("original_max_position_embeddings") or getattr(
            config, "original_max_position_embeddings", config.max_position_embeddings
        )
        if kind in ("dynamic", "longrope") and max_length > original:
            return f"its rotary positions ({kind}) depend on the length of the whole sequence"
    return None


def _find_ropes(parameters: Any) -> Iterator[Mapping[str, Any]]:
    """Yield rotary settings, which may be nested by the type of layer."""
    if isinstance(parameters, Mapping):
        yield parameters
        for value in parameters.values():
            yield from _find_ropes(value)


def _make_rows(vocabulary: int, max_length: int) -> list[IntArray]:
    """Return a header with branches of branches, one of them a prefix of another."""
    rng = np.random.default_rng(0)

    def draw(length: int) -> IntArray:
        return rng.integers(0, vocabulary, length).astype(np.int32)

    header = draw(9)
    questions = [np.concatenate([header[:cut], draw(4)]) for cut in (9, 9, 6)]
    rows = [np.concatenate([question, draw(n)]) for question in questions for n in (1, 3)]
    return [row[:max_length] for row in [*rows, questions[0][:11]]]


def _compute_alone(model: Any, rows: Sequence[IntArray]) -> Any:
    """Return log-probabilities of rows computed one by one, [tokens, vocabulary]."""
    with torch.inference_mode():
        outputs = [
            model(torch.from_numpy(row).long().unsqueeze(0).to(model.device)).logits[0]
            for row in rows
        ]
        return torch.cat(outputs).float().log_softmax(dim=-1)


def _padding_noise(model: Any, rows: Sequence[IntArray], expected: Any) -> float:
    """Return by how much a padded batch differs, which is rounding."""
    ids = torch.zeros((len(rows), max(map(len, rows))), dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.from_numpy(row)
    with torch.inference_mode():
        logits = model(ids.to(model.device)).logits
        outputs = [logits[number, : len(row)] for number, row in enumerate(rows)]
        found = torch.cat(outputs).float().log_softmax(dim=-1)
        return float((found - expected).abs().max())


def _cut_rows(rows: Sequence[IntArray]) -> list[Pack]:
    """Return the packs of rows whose every output is read."""
    trie = build_trie(rows)
    reads = np.array([(trie.row_of[i], p) for i, row in enumerate(rows) for p in range(len(row))])
    return cut_packs(trie.rows, trie.shared, reads.T, _PACK)


def _compare(runner: PackRunner, rows: Sequence[IntArray], expected: Any) -> float:
    """Return the largest difference in log-probability between packs and rows alone."""
    runner.begin(rows[0][:0])
    found = torch.empty_like(expected)
    for pack in _cut_rows(rows):
        outputs = runner.run(pack).float().log_softmax(dim=-1)
        found[torch.from_numpy(pack.read_ids)] = outputs[torch.from_numpy(pack.reads)]
    difference = float((found - expected).abs().max())
    return difference if difference == difference else float("inf")  # NaN agrees with nothing


def _find_block(
    model: Any, runner: PackRunner, rows: Sequence[IntArray], expected: Any, allowed: float
) -> int | None:
    """Return how many nodes are to attend together; None for all, as a GPU does best."""
    if model.device.type != "cpu" or not attends_by_sdpa(model):
        return None
    runner.block = 3  # so that there are several in a pack, whose size this is not
    try:
        agrees = _compare(runner, rows, expected) <= allowed
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError):
        return None  # its layers ask for more, or their arguments do not reach them
    finally:
        runner.block = None
    return BLOCK if agrees else None


def _find_head(
    model: Any, runner: PackRunner, rows: Sequence[IntArray], expected: Any, allowed: float
) -> SlicedHead | None:
    """Return the head in slices where it gives what the model makes of its logits."""
    head = find_sliced_head(model)
    if head is None:
        return None
    targets = np.random.default_rng(1).integers(0, expected.shape[1], len(expected))
    wanted = expected[torch.arange(len(targets)), torch.from_numpy(targets)].numpy()
    runner.begin(rows[0][:0])
    for pack in _cut_rows(rows):
        states = runner.run_to_head(pack, head)
        found, _ = head.read(states, pack.reads, targets[pack.read_ids])
        if not np.abs(found - wanted[pack.read_ids]).max() <= allowed:
            return None
    return head
