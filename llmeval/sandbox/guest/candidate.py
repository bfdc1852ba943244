"""The candidate's side: run the untrusted code, then answer the tester's questions about it.

Everything in this process belongs to the untrusted code once it has run: it can replace these very
functions. Nothing it can say through them is more than a value, which the tester then judges.
"""

from __future__ import annotations

import operator
import random
import sys
import types
from collections.abc import Callable
from typing import Any

from . import codec

_OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": lambda function, *args, **kwargs: function(*args, **kwargs),
    "getattr": getattr,
    "setattr": setattr,
    "getitem": operator.getitem,
    "setitem": operator.setitem,
    "contains": operator.contains,
    "iter": iter,
    "next": next,
    "len": len,
    "bool": bool,
    "str": str,
    "repr": repr,
}


class Candidate:
    """The namespace of the untrusted code and the objects that the tester holds handles of."""

    def __init__(self) -> None:
        self.module = types.ModuleType("candidate")
        self.objects: list[object] = []
        # Dataclasses and type hints look their module up by name.
        sys.modules["candidate"] = self.module

    def execute(self, code: str) -> None:
        """Run the code as a module."""
        exec(compile(code, "<candidate>", "exec"), self.module.__dict__)

    def answer(self, question: bytes) -> bytes:
        """Return the encoded reply to one encoded question.

        A question is ``[operation, arguments, keywords]``; ``name`` looks a global up. A reply is
        ``["value", value, changes]``, changes being ``[[index, new value], ...]`` of arguments that
        the call altered, or ``["error", class names, message]``.
        """
        operation, args, kwargs = codec.decode(question, self._resolve)
        before = [_snapshot(argument) for argument in args]
        if operation == "name":
            value = self._lookup(*args)
        else:
            value = _OPERATIONS[operation](*args, **kwargs)
        changes = [
            [index, args[index]]
            for index, old in enumerate(before)
            if old is not None and _snapshot(args[index]) != old
        ]
        return codec.encode(["value", value, changes], self._adopt)

    def _lookup(self, name: str) -> object:
        try:
            return self.module.__dict__[name]
        except KeyError:
            raise NameError(f"name {name!r} is not defined") from None

    def _adopt(self, value: object) -> codec.Handle:
        self.objects.append(value)
        return codec.Handle(len(self.objects) - 1)

    def _resolve(self, handle: codec.Handle) -> object:
        return self.objects[handle.number]


def _snapshot(argument: object) -> bytes | None:
    """Return what a mutable argument holds now, None for one that need not travel back."""
    if type(argument) not in (list, dict, set):
        return None
    try:
        return codec.encode(argument)
    except codec.CodecError:  # holds objects of the candidate's own, which it has already
        return None


def error_reply(error: BaseException) -> bytes:
    """Return the reply that says what was raised."""
    names = [kind.__name__ for kind in type(error).__mro__]
    try:
        message = str(error)[:500]
    except BaseException:  # the exception is the candidate's, and so is its __str__
        message = ""
    return codec.encode(["error", names, message])


def serve(code: str, questions: int, replies: int, limit: int) -> None:
    """Run `code`, then answer every question until the tester hangs up.

    The first reply says whether the code ran; it answers no question.
    """
    candidate = Candidate()
    random.seed(0)  # after the fork, which stirs it: the same program, the same verdict
    try:
        candidate.execute(code)
        reply = codec.encode(["value", None, []])
    except BaseException as error:  # SystemExit included: ending before the tests is a failure
        reply = error_reply(error)
    while True:
        codec.write_frame(replies, reply)
        question = codec.read_frame(questions, limit)
        try:
            reply = candidate.answer(question)
        except BaseException as error:
            reply = error_reply(error)
