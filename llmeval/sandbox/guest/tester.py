"""The tester's side: run the data set's test against a candidate that lives in another process.

The test sees proxies. A call sends its arguments as plain data and gets the result as plain data,
so nothing the candidate defines, patches or overrides is ever executed here. The verdict is written
by this process alone, on a pipe that the candidate never had.
"""

from __future__ import annotations

import os
import random
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from . import codec

_FATAL = ("SystemExit", "KeyboardInterrupt", "GeneratorExit")


class OpaqueComparison(TypeError):
    """A test compared an object of the candidate's own, whose equality nobody can trust."""


class Verdicts:
    """The one way to end: write the verdict with its nonce, and leave at once."""

    def __init__(self, pipe: int, nonce: str) -> None:
        self._pipe = pipe
        self._nonce = nonce

    def end(self, status: str, reason: str) -> NoReturn:
        """Report, then exit without running anything of the test's (``finally``, ``atexit``)."""
        line = " ".join(reason[:2000].split())[:300]
        codec.write_frame(self._pipe, codec.encode([self._nonce, status, line]))
        os._exit(0)


class Peer:
    """The connection to the candidate.

    A candidate that is gone, or that sends what is no reply, ends the test here and now: a test's
    own ``except`` must not turn that into a pass.
    """

    def __init__(self, questions: int, replies: int, limit: int, verdicts: Verdicts) -> None:
        self._questions = questions
        self._replies = replies
        self._limit = limit
        self._verdicts = verdicts

    def ask(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        """Have the candidate do one operation; return its value or raise what it raised."""
        try:
            question = codec.encode([operation, list(args), kwargs], _handle_of)
        except codec.CodecError as error:
            self._verdicts.end("error", f"the test passes what cannot travel: {error}")
        if len(question) > self._limit:
            self._verdicts.end("error", "the test passes a value beyond the output limit")
        try:
            codec.write_frame(self._questions, question)
        except BrokenPipeError:
            self._verdicts.end("crashed", "the candidate ended before its tests did")
        return self.receive(args)

    def receive(self, args: tuple[Any, ...] = ()) -> Any:
        """Read one reply, hand altered arguments back to the test, and return or raise."""
        kind, first, second = self._reply()
        try:
            if kind == "error":
                names, message = [str(name) for name in first], str(second)
            elif kind == "value":
                for index, value in second:
                    _refill(args[index], value)
                return first
            else:
                raise TypeError(f"a reply of kind {kind!r}")
        except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
            self._verdicts.end("crashed", f"the candidate sent what is no reply: {error}")
        own = f"{names[0] if names else 'Exception'}: {message}"
        if "MemoryError" in names:
            self._verdicts.end("memory", own)
        if any(name in names for name in _FATAL):
            self._verdicts.end("failed", f"the candidate raised {own}")
        raise codec.exception_named(names, message)

    def _reply(self) -> tuple[Any, Any, Any]:
        try:
            reply = codec.decode(codec.read_frame(self._replies, self._limit), self._proxy)
        except EOFError:
            self._verdicts.end("crashed", "the candidate ended before its tests did")
        except codec.FrameTooLong:
            self._verdicts.end("output", "the candidate returned more than the output limit")
        except codec.CodecError as error:
            self._verdicts.end("crashed", f"the candidate sent what is no reply: {error}")
        if type(reply) is not list or len(reply) != 3:
            self._verdicts.end("crashed", "the candidate sent what is no reply")
        return reply[0], reply[1], reply[2]

    def _proxy(self, handle: codec.Handle) -> Proxy:
        return Proxy(self, handle)


def _refill(argument: Any, value: Any) -> None:
    """Give a list, dict or set of the test's the content that the candidate left in its copy."""
    if type(argument) is not type(value) or type(argument) not in (list, dict, set):
        raise TypeError("an altered argument of another type")
    argument.clear()
    if isinstance(argument, list):
        argument.extend(value)
    else:
        argument.update(value)


class Proxy:
    """Stands for an object of the candidate's: a function, an instance, an iterator."""

    __slots__ = ("_handle", "_peer")

    def __init__(self, peer: Peer, handle: codec.Handle) -> None:
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_handle", handle)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _peer_of(self).ask("call", self, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copy, inspect and their like look for hooks; there are none
            raise AttributeError(name)
        return _peer_of(self).ask("getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _peer_of(self).ask("setattr", self, name, value)

    def __getitem__(self, key: Any) -> Any:
        return _peer_of(self).ask("getitem", self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        _peer_of(self).ask("setitem", self, key, value)

    def __contains__(self, item: Any) -> bool:
        return bool(_peer_of(self).ask("contains", self, item))

    def __iter__(self) -> Iterator[Any]:
        iterator = _peer_of(self).ask("iter", self)
        while True:
            try:
                item = _peer_of(self).ask("next", iterator)
            except StopIteration:
                return
            yield item

    def __next__(self) -> Any:
        return _peer_of(self).ask("next", self)

    def __len__(self) -> int:
        return int(self._plain("len", int))

    def __bool__(self) -> bool:
        return bool(self._plain("bool", bool))

    def __str__(self) -> str:
        return str(self._plain("str", str))

    def __repr__(self) -> str:
        return str(self._plain("repr", str))

    def _plain(self, operation: str, kind: type) -> Any:
        answer = _peer_of(self).ask(operation, self)
        if type(answer) is not kind:
            raise TypeError(f"{operation}() of the candidate's object is no {kind.__name__}")
        return answer

    def _refuse_comparison(self, other: object) -> NoReturn:
        raise OpaqueComparison("the candidate's own object is compared, not plain data")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse_comparison
    __hash__ = object.__hash__


def _peer_of(proxy: Proxy) -> Peer:
    peer: Peer = object.__getattribute__(proxy, "_peer")
    return peer


def _handle_of(value: object) -> codec.Handle | None:
    if type(value) is not Proxy:
        return None
    handle: codec.Handle = object.__getattribute__(value, "_handle")
    return handle


def judge(job: dict[str, Any], peer: Peer, verdicts: Verdicts) -> NoReturn:
    """Run the test that `job` describes and report.

    Args:
        job: ``kind`` ("function" or "asserts") and the fields that `_function` and `_asserts` name.
        peer: the candidate.
        verdicts: where the verdict goes.
    """
    programs = {"function": _function, "asserts": _asserts}
    try:
        run = programs[job["kind"]](job)
    except (SyntaxError, ValueError) as error:
        verdicts.end("error", f"the test cannot be run: {type(error).__name__}: {error}")
    try:
        random.seed(0)  # tests that draw their inputs: the same answer, the same verdict
        peer.receive()  # whether the candidate's code ran at all
        run(peer)
    except MemoryError:
        verdicts.end("memory", "MemoryError in the test")
    except BaseException as error:  # whatever a test raises, SystemExit included, is no pass
        verdicts.end("failed", _describe(error, job["test"]))
    verdicts.end("passed", "")


def _namespace() -> dict[str, Any]:
    """Return the globals of a new module; dataclasses look theirs up by name."""
    module = types.ModuleType("llmeval_test")
    sys.modules[module.__name__] = module
    return module.__dict__


def _function(job: dict[str, Any]) -> Callable[[Peer], None]:
    """``prompt`` and ``test`` are run here, then ``check`` gets the proxy of ``entry_point``."""
    prompt = _compile_prompt(job["prompt"])
    test = compile(job["test"], "<test>", "exec")

    def run(peer: Peer) -> None:
        candidate = peer.ask("name", job["entry_point"])
        namespace = _namespace()
        exec(prompt, namespace)  # helper functions that the test calls
        namespace[job["entry_point"]] = candidate
        exec(test, namespace)
        namespace["check"](candidate)

    return run


def _compile_prompt(prompt: str) -> Any:
    try:
        return compile(prompt, "<prompt>", "exec")
    except SyntaxError:  # a header without a docstring needs a body to be a function
        return compile(f"{prompt}\n    pass\n", "<prompt>", "exec")


def _asserts(job: dict[str, Any]) -> Callable[[Peer], None]:
    """``modules`` are imported, ``names`` are proxies, then ``setup`` and ``test`` are run."""
    setup = compile(job["setup"], "<setup>", "exec")
    test = compile(job["test"], "<test>", "exec")

    def run(peer: Peer) -> None:
        namespace = _namespace()
        for name in job["modules"]:
            namespace[name] = __import__(name)
        for name in job["names"]:
            namespace[name] = peer.ask("name", name)
        exec(setup, namespace)
        exec(test, namespace)

    return run


def _describe(error: BaseException, test: str) -> str:
    """Return one line: the exception, its text, and the line of the test that raised it."""
    try:
        text = str(error)
    except Exception:  # a message may quote a number too long for str()
        text = ""
    parts = [type(error).__name__, *([text] if text else [])]
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<test>":
            line = trace.tb_lineno
        trace = trace.tb_next
    source = test.splitlines()
    if 0 < line <= len(source):
        parts.append(source[line - 1].strip())
    return ": ".join(parts)


def serve(job_fd: int, report_fd: int, questions: int, replies: int, limit: int) -> NoReturn:
    """Read the job, judge, report. The process ends here."""
    job = codec.decode(codec.read_frame(job_fd, 1 << 30))
    os.close(job_fd)
    verdicts = Verdicts(report_fd, job["nonce"])
    sys.setrecursionlimit(2000)
    judge(job, Peer(questions, replies, limit, verdicts), verdicts)
