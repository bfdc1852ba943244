"""A task's rows: ``process_docs`` once a split, and on no more rows than a limited run reads."""

from __future__ import annotations

import ast
import functools
import inspect
import random
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from llmeval.core import UsageError

Process = Callable[[Any], Any]

# `Dataset.map` finds the columns' types in the first rows that it writes, this many at once. So a
# slice of at least as many rows gives the types, and thereby the values, that all rows would give.
_FIRST_WRITE = 1000


def process_once(process: Process, evaluated: str | None, limit: int | None) -> Process:
    """Return ``process_docs`` that keeps what came out: lm-eval calls it at every look at a split.

    Args:
        evaluated: the split that is evaluated, if it is read for nothing else.
        limit: rows of it that will be read. Where ``process`` maps rows one by one, later rows
            cannot change earlier ones, and only about so many are processed.
    """
    kept: dict[str, Any] = {}
    row_wise = limit is not None and is_row_wise(process)

    @functools.wraps(process)
    def processed(dataset: Any) -> Any:
        key = str(getattr(dataset, "_fingerprint", id(dataset)))
        if key not in kept:
            split = getattr(dataset, "split", None)
            if row_wise and limit is not None and evaluated is not None and split == evaluated:
                dataset = dataset.select(range(min(len(dataset), max(limit, _FIRST_WRITE))))
            kept[key] = process(dataset)
            if len(kept[key]) == 0:
                raise UsageError("no row of its data suits the task", mend="leave it out")
        return kept[key]

    return processed


def is_row_wise(process: Process) -> bool:
    """Say whether a function is, by its text, only ``return dataset.map(a_function_of_a_row)``.

    Functions defined inside it are allowed, as long as nothing else names the data set.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(process)))
    except (OSError, TypeError, SyntaxError):
        return False
    match tree.body:
        case [ast.FunctionDef(decorator_list=[], body=[*before, last]) as function]:
            names = [node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)]
        case _:
            return False
    match last:
        case ast.Return(ast.Call(ast.Attribute(ast.Name(name), "map"), [ast.Name()], [])):
            uses = [n for n in ast.walk(function) if isinstance(n, ast.Name) and n.id == name]
            return names == [name] and len(uses) == 1 and all(map(_only_defines, before))
    return False


def _only_defines(statement: ast.stmt) -> bool:
    """A nested function or the docstring: nothing that runs before the rows are mapped."""
    match statement:
        case ast.FunctionDef(decorator_list=[]) | ast.Expr(ast.Constant()):
            return True
    return False


@contextmanager
def kept_generators() -> Iterator[None]:
    """Leave the global random generators as they were."""
    states = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def seed_generators() -> None:
    """Some tasks shuffle their rows with the global generators; these are lm-eval's seeds."""
    random.seed(0)
    np.random.seed(1234)
