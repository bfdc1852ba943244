"""The provider's files and batches, through the openai client: what is rare and not worth our own.

Its exceptions become errors of one line without a key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmeval.core.errors import UsageError

if TYPE_CHECKING:
    import openai

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
RETRY_SECONDS = 1.0
"""Before the second attempt at creating a batch; doubled from then on."""

_ATTEMPTS = 6
_CLOCKS_APART = 900.0  # seconds by which the service's clock may differ from ours
_OURS = "llmeval"  # our field of a batch's metadata
_MENDS = {
    401: "check the key: the environment variable that key_env names",
    403: "the key may not do this",
    404: "check --base-url; a server without a batch service is asked without --batch",
}


class ServiceUnreachable(UsageError):
    """The service gave no answer, several times; it may give one later. Exit code 2."""


@dataclass(frozen=True, slots=True)
class BatchState:
    """A batch as the service describes it.

    Attributes:
        status: ``validating``, ``in_progress``, ``finalizing``, ``completed``, ``failed``,
            ``expired``, ``cancelling`` or ``cancelled``.
        created: seconds since the epoch.
        files: ids of the files with answers and with errors.
        reason: why it failed.
    """

    ident: str
    status: str
    created: float
    files: tuple[str, ...] = ()
    reason: str = ""

    @property
    def ended(self) -> bool:
        return self.status in ENDED


class BatchService:
    """Hands in batches and brings back what became of them. Use from any thread.

    Args:
        base_url, headers, query: of the API, the key among the headers.
        redact: takes secrets out of a text.
        timeout: seconds without a sign from the service after which a call is tried again.

    Raises:
        UsageError: the service refuses.
        ServiceUnreachable: it does not answer.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        redact: Callable[[str], str],
        timeout: float,
    ) -> None:
        self.base_url = base_url
        self._headers = dict(headers)
        self._query = dict(query)
        self._redact = redact
        self._timeout = timeout
        self._opened: openai.OpenAI | None = None

    @property
    def _client(self) -> openai.OpenAI:
        if self._opened is None:
            import openai

            self._opened = openai.OpenAI(
                base_url=self.base_url,
                api_key="none",
                default_headers=self._headers,
                default_query=self._query,
                max_retries=_ATTEMPTS - 1,
                timeout=self._timeout,
            )
        return self._opened

    @property
    def _extra(self) -> dict[str, Any]:
        """Headers of a call: where no key is a bearer token, the client must not send one."""
        import openai

        names = {name.lower() for name in self._headers}
        return {} if "authorization" in names else {"Authorization": openai.Omit()}

    def close(self) -> None:
        client, self._opened = self._opened, None
        if client is not None:
            client.close()

    def upload(self, content: bytes, digest: str) -> str:
        """Upload a batch's lines and return the file's id."""
        with self._explained("/files"):
            name = f"llmeval-{digest}.jsonl"
            return self._client.files.create(
                file=(name, content), purpose="batch", extra_headers=self._extra
            ).id

    def create(self, file: str, endpoint: str, digest: str) -> BatchState:
        """Begin a batch over an uploaded file, exactly once.

        A call whose answer is lost may have begun one, so each further attempt looks first.

        Args:
            endpoint: which one its lines are for, e.g. ``/v1/chat/completions``.
            digest: what :meth:`find` finds it by.
        """
        began, wait = time.time(), RETRY_SECONDS
        for attempt in range(_ATTEMPTS):
            try:
                return self._create_once(file, endpoint, digest)
            except ServiceUnreachable:
                if attempt == _ATTEMPTS - 1:
                    raise
            time.sleep(wait)
            wait *= 2
            if found := self.find(digest, began):
                return found
        raise AssertionError

    def _create_once(self, file: str, endpoint: str, digest: str) -> BatchState:
        client: Any = self._client.with_options(max_retries=0)
        with self._explained("/batches"):
            batch = client.batches.create(
                input_file_id=file,
                endpoint=endpoint,
                completion_window="24h",
                metadata={_OURS: digest},
                extra_headers=self._extra,
            )
            return self._read_state(batch)

    def find(self, digest: str, since: float) -> BatchState | None:
        """Return the batch of a digest, begun at ``since`` or later; None where there is none.

        Args:
            since: seconds since the epoch.
        """
        with self._explained("/batches"):
            newest_first = self._client.batches.list(limit=100, extra_headers=self._extra)
            for batch in newest_first:
                if batch.created_at < since - _CLOCKS_APART:
                    return None
                if (batch.metadata or {}).get(_OURS) == digest:
                    return self._read_state(batch)
        return None

    def look(self, ident: str) -> BatchState:
        """Return what a batch has come to."""
        with self._explained(f"/batches/{ident}"):
            batch = self._client.batches.retrieve(ident, extra_headers=self._extra)
            return self._read_state(batch)

    def read(self, file: str) -> bytes:
        """Return the content of a file."""
        with self._explained(f"/files/{file}/content"):
            return bytes(self._client.files.content(file, extra_headers=self._extra).content)

    def _read_state(self, batch: Any) -> BatchState:
        files = (batch.output_file_id, batch.error_file_id)
        errors = batch.errors.data if batch.errors else None
        reasons = (str(error.message or error.code) for error in errors or ())
        return BatchState(
            ident=batch.id,
            status=batch.status,
            created=float(batch.created_at),
            files=tuple(file for file in files if file),
            reason=self._redact("; ".join(dict.fromkeys(reasons))),
        )

    @contextmanager
    def _explained(self, path: str) -> Iterator[None]:
        """Turn what the client raises into one line: what, where, and how to mend it."""
        import openai

        where = self.base_url + path
        try:
            yield
        except openai.APIStatusError as error:
            raise self._explain_status(error, where) from None
        except openai.APIConnectionError as error:
            reason = self._redact(str(error.__cause__ or error) or type(error).__name__)
            raise ServiceUnreachable(
                f"no connection: {reason}",
                where=where,
                mend="nothing is lost: the same command goes on",
            ) from None
        except (openai.OpenAIError, AttributeError, TypeError, ValueError) as error:
            what = f"its answer is none of a batch service: {self._redact(str(error))}"
            raise UsageError(what, where=where, mend=_MENDS[404]) from None

    def _explain_status(self, error: openai.APIStatusError, where: str) -> UsageError:
        status, body = error.status_code, error.body
        message = body.get("message") if isinstance(body, dict) else None
        what = f"the service answered {status}: {self._redact(str(message or error.message))}"
        passing = status in (408, 409, 425, 429) or status >= 500
        if passing and error.code != "insufficient_quota":
            mend = "nothing is lost: the same command goes on"
            return ServiceUnreachable(what, where=where, mend=mend)
        return UsageError(what, where=where, mend=_MENDS.get(status))
