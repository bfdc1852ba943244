"""The server: one handler that finds the endpoint, and what each endpoint does."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import orjson
from aiohttp import web

from . import chat, completions, faults, models, responses, wire
from .batches import Batches
from .ledger import Ledger, digest
from .limits import Bucket
from .options import Options
from .wire import ApiError, Json

_MODEL_PATHS = {
    "/v1/chat/completions": ("no_chat", chat.answer),
    "/v1/completions": ("no_completions", completions.answer),
    "/v1/responses": ("no_responses", responses.answer),
}
_LARGEST = 1 << 30  # bytes of a body: a batch's input file
_NO_HEADERS: dict[str, str] = {}


class Mock:
    """A mock server's state; ``handle`` answers every request."""

    def __init__(self, options: Options, ledger: Ledger) -> None:
        self.ledger = ledger
        self._serial = 0
        self._configure(options)
        self._batches = Batches(self._answer, ledger)

    def _configure(self, options: Options) -> None:
        self.options = options
        self._bucket = None
        if options.requests_per_minute:
            self._bucket = Bucket(options.requests_per_minute)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request; a fault may end its connection."""
        path = request.raw_path
        try:
            if path in _MODEL_PATHS and request.method == "POST":
                return await self._ask(request, path)
            if path.startswith("/_"):
                return await self._control(request, path)
            return await self._serve(request, path.partition("?")[0])
        except ApiError as error:
            return await faults.send(request, orjson.dumps(error.body), error.status)
        except ConnectionError:
            return faults.gone()

    async def _ask(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """Answer a request to a model, counted while it is in flight."""
        self.ledger.enter()
        try:
            return await self._answer_request(request, path)
        finally:
            self.ledger.in_flight -= 1

    async def _answer_request(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        raw = await request.read()
        ledger, options = self.ledger, self.options
        ledger.requests += 1
        ledger.by_path[path] += 1
        try:
            self._check_key(request)
            body = _parse(raw)
        except ApiError as error:
            return await self._refuse(request, error.status, {}, error.body)
        ledger.last = {"path": path, "headers": request.headers, "body": body}
        limited = self._limit()
        if limited:
            status, headers, reply = limited
            ledger.by_fault["rate-limit" if status == 429 else "overload"] += 1
            return await self._refuse(request, status, headers, reply)
        # attempts are those that got past the limits: faults do not depend on the time
        question = digest(path, body)
        kind, coin = faults.choose(options, question, ledger.attempt(question))
        await self._wait()
        status, reply = self._answer(path, body, self._next_ident())
        if status != 200:
            return await self._refuse(request, status, {}, reply)
        if kind:
            ledger.by_fault[kind] += 1
        headers = _NO_HEADERS
        if self._bucket is not None:
            headers = {"Content-Type": "application/json", **self._bucket.headers()}
        count = None
        if not kind or kind in faults.SOUND:
            count = partial(ledger.answer, question)
        response = await self._deliver(request, kind, coin, reply, headers, count)
        ledger.by_status[response.status] += 1
        return response

    async def _deliver(
        self,
        request: web.BaseRequest,
        kind: str,
        coin: int,
        reply: Json,
        headers: dict[str, str],
        count: faults.Count | None,
    ) -> web.StreamResponse:
        """Send a sound answer, or what a fault makes of it."""
        if kind in faults.REFUSALS:
            status, more, payload = faults.refusal(kind, self.options)
            return await faults.send(request, payload, status, {**headers, **more})
        if kind in faults.OF_CONTENT:
            reply = faults.spoil(kind, reply, coin)
        payload = orjson.dumps(reply)
        return await faults.transmit(kind, request, payload, coin, self.options, headers, count)

    async def _refuse(
        self, request: web.BaseRequest, status: int, headers: dict[str, str], reply: Json
    ) -> web.StreamResponse:
        self.ledger.by_status[status] += 1
        headers = {"Content-Type": "application/json", **headers}
        return await faults.send(request, orjson.dumps(reply), status, headers)

    def _answer(self, path: str, body: Any, ident: str) -> tuple[int, Json]:
        """Return a model endpoint's status and answer; a function of the body alone."""
        off, answer = _MODEL_PATHS.get(path, ("", None))
        try:
            if answer is None or getattr(self.options, off):
                raise ApiError(404, f"Invalid URL (POST {path})")
            if not isinstance(body, dict):
                raise ApiError(400, "We expected a JSON object.")
            return 200, answer(body, self.options, ident)
        except ApiError as error:
            return error.status, error.body
        except (TypeError, AttributeError) as error:
            # a value of a wrong type, somewhere in the body
            return 400, wire.error_body(400, f"Invalid body: {error}")

    def _check_key(self, request: web.BaseRequest) -> None:
        key = self.options.api_key
        if key and request.headers.get("Authorization") != f"Bearer {key}":
            message = "Incorrect API key provided: sk-***"
            raise ApiError(401, message, code="invalid_api_key")

    def _limit(self) -> tuple[int, dict[str, str], Json] | None:
        """Return the refusal of a request beyond a limit."""
        most = self.options.max_in_flight
        if most and self.ledger.in_flight > most:
            return 503, {}, wire.error_body(503, "The engine is currently overloaded.")
        if self._bucket is None:
            return None
        wait = self._bucket.take()
        if not wait:
            return None
        message = f"Rate limit reached: please try again in {wait:.3f}s."
        body = wire.error_body(429, message, code="rate_limit_exceeded")
        return 429, {**self._bucket.headers(), "Retry-After": f"{wait:.3f}"}, body

    async def _wait(self) -> None:
        seconds = self.options.latency
        if seconds:
            if self.options.latency_growth:
                seconds *= max(1.0, self.ledger.in_flight / self.options.capacity)
            await asyncio.sleep(seconds)

    def _next_ident(self) -> str:
        self._serial += 1
        return f"{self._serial:08d}"

    async def _control(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """Answer a test's own calls."""
        if path == "/_set":
            try:
                self._configure(self.options.changed(orjson.loads(await request.read())))
            except (TypeError, ValueError) as error:
                return await faults.send(request, orjson.dumps({"error": str(error)}), 400)
        elif path == "/_reset":
            self.ledger.reset()
        elif path != "/_stats":
            return await faults.send(request, b"{}", 404)
        return await faults.send(request, orjson.dumps(self.ledger.stats()))

    async def _serve(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """Answer what is no model endpoint."""
        self.ledger.by_path[path] += 1
        self._check_key(request)
        kind, coin = "", 0
        if self.options.fault_everywhere:
            call = f"{request.method} {path}"
            kind, coin = faults.choose(self.options, call, self.ledger.attempt_other(call))
        if kind in faults.OF_CONTENT:
            kind = ""
        if kind:
            self.ledger.by_fault[kind] += 1
        if kind in faults.REFUSALS:
            status, headers, payload = faults.refusal(kind, self.options)
            return await faults.send(request, payload, status, headers)
        reply = await self._call(request, request.method, path)
        payload = reply if isinstance(reply, bytes) else orjson.dumps(reply)
        return await faults.transmit(kind, request, payload, coin, self.options, _NO_HEADERS)

    async def _call(self, request: web.BaseRequest, method: str, path: str) -> Json | bytes:
        options = self.options
        if path == "/v1/models" and method == "GET" and not options.no_models:
            return models.describe(options)
        if path in ("/tokenize", "/detokenize") and method == "POST" and not options.no_tokenize:
            body = _parse(await request.read())
            if path == "/tokenize":
                return models.tokenize(body, options)
            return models.detokenize(body)
        parts = path.strip("/").split("/")
        if parts[0] == "v1" and not options.no_batches:
            match method, parts[1:]:
                case "POST", ["files"]:
                    return await self._upload(request)
                case "GET", ["files", ident]:
                    return self._batches.file(ident).describe()
                case "DELETE", ["files", ident]:
                    return self._batches.delete(ident)
                case "GET", ["files", ident, "content"]:
                    return self._batches.file(ident).content
                case "POST", ["batches"]:
                    return self._batches.create(_parse(await request.read()), options)
                case "GET", ["batches"]:
                    query = request.query
                    limit = int(query.get("limit", "20"))
                    return self._batches.list(options, limit, query.get("after", ""))
                case "GET", ["batches", ident]:
                    return self._batches.get(ident, options)
                case "POST", ["batches", ident, "cancel"]:
                    return self._batches.cancel(ident, options)
        raise ApiError(404, f"Invalid URL ({method} {path})")

    async def _upload(self, request: web.BaseRequest) -> Json:
        form = await request.post()
        file = form.get("file")
        if not isinstance(file, web.FileField):
            raise ApiError(400, "Missing required parameter: 'file'.", param="file")
        return self._batches.upload(file.filename, file.file.read(), str(form.get("purpose")))


def _parse(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        message = "We could not parse the JSON body of your request."
        raise ApiError(400, message) from error


class _Counting(web.Server):
    """aiohttp's low-level server, with a count of the connections."""

    ledger: Ledger

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        self.ledger.connections += 1
        super().connection_made(handler, transport)


async def listen(mock: Mock, port: int, keep_alive: float) -> tuple[asyncio.Server, int]:
    """Listen on 127.0.0.1 and return the server with its port; OSError where it is taken."""
    server = _Counting(
        mock.handle,
        request_factory=_make_request,
        # a client that goes away ends its request: in-flight counts stay true
        handler_cancellation=True,
        access_log=None,
        keepalive_timeout=keep_alive,
    )
    server.ledger = mock.ledger
    listening = await asyncio.get_running_loop().create_server(
        server, "127.0.0.1", port, reuse_address=True, backlog=4096
    )
    return listening, listening.sockets[0].getsockname()[1]


def _make_request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> Any:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_LARGEST)
