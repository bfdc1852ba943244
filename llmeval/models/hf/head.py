"""The output head, a slice of the vocabulary at a time: logits are read while they are in cache.

A pack's logits as a whole are tens of megabytes that a CPU writes to memory, and reads again four
times, to learn two numbers a row. In slices the head's product alone takes 0.6 of the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import linear

_SLICE = 1024  # tokens of the vocabulary: with a pack's rows their logits fit into a core's cache


class SlicedHead:
    """Reads log-probabilities off hidden states; for heads that are one matrix and nothing else.

    Args:
        head: the model's output embedding.
    """

    def __init__(self, head: torch.nn.Linear) -> None:
        self._head = head
        self._caught: Any = None
        self._catching = False
        head.register_forward_pre_hook(self._catch)

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Let the model's head compute nothing; :meth:`take` then has what it was given."""
        self._catching = True
        try:
            yield
        finally:
            self._catching = False

    def take(self) -> Any:
        """Return the states that the head was given, [batch, rows, width], once."""
        caught, self._caught = self._caught, None
        return caught

    def read(
        self, states: Any, rows: npt.NDArray[np.int64], targets: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Return log-probability (float32) and argmax hit of each target.

        Args:
            states: [rows, width] what the head is given.
            rows: [n] row of each target.
            targets: [n] token ids.
        """
        order = np.argsort(targets, kind="stable")
        row, token = torch.from_numpy(rows[order]), torch.from_numpy(targets[order])
        with torch.inference_mode():
            values, hits = self._scan(states, row, token)
        logprobs, greedy = np.empty(len(rows)), np.empty(len(rows), bool)
        logprobs[order], greedy[order] = values.numpy(), hits.numpy()
        return logprobs, greedy

    def find_best(self, states: Any) -> Any:
        """Return the argmax of each row's logits, [rows]; -1 where they are no numbers."""
        top = torch.full((len(states),), float("-inf"))
        tokens = torch.zeros(len(states), dtype=torch.long)
        with torch.inference_mode():
            for start in range(0, len(self._head.weight), _SLICE):
                best, places = self._multiply(states, start).max(dim=-1)
                higher = ~(best <= top)  # NaN is, and stays so
                tokens = torch.where(higher, places + start, tokens)
                top = torch.maximum(top, best)
        return torch.where(top.isfinite(), tokens, -1)

    def _multiply(self, states: Any, start: int) -> Any:
        """Return the float32 logits of one slice of the vocabulary."""
        part = slice(start, start + _SLICE)
        bias = self._head.bias
        return linear(states, self._head.weight[part], None if bias is None else bias[part]).float()

    def _scan(self, states: Any, row: Any, token: Any) -> tuple[Any, Any]:
        """Go through the vocabulary once; ``token`` ascends."""
        vocabulary = len(self._head.weight)
        starts = torch.arange(0, vocabulary, _SLICE)
        bounds = torch.searchsorted(token, torch.cat([starts, torch.tensor([vocabulary])]))
        top = torch.full((len(states),), float("-inf"))
        total = torch.zeros(len(states))
        first = torch.zeros(len(states), dtype=torch.long)  # the slice that has the argmax
        found = torch.empty(len(row))
        leads = torch.zeros(len(row), dtype=torch.bool)
        for number, start in enumerate(starts.tolist()):
            logits = self._multiply(states, start)
            best = logits.amax(dim=-1)
            mine = slice(int(bounds[number]), int(bounds[number + 1]))
            found[mine], leads[mine] = _look_up(logits, best, row[mine], token[mine] - start)
            first = torch.where(best > top, number, first)
            higher = torch.maximum(top, best)
            total = total * (top - higher).exp() + logits.sub_(higher[:, None]).exp_().sum(dim=-1)
            top = higher
        # The first of equal maxima is the argmax.
        hits = leads & (found == top[row]) & (first[row] == token // _SLICE)
        return found - top[row] - total.log()[row], hits

    def _catch(self, _: Any, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not self._catching:
            return None
        self._caught = given[0]
        return (given[0][:, :0],)


def _look_up(logits: Any, best: Any, row: Any, token: Any) -> tuple[Any, Any]:
    """Return the logits of targets in a slice, and which of them are the slice's first maximum."""
    found = logits[row, token]
    leads = found == best[row]
    close = leads.nonzero().squeeze(1)
    leads[close] = logits[row[close]].argmax(dim=-1) == token[close]
    return found, leads


def find_sliced_head(model: Any) -> SlicedHead | None:
    """Return a head that can be read in slices on this device, as far as its type tells.

    Whether the model does something to its logits (scales or caps them) is for the caller to try.
    A GPU computes the whole product as fast.
    """
    head = model.get_output_embeddings()
    if type(head) is not torch.nn.Linear or head.weight.device.type != "cpu":
        return None
    return SlicedHead(head)
