"""A served model's questions, handed in as batches: half the price, answers within a day.

A question is a line with a name of its own, so what is with the service already is found again
however it is asked: in another order, beside other questions, by another run. What a batch answered
stays known until providers drop its files: nothing is handed in twice because a command was killed
between collecting and journaling.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from llmeval.core.errors import InvalidResult, LlmevalError, UsageError
from llmeval.core.hashes import fingerprint
from llmeval.core.protocols import Answers
from llmeval.core.requests import Request
from llmeval.core.responses import Failure, Generation, Response
from llmeval.models.served.batch_lines import Line, LineWriter
from llmeval.models.served.batch_service import BatchState, ServiceUnreachable
from llmeval.models.served.batch_store import BatchStore, Entry
from llmeval.models.served.model import OpenAIModel

log = logging.getLogger(__name__)

MOST_LINES = 50_000
"""Lines of a batch."""

MOST_BYTES = 180_000_000
"""Bytes of a batch's file; OpenAI takes 200 MB."""

POLL_SECONDS = (5.0, 60.0)
"""Between two looks at a batch: at first, and at most."""


@dataclass(slots=True)
class _File:
    """A batch that is being planned."""

    members: list[int] = field(default_factory=list)
    lines: int = 0
    size: int = 0


class BatchedModel:
    """Implements :class:`llmeval.core.Model` around a served model that was explored.

    Its answers are the served model's answers, so it has the same fingerprint.

    Args:
        served: who answers.
        folder: of the store, ``<workspace>/.llmeval/batches``.
        wait: :meth:`settle` waits.

    Attributes:
        pending: questions that batches have yet to answer, by the batch's id.
        concurrency: files that are read and written at once.
    """

    concurrency = 4

    def __init__(self, served: OpenAIModel, folder: Path, wait: bool = False) -> None:
        self._served = served
        self._wait = wait
        self._writer = LineWriter(served)
        self._service = self._writer.open_service()
        self._store = BatchStore(folder)
        self._price = self._writer.price
        self._noting = threading.Lock()
        self._given_up: dict[str, str] = {}
        self._collected: set[str] = set()
        self.pending: dict[str, int] = {}

    @property
    def name(self) -> str:
        return self._served.name

    @property
    def fingerprint(self) -> str:
        return self._served.fingerprint

    @property
    def capabilities(self) -> frozenset[str]:
        return self._served.capabilities

    def describe(self) -> dict[str, Any]:
        return {**self._served.describe(), "batch": True, "price": self._price.describe()}

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool
    ) -> str:
        return self._served.apply_chat_template(messages, add_generation_prompt)

    def price(self, response: Response) -> float | None:
        """Return what an answer cost in USD; None where no price is known."""
        cached = response.cached_tokens if isinstance(response, Generation) else 0
        tokens = response.prompt_tokens, cached, response.completion_tokens
        return self._price.of_tokens(*tokens)

    def report(self) -> dict[str, Any]:
        return {**self._served.report(), "batches": sorted(self._collected)}

    def close(self) -> None:
        """Close the connections; who made the served model closes it."""
        self._service.close()

    # -- answering -------------------------------------------------------------------------------

    def prepare(self, requests: Sequence[Request]) -> None:
        """Nothing needs to be warm."""

    def plan(self, requests: Sequence[Request]) -> list[list[int]]:
        """Cut requests into files of one endpoint, within the service's bounds."""
        files: list[_File] = []
        current: dict[str, _File] = {}
        for line in self._writer.write(requests):
            file = current.get(line.url)
            full = file and (file.lines == MOST_LINES or file.size + len(line.data) > MOST_BYTES)
            if file is None or full:
                file = current[line.url] = _File()
                files.append(file)
            file.members += line.members
            file.lines += 1
            file.size += len(line.data)
        return [file.members for file in files]

    def answer(self, requests: Sequence[Request]) -> Answers:
        """Return what batches have answered; the others are handed in, where they are not yet.

        Those are a Failure for now, and :attr:`pending`.

        Raises:
            UsageError: the service refuses; ServiceUnreachable: it does not answer.
            StorageError: what is handed in cannot be noted.
        """
        try:
            return Answers(self._answer(requests))
        except LlmevalError:
            raise
        except Exception as error:
            # The engine would cut the batch in two to find what breaks it, and hand in all parts.
            what = f"a fault in its batches: {type(error).__name__}: {error}"
            raise InvalidResult(what, where=self.name, mend="please report it") from error

    def _answer(self, requests: Sequence[Request]) -> list[Response]:
        lines = list(self._writer.write(requests))
        answers = {line.custom_id: line.fail(why) for line in lines if (why := self._why_not(line))}
        wanted = {line.custom_id: line for line in lines if line.custom_id not in answers}
        for entry, members in self._claim(wanted):
            answers |= self._collect(entry, members)
        responses: list[Response] = [Failure("no answer")] * len(requests)
        for line in lines:
            for index, response in zip(line.members, answers[line.custom_id], strict=True):
                responses[index] = response
        return responses

    def _why_not(self, line: Line) -> str | None:
        """Why a line is not handed in: it cannot be, or this command has just seen it fail."""
        return line.fault or self._given_up.get(line.custom_id)

    def _claim(self, wanted: Mapping[str, Line]) -> list[tuple[Entry, list[Line]]]:
        """Return the batches that the lines are in, after handing in those that are in none."""
        if not wanted:
            return []
        left, claimed = dict(wanted), list[tuple[Entry, list[Line]]]()
        with self._store.locked():
            for known in self._store.load():
                names = known.open_lines() & left.keys()
                if known.base_url != self._service.base_url or not names:
                    continue
                entry = known if known.batch else self._recover(known)
                if entry is not None:
                    # In our order, not a set's: what is read and noted depends on no hash seed.
                    claimed.append((entry, [left.pop(n) for n in wanted if n in names]))
            for url in dict.fromkeys(line.url for line in left.values()):
                lines = [line for line in left.values() if line.url == url]
                claimed.append((self._hand_in(url, lines), lines))
        return claimed

    def _hand_in(self, url: str, lines: Sequence[Line]) -> Entry:
        """Hand in a batch. Announced before, it is found again if this process is killed amid."""
        names = tuple(line.custom_id for line in lines)
        now = time.time()
        digest = fingerprint([self.fingerprint, sorted(names), now])
        entry = Entry(digest, self._service.base_url, now, names)
        self._store.write(entry)
        try:
            file = self._service.upload(b"".join(line.data for line in lines), digest)
            batch = self._service.create(file, url, digest)
        except ServiceUnreachable:
            raise  # it may have got there: the next command looks
        except UsageError:
            self._store.forget(entry)
            raise
        entry = replace(entry, batch=batch.ident, input_file=file)
        self._store.write(entry)
        return entry

    def _recover(self, entry: Entry) -> Entry | None:
        """Find out what became of a batch that was only announced; None where it never began."""
        found = self._service.find(entry.digest, entry.created)
        if found is None:
            self._store.forget(entry)
            return None
        entry = replace(entry, batch=found.ident)
        self._store.write(entry)
        return entry

    # -- collecting ------------------------------------------------------------------------------

    def _collect(self, entry: Entry, lines: Sequence[Line]) -> dict[str, list[Response]]:
        """Return what a batch has for some of its lines."""
        assert entry.batch is not None
        with self._way_out(entry):
            state = self._service.look(entry.batch)
        if not state.ended:
            with self._noting:
                waiting = sum(len(line.requests) for line in lines)
                self.pending[entry.batch] = self.pending.get(entry.batch, 0) + waiting
            reason = f"submitted as {entry.batch}; not collected yet"
            return {line.custom_id: line.fail(reason) for line in lines}
        if state.status == "failed":
            with self._store.locked():
                self._store.forget(entry)
            raise UsageError(
                f"the service refused the batch: {state.reason or 'it does not say why'}",
                where=entry.batch,
                mend="once that is mended, the same command hands the questions in anew",
            )
        return self._read_answers(entry, state, lines)

    @contextmanager
    def _way_out(self, entry: Entry) -> Iterator[None]:
        """Say how to go on where the service does not know a batch or its files any more."""
        try:
            yield
        except ServiceUnreachable:
            raise
        except UsageError as error:
            file = self._store.path(entry)
            error.mend = f"{error.mend or 'see there'}; to hand it in anew, remove {file}"
            raise

    def _read_answers(
        self, entry: Entry, state: BatchState, lines: Sequence[Line]
    ) -> dict[str, list[Response]]:
        wanted = {line.custom_id: line for line in lines}
        missing = f"{state.ident} is {state.status} without an answer to it"
        answers = {name: line.fail(missing) for name, line in wanted.items()}
        with self._way_out(entry):
            contents = [self._service.read(file) for file in state.files]
        for row in itertools.chain.from_iterable(map(_read_rows, contents)):
            name = row.get("custom_id")
            if name in wanted and _without_answer(answers[name]):
                answers[name] = self._writer.read(wanted[name], row)
        failed = {n: _reason(given) for n, given in answers.items() if _without_answer(given)}
        self._note_ended(entry, failed)
        return answers

    def _note_ended(self, entry: Entry, failed: Mapping[str, str]) -> None:
        with self._noting:
            self._given_up.update(failed)
            self._collected.add(str(entry.batch))
        with self._store.locked():
            for now in self._store.load():  # another process may have collected it meanwhile
                if now.digest == entry.digest and now.batch == entry.batch:
                    lost = tuple(dict.fromkeys([*now.failed, *failed]))
                    self._store.write(replace(now, ended=True, failed=lost))

    # -- waiting ---------------------------------------------------------------------------------

    def settle(self) -> bool:
        """Wait until what is pending has ended, if that is wanted; return whether to ask again.

        To be called between two attempts, outside the engine's threads: an interrupt ends it at
        once, and the batches go on.

        Raises:
            UsageError: the service refuses, or was not there for longer than the model's patience.
        """
        if not self._wait or not self.pending:
            return False
        pending, self.pending = self.pending, {}
        log.warning(
            "waiting for %s (%d questions); an interrupt loses nothing",
            ", ".join(pending),
            sum(pending.values()),
        )
        for batch in pending:
            self._await_end(batch)
        return True

    def _await_end(self, batch: str) -> None:
        seconds, most = POLL_SECONDS
        seen = time.monotonic()
        while True:
            try:
                if self._service.look(batch).ended:
                    return
                seen = time.monotonic()
            except ServiceUnreachable:
                if time.monotonic() - seen > self._served.traffic.patience:
                    raise
            time.sleep(seconds)
            seconds = min(most, 1.5 * seconds)


def _read_rows(content: bytes) -> Iterator[dict[str, Any]]:
    """Yield the lines of an output or error file; what is no object is left out."""
    for raw in content.splitlines():
        try:
            row = orjson.loads(raw)
        except orjson.JSONDecodeError:
            continue
        if isinstance(row, dict):
            yield row


def _without_answer(responses: Sequence[Response]) -> bool:
    return any(isinstance(response, Failure) for response in responses)


def _reason(responses: Sequence[Response]) -> str:
    return next(r.reason for r in responses if isinstance(r, Failure))
