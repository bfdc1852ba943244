"""The slots' cache by itself."""

from __future__ import annotations

from llmeval.models.hf.packability import find_runner
from llmeval.models.hf.slots import Slots
from tests.models.families import PACKING, make_model


def test_slots_take_no_more_than_their_memory() -> None:
    import torch

    model = make_model(*PACKING["llama"])
    runner = find_runner(model, 96)
    layers = [(torch.ones(1, 2, 4, 8), torch.ones(1, 2, 4, 8)) for _ in range(2)]
    row = 2 * 2 * 2 * 8 * 4 * 20  # layers, keys and values, heads, size, bytes, width
    for memory, most in ((3 * row, 3), (row // 2, 1), (100 * row, 5)):
        slots = Slots(model, runner.form, 5, 20, memory)  # type: ignore[union-attr]
        while not slots.full:
            slots.seat(layers)
        assert len(slots) == most
