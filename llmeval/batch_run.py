"""What a run does differently whose questions go to a batch service (``--batch``)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

from llmeval.core import InformedModel, Model, ServedModel, Submitted, UsageError
from llmeval.run_spec import RunSpec

AnyModel = Model | ServedModel | InformedModel
_NAMED = 3  # batches in a message


@runtime_checkable
class Deferring(Protocol):
    """A model that answers some questions only later."""

    @property
    def pending(self) -> Mapping[str, int]:
        """How many questions it has yet to answer, by the batch that they are in."""
        ...

    def settle(self) -> bool:
        """Wait, if that is wanted; return whether asking again may bring more."""
        ...


@contextlib.contextmanager
def handed_in(spec: RunSpec, model: AnyModel) -> Iterator[AnyModel]:
    """Give the model that a run asks: with ``--batch``, one that hands questions in.

    Raises:
        UsageError: the model has no batch service, or a limit is asked for that a batch has not.
    """
    if not spec.batch:
        yield model
        return
    from llmeval.models.served.batches import BatchedModel
    from llmeval.models.served.model import OpenAIModel

    if not isinstance(model, OpenAIModel):
        mend = "only openai:MODEL has one; leave --batch out"
        raise UsageError(f"{model.name} has no batch service", where="--batch", mend=mend)
    if model.describe()["base_url"] is None:
        mend = "a batch needs a server that stays; leave --batch out"
        raise UsageError("the server is started for this run alone", where="--batch", mend=mend)
    if spec.limits.usd is not None:
        mend = "--dry-run says what it costs at most; --max-requests bounds it"
        raise UsageError("a batch does not stop at a cost", where="--max-usd", mend=mend)
    # A journal of its own stands for answers of its own: no batch of another run gives them.
    own = spec.journal and spec.journal.with_suffix(".batches")
    folder = own or spec.workspace / ".llmeval" / "batches"
    batched = BatchedModel(model, folder, spec.batch_wait)
    try:
        yield batched
    finally:
        batched.close()


def require_collected(model: AnyModel) -> None:
    """Raise Submitted where a model has yet to answer questions: the run is not at its end."""
    if not isinstance(model, Deferring) or not model.pending:
        return
    named = list(model.pending)[:_NAMED]
    more = len(model.pending) - len(named)
    batches = ", ".join(named) + (f" and {more} more" if more else "")
    n = sum(model.pending.values())
    questions = "1 question is" if n == 1 else f"{n} questions are"
    raise Submitted(
        f"{questions} with the batch service as {batches}",
        mend="`llmeval run --resume` collects them, and so does the same command",
    )


def wait_for_batches(model: AnyModel) -> bool:
    """Wait for what is pending, if that is wanted; return whether another attempt is due."""
    return isinstance(model, Deferring) and model.settle()
