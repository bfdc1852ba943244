"""Answering: the model's calls in threads of their own, and which questions break it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from llmeval.core import Answers, Failure, InvalidResult, LlmevalError, Model, Request

_FAILURES_IN_A_ROW = 20


class Answerer:
    """Answers batches, as many at once as the model takes; scoring and sandboxes go on meanwhile.

    Attributes:
        slots: to be held around a batch from its call to the end of its journaling. Each thread has
            one batch waiting, so that the model waits for no journal.
        seconds: wall time in which the model had something to answer.
        given_up: why the model is not asked any more, once it failed too often in a row.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._workers = ThreadPoolExecutor(model.concurrency, thread_name_prefix="llmeval-model")
        self._preparer = ThreadPoolExecutor(1, thread_name_prefix="llmeval-prepare")
        self._lock = threading.Lock()
        self._failures_in_a_row = 0
        self._busy = 0
        self._since = 0.0
        self.slots = asyncio.Semaphore(2 * model.concurrency)
        self.seconds = 0.0
        self.given_up: InvalidResult | None = None

    async def answer(self, requests: Sequence[Request]) -> Answers:
        """Answer a batch; where the model breaks on it, its questions one by one.

        Raises:
            LlmevalError: the model says that no question can be answered.
        """
        if not self._busy:
            self._since = time.monotonic()
        self._busy += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._workers, self._answer_or_bisect, requests)
        finally:
            self._busy -= 1
            if not self._busy:
                self.seconds += time.monotonic() - self._since

    async def prepare(self, requests: Sequence[Request]) -> None:
        """Let the model warm up for questions that it may be asked later."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._preparer, self._model.prepare, requests)

    def close(self) -> None:
        """End the threads; a batch that is being answered is waited for."""
        self._preparer.shutdown(wait=False, cancel_futures=True)
        self._workers.shutdown(cancel_futures=True)
        self._preparer.shutdown()

    def _answer_or_bisect(self, requests: Sequence[Request]) -> Answers:
        """Answer a batch; where the model breaks on it, find the questions that break it."""
        if self.given_up is not None:
            return Answers([Failure(str(self.given_up))] * len(requests))
        try:
            answers = self._model.answer(requests)
            if len(answers.responses) != len(requests):
                raise RuntimeError(
                    f"the model gave {len(answers.responses)} answers to {len(requests)} questions"
                )
            self._failures_in_a_row = 0
            return answers
        except LlmevalError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
        if len(requests) == 1:
            self._note_failure(reason)
            return Answers([Failure(reason)])
        half = len(requests) // 2
        parts = [self._answer_or_bisect(requests[:half]), self._answer_or_bisect(requests[half:])]
        return Answers(
            [response for part in parts for response in part.responses],
            sum(part.computed_tokens for part in parts),
            sum(part.distinct_tokens for part in parts),
        )

    def _note_failure(self, reason: str) -> None:
        with self._lock:  # several threads may fail at once
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= _FAILURES_IN_A_ROW:
                self.given_up = InvalidResult(
                    f"the model failed {_FAILURES_IN_A_ROW} times in a row, last with {reason}",
                    mend="answers so far are kept; mend the model, then give the same command",
                )
