"""Requests over the wire: one session of many connections, and what each kind of fault means.

The openai client costs 0.4 to 1 ms of CPU a request, on whichever HTTP library; aiohttp by itself
0.13 ms (``bench/README.md``). So bodies go out through aiohttp as they are, and the openai client
does what is rare: files and batches.
"""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import math
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from llmeval.core.errors import LlmevalError, TryAgain, UsageError

if TYPE_CHECKING:
    import aiohttp

_TRANSIENT = {408, 409, 423, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529}
_OVERLOADED = {429, 503, 529}
_UNREACHABLE = {502, 503, 504, 521, 522, 523, 524}
_NO_CREDIT = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_CONTEXT = re.compile(
    r"context.?(length|size)|maximum (context|prompt)|context window|max_model_len|too long"
    r"|longer than the max|tokens \+ .max_new_tokens",
    re.IGNORECASE,
)
_FILTER = re.compile(
    r"content.?filter|content management policy|safety system|violating our usage policy",
    re.IGNORECASE,
)
_KEY_LIKE = re.compile(r"\b(sk|pk|key|gsk|xai|tok)[-_][\w-]{6,}|Bearer\s+\S+", re.IGNORECASE)
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_LONGEST_MESSAGE = 500
_INSIST = 4
NO_CONNECTION = "no connection"

T = TypeVar("T")


class QuestionRefused(Exception):
    """The server refused this question and would not refuse others.

    Args:
        reason: its message.
        filtered: a content filter refused it.
    """

    def __init__(self, reason: str, *, filtered: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.filtered = filtered


class TrialFailed(UsageError):
    """The server did not answer what was to tell what it has: no verdict."""


@dataclass(frozen=True, slots=True)
class Received:
    """An answer's JSON, and the seconds in which the server wants no further call."""

    body: dict[str, Any]
    wait: float = 0.0


class Transport:
    """Posts JSON to one server.

    Args:
        base_url: up to and with ``/v1``.
        headers: with the key; never shown.
        query: parameters of every URL.
        secrets: texts that must not stand in any message.
        deadline: seconds of a call before a run; in a run the engine has its own.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        secrets: frozenset[str] = frozenset(),
        deadline: float = 600.0,
    ) -> None:
        self.base_url = base_url
        self.headers = {**headers, "Content-Type": "application/json"}
        self.query = dict(query)
        self.deadline = deadline
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def post(self, path: str, body: Mapping[str, Any]) -> Received:
        """Post to an endpoint under the base URL and return what it answers.

        Raises:
            TryAgain: a fault that may pass.
            QuestionRefused: this question is refused, others need not be.
            UsageError: every question would be refused.
        """
        data = orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
        return await self._request("POST", self.base_url + path, data)

    async def post_beside(self, path: str, body: Mapping[str, Any]) -> Received:
        """Post beside ``/v1`` instead of under it, as vLLM's own endpoints are."""
        root = self.base_url.removesuffix("/v1")
        return await self._request("POST", root + path, orjson.dumps(body))

    async def get(self, path: str) -> Received:
        """Get an endpoint under the base URL; errors as for :meth:`post`."""
        return await self._request("GET", self.base_url + path, None)

    async def insist(self, step: Callable[[], Awaitable[T]]) -> T:
        """Take a step a few times until it succeeds: before a run, no engine does that.

        Raises:
            TryAgain: it never did.
        """
        for attempt in range(_INSIST):
            try:
                async with asyncio.timeout(self.deadline):
                    return await step()
            except TimeoutError:
                if attempt:
                    reason = f"no answer within {self.deadline:g} s (-a timeout=SECONDS)"
                    raise TryAgain(reason, unreachable=True) from None
            except TryAgain as fault:
                if attempt + 1 == _INSIST or fault.reason.startswith(NO_CONNECTION):
                    raise
                await asyncio.sleep(min(fault.after or 0.3 * 2**attempt, 30.0))
        raise AssertionError("the last attempt returns or raises")

    async def try_out(self, path: str, body: Mapping[str, Any]) -> Received:
        """Post what is to tell what the server has, as :meth:`insist`.

        Raises:
            TrialFailed: it did not answer, which says nothing of what it has.
        """
        try:
            return await self.insist(lambda: self.post(path, body))
        except TryAgain as fault:
            raise TrialFailed(
                f"the server did not answer a trial: {fault.reason}",
                where=self.base_url,
                mend="give the same command again",
            ) from None

    async def hang_up(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _request(self, method: str, url: str, data: bytes | None) -> Received:
        import aiohttp

        session = self._session
        if session is None or self._loop is not asyncio.get_running_loop():
            session = self._open()
        try:
            async with session.request(method, url, data=data, params=self.query) as answer:
                content = await answer.read()
        except aiohttp.ClientConnectorCertificateError as error:
            raise UsageError(f"no trusted connection: {error}", where=url) from error
        except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError) as error:
            raise TryAgain(f"{NO_CONNECTION}: {_os_reason(error)}", unreachable=True) from error
        except aiohttp.ClientPayloadError as error:
            raise TryAgain("the answer broke off") from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            raise TryAgain("the connection was lost", unreachable=True) from error
        except aiohttp.InvalidURL as error:
            raise UsageError(f"no URL: {error}", where="base_url") from error
        except aiohttp.ClientError as error:
            raise TryAgain(f"not HTTP: {type(error).__name__}") from error
        if answer.status != 200:
            raise self.explain(answer.status, answer.headers, content, url)
        return self._read(answer.headers, content, url)

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        # The engine bounds connections and seconds. Proxies are looked up at every request, so
        # only where there are any.
        proxies = any(os.environ.get(n) or os.environ.get(n.upper()) for n in _PROXIES)
        self._loop = asyncio.get_running_loop()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
            headers=self.headers,
            trust_env=proxies,
            raise_for_status=False,
        )
        return self._session

    def _read(self, headers: Mapping[str, str], content: bytes, url: str) -> Received:
        try:
            body = orjson.loads(content)
        except orjson.JSONDecodeError:
            raise TryAgain("the answer is not JSON" if content else "the answer is empty") from None
        if not isinstance(body, dict):
            raise TryAgain("the answer is not a JSON object")
        if "error" in body and body["error"] and not body.get("choices"):
            error = body["error"]  # some providers send faults with status 200
            status = error.get("code") if isinstance(error, dict) else None
            status = status if isinstance(status, int) and 400 <= status < 600 else 500
            raise self.explain(status, headers, content, url)
        return Received(body, _read_wait(headers))

    def explain(
        self, status: int, headers: Mapping[str, str], content: bytes, url: str
    ) -> LlmevalError | TryAgain | QuestionRefused:
        """Return what an error status means."""
        message, code = _read_error(content)
        message = self.redact(message)
        if status in _TRANSIENT and code not in _NO_CREDIT:
            return TryAgain(
                f"the server answered {status}",
                after=_read_retry_after(headers),
                overloaded=status in _OVERLOADED,
                unreachable=status in _UNREACHABLE,
            )
        if status in (400, 413, 422):
            if _FILTER.search(f"{code} {message}"):
                return QuestionRefused(message, filtered=True)
            if _CONTEXT.search(f"{code} {message}"):
                return QuestionRefused(message, filtered=False)
        what = f"the server answered {status}: {message}"
        mend = _MENDS.get(status)
        if status == 401 and not self._secrets:
            mend = "no key was sent: name its variable, -a key_env=OPENAI_API_KEY"
        return UsageError(what, where=url, mend=mend)

    def redact(self, text: str) -> str:
        """Return a text on one line without anything that is or looks like a key."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = " ".join(_KEY_LIKE.sub("***", text).split())
        return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}..."


_MENDS = {
    401: "check the key: the environment variable that key_env names",
    402: "the account has no credit",
    403: "the key may not do this",
    404: "check --base-url, which ends in /v1 for most servers, and the model's name",
    429: "the account has no credit; answers so far are kept",
}


def _os_reason(error: Exception) -> str:
    """Return what the system said, without the address, which the reader knows."""
    cause = getattr(error, "os_error", None)
    number = getattr(cause, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return (str(cause or error).splitlines() or [type(error).__name__])[0]


def _read_error(content: bytes) -> tuple[str, str]:
    """Return the message and the code of an error's body, which may be anything."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return content.decode("utf-8", "replace").strip() or "no message", ""
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return str(error), ""
    message = error.get("message") or error.get("detail") or error
    return str(message), str(error.get("code") or error.get("type") or "")


def _read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the server asks to wait, by the headers that are in use for that."""
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    after = headers.get("Retry-After")
    if (seconds := _number(after)) is not None:
        return seconds
    if after:
        try:
            date = email.utils.parsedate_to_datetime(after)
        except ValueError:
            return _read_span(after)
        date = date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
        now = datetime.datetime.now(datetime.UTC)
        return max(0.0, (date - now).total_seconds())
    return _read_wait(headers) or None


def _read_wait(headers: Mapping[str, str]) -> float:
    """Return the seconds until a rate limit that is used up is reset; 0 where none is."""
    wait = 0.0
    for kind in ("requests", "tokens"):
        if headers.get(f"x-ratelimit-remaining-{kind}") == "0":
            wait = max(wait, _read_span(headers.get(f"x-ratelimit-reset-{kind}")) or 0.0)
    return wait


def _read_span(text: str | None) -> float | None:
    """Read ``1.5s``, ``6m0s``, ``20ms`` or bare seconds."""
    if text is None:
        return None
    parts = _SPAN.findall(text)
    return sum(float(n) * _SECONDS[unit] for n, unit in parts) if parts else _number(text)


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None
