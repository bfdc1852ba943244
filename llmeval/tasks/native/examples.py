"""Few-shot examples: drawn anew for every sample from the seed and the sample's id alone.

So the examples of a sample depend neither on the limit nor on which process evaluates it.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from llmeval.core import UsageError, canonical_json
from llmeval.tasks.native.prompts import Solved
from llmeval.tasks.native.rows import Row, Rows
from llmeval.tasks.native.spec import FewShot
from llmeval.tasks.native.templates import TemplateError


class Examples:
    """The pool of solved examples.

    Args:
        rows: the pool.
        settings: how many, and how they are chosen.
        num: how many, after the command line.
        seed: seeds the draws where the task fixes no seed.
        solve: renders a row as question and answer.
    """

    def __init__(
        self,
        rows: Rows,
        settings: FewShot,
        num: int,
        seed: int,
        solve: Callable[[Row], Solved],
    ) -> None:
        self._rows = rows
        self._settings = settings
        self._num = num
        self._seed = settings.seed if settings.seed is not None else seed
        self._solve = solve
        self._solved: dict[int, tuple[Row, Solved]] = {}

    def choose(self, row: Row, sample_id: str) -> list[Solved]:
        """Return the examples of one sample; a row equal to its own is never among them.

        Raises:
            UsageError: the pool has too few.
        """
        chosen: list[Solved] = []
        if self._num == 0:
            return chosen
        pool = self._pool(row)
        for index in self._order(pool, sample_id):
            candidate, solved = self._read(index)
            if candidate != row:
                chosen.append(solved)
            if len(chosen) == self._num:
                return chosen
        raise UsageError(
            f"sample {sample_id} needs {self._num} examples, and {self._rows.id} "
            f"({self._rows.split}) has {len(chosen)} for it",
            where="fewshot",
            mend="ask for fewer with --num-fewshot, or name more data as fewshot_split",
        )

    def _pool(self, row: Row) -> Sequence[int]:
        if self._settings.match is None:
            return range(len(self._rows))
        return self._groups.get(_key(row, self._settings.match), ())

    def _order(self, pool: Sequence[int], sample_id: str) -> Iterator[int]:
        if self._settings.sampler == "first":
            yield from pool
            return
        rng = random.Random(f"{self._seed} {sample_id}")
        seen: set[int] = set()
        while len(seen) < len(pool):
            index = pool[rng.randrange(len(pool))]
            if index not in seen:
                seen.add(index)
                yield index

    def _read(self, index: int) -> tuple[Row, Solved]:
        if index not in self._solved:
            row = self._rows[index]
            self._solved[index] = row, self._solve(row)
        return self._solved[index]

    @cached_property
    def _groups(self) -> dict[bytes, list[int]]:
        field = self._settings.match or ""
        groups: dict[bytes, list[int]] = defaultdict(list)
        for index, row in enumerate(self._rows):
            groups[_key(row, field)].append(index)
        return groups


def _key(row: Row, field: str) -> bytes:
    if field not in row:
        raise TemplateError(f"fewshot.match: {field!r} is undefined")
    return canonical_json(row[field])
