"""Which names in a list of asserts belong to the candidate."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TestNames:
    """Names that a test uses without defining them.

    Attributes:
        candidate: to be asked from the candidate.
        modules: standard modules that the test uses as ``name.attribute`` and does not import; they
            are the tester's own, so that a candidate cannot bend ``math.isclose``.
    """

    candidate: tuple[str, ...]
    modules: tuple[str, ...]


def find_names(asserts: Sequence[str], setup: str = "") -> TestNames:
    """Return the names that the asserts take from elsewhere, in order of appearance.

    Built-in names are Python's own, unless the asserts use no other: MBPP has tasks whose function
    is called ``sum``. Then what every assert calls first is the candidate's.

    Raises:
        SyntaxError: the asserts or the setup are not Python.
    """
    tree = ast.parse("\n".join([setup, *asserts]))
    nodes = list(ast.walk(tree))
    defined = _defined(nodes)
    loaded = [
        node.id
        for node in nodes
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in defined
    ]
    qualified = {
        node.value.id
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    modules = {name for name in loaded if name in qualified and name in sys.stdlib_module_names}
    free = [name for name in loaded if not hasattr(builtins, name) and name not in modules]
    if not free:
        free = [name for name in _called_first(asserts) if name not in defined]
    return TestNames(tuple(dict.fromkeys(free)), tuple(sorted(modules)))


def _defined(nodes: Sequence[ast.AST]) -> set[str]:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
    return names


def _called_first(asserts: Sequence[str]) -> list[str]:
    """Return the name that every assert calls outermost on its left side, if it is the same one."""
    called: set[str | None] = set()
    for statement in ast.parse("\n".join(asserts)).body:
        left = statement.test if isinstance(statement, ast.Assert) else None
        if isinstance(left, ast.Compare):
            left = left.left
        function = left.func if isinstance(left, ast.Call) else None
        called.add(function.id if isinstance(function, ast.Name) else None)
    name = called.pop() if len(called) == 1 else None
    return [name] if name else []
