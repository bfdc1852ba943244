"""The lines of a batch: what a served model would be asked call by call, and what came back.

The one place that looks inside a served model, so that a batch asks and reads as its calls do.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from llmeval.core.errors import TryAgain, UsageError
from llmeval.core.hashes import fingerprint
from llmeval.core.requests import GenerateRequest, Request
from llmeval.core.responses import Failure, Generation, Response
from llmeval.models.served.batch_service import BatchService
from llmeval.models.served.model import OpenAIModel
from llmeval.models.served.prices import PriceTag
from llmeval.models.served.transport import QuestionRefused

_VERSION = "/v1"  # a line's url is the provider's own, whatever stands before it in its address


@dataclass(frozen=True, slots=True)
class Line:
    """One call of a batch.

    Attributes:
        custom_id: names the questions and the model, nothing else: whatever is asked with them,
            the same call has the same name.
        members: indices of the questions among those that were asked together.
        requests: the questions.
        url: of the endpoint.
        data: the line as JSON with its end; empty where ``fault`` says why there is none.
    """

    custom_id: str
    members: Sequence[int]
    requests: Sequence[GenerateRequest]
    url: str
    data: bytes
    fault: str | None = None

    def fail(self, reason: str) -> list[Response]:
        return [Failure(reason)] * len(self.requests)


class LineWriter:
    """Writes a served model's calls as lines and reads the answers."""

    def __init__(self, served: OpenAIModel) -> None:
        self._served = served
        self._counting = threading.Lock()

    def open_service(self) -> BatchService:
        """Return the batch service of the model's provider; asks it nothing yet."""
        transport = self._served.found.transport
        headers = {n: v for n, v in transport.headers.items() if n.lower() != "content-type"}
        timeout = self._served.traffic.deadline
        return BatchService(transport.base_url, headers, transport.query, transport.redact, timeout)

    @property
    def price(self) -> PriceTag:
        """What a batch's answers cost."""
        return replace(self._served.price_tag, share=self._served.batch_share)

    def write(self, requests: Sequence[Request]) -> Iterator[Line]:
        """Yield the lines of what is asked together.

        Raises:
            UsageError: a question is none for a batch.
        """
        model = self._served.fingerprint
        for members in self._served.group(requests):
            group = [_require_generate(requests[i], self._served.name) for i in members]
            yield self._write_line(model, members, group)

    def _write_line(
        self, model: str, members: Sequence[int], group: Sequence[GenerateRequest]
    ) -> Line:
        wire = self._served.wire_of(group[0])
        name = fingerprint([model, *([r.kind, r.canonical()] for r in group)])
        call = {
            "custom_id": name,
            "method": "POST",
            "url": _VERSION + wire.PATH,
            "body": wire.encode(self._served.found.dialect, group),
        }
        try:
            data = orjson.dumps(call, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE)
        except TypeError as error:  # half a surrogate pair, which is no UTF-8
            fault = f"the question cannot be sent: {error}"
            return Line(name, members, group, call["url"], b"", fault)
        return Line(name, members, group, call["url"], data)

    def read(self, line: Line, row: Mapping[str, Any]) -> list[Response]:
        """Return the answers of a line of an output or error file."""
        answer, error = row.get("response"), row.get("error")
        if not isinstance(answer, dict):
            return line.fail(self._redact(_message(error) or "the batch gave no answer to it"))
        status, body = answer.get("status_code"), answer.get("body")
        if status != 200 or not isinstance(body, dict):
            return self._read_refusal(line, status, body)
        with self._counting:  # several files may be read at once
            self._served.note_server(body)
        try:
            return list(self._served.wire_of(line.requests[0]).decode(line.requests, body))
        except TryAgain as fault:
            return line.fail(fault.reason)

    def _read_refusal(self, line: Line, status: Any, body: Any) -> list[Response]:
        """Tell, as a call does, a question that a filter refused from a call that failed."""
        transport = self._served.found.transport
        content = orjson.dumps(body)
        code = status if isinstance(status, int) else 500
        fault = transport.explain(code, {}, content, transport.base_url)
        if isinstance(fault, QuestionRefused):
            if fault.filtered:
                return [Generation("", finish_reason="content_filter")] * len(line.requests)
            return line.fail(f"the server refused it: {fault.reason}")
        said = _message(body.get("error", body) if isinstance(body, dict) else body)
        return line.fail(self._redact(f"the server answered {status}: {said or 'no message'}"))

    def _redact(self, text: str) -> str:
        return self._served.found.transport.redact(text)


def _require_generate(request: Request, model: str) -> GenerateRequest:
    if isinstance(request, GenerateRequest):
        return request
    raise UsageError(
        f"a batch has no log-probabilities of texts, and a task asks {model} for them",
        where="--batch",
        mend="leave --batch out, or ask for choices by letter with -a api=chat",
    )


def _message(error: Any) -> str:
    if isinstance(error, dict):
        error = error.get("message") or error.get("code")
    return str(error) if error else ""
