"""What the shapes of the API have in common: errors, checks of a body, usage."""

from __future__ import annotations

import re
import time
from typing import Any
from zlib import crc32

from .language import Generation, Reader, generate, mix, pieces
from .options import Options

Json = dict[str, Any]

_ORDER = re.compile(r"\[\[(\w+)(?::(.*?))?\]\]", re.DOTALL)
_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "insufficient_quota"}


class ApiError(Exception):
    """An answer that is an error: its status and OpenAI's error object."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(status, message, code=code, param=param)


def error_body(
    status: int, message: str, *, code: str | None = None, param: str | None = None
) -> Json:
    """Return OpenAI's error object."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    if status == 429:
        kind = "insufficient_quota" if code == "insufficient_quota" else "requests"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def unsupported(name: str, instead: str = "") -> ApiError:
    """Return what a reasoning model answers to a parameter that it does not know."""
    message = f"Unsupported parameter: '{name}' is not supported with this model."
    if instead:
        message += f" Use '{instead}' instead."
    return ApiError(400, message, code="unsupported_parameter", param=name)


def refuse_parameters(body: Json, options: Options) -> None:
    """Raise ApiError for what a reasoning model does not take."""
    if not options.reasoning:
        return
    if body.get("max_tokens") is not None:
        raise unsupported("max_tokens", "max_completion_tokens")
    for name in ("temperature", "stop", "top_p", "logprobs"):
        if body.get(name) is not None:
            raise unsupported(name)


def check_model(body: Json, options: Options) -> str:
    """Return the model asked for."""
    model = body.get("model")
    if not isinstance(model, str):
        raise ApiError(400, "you must provide a model parameter")
    if options.strict_model and model != options.model:
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise ApiError(404, message, code="model_not_found")
    return model


def read_count(body: Json, name: str, default: int, least: int) -> int:
    """Return an integer of the body, or the default where it is absent or null."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        message = f"Invalid type for '{name}': expected an integer, but got {value!r} instead."
        raise ApiError(400, message, code="invalid_type", param=name)
    if value < least:
        message = (
            f"Invalid '{name}': integer below minimum value. "
            f"Expected a value >= {least}, but got {value} instead."
        )
        raise ApiError(400, message, code="integer_below_min_value", param=name)
    return value


def read_top(body: Json, name: str, options: Options) -> int:
    """Return how many alternatives are asked for, within the server's limit."""
    count = read_count(body, name, 0, 0)
    if count > options.max_top_logprobs:
        message = (
            f"Invalid '{name}': integer above maximum value. Expected a value <= "
            f"{options.max_top_logprobs}, but got {count} instead."
        )
        raise ApiError(400, message, code="integer_above_max_value", param=name)
    return count


def read_stops(body: Json, options: Options) -> list[str]:
    """Return the stop sequences."""
    stop = body.get("stop")
    stops = [stop] if isinstance(stop, str) else list(stop or [])
    if len(stops) > options.max_stop:
        message = (
            f"Invalid 'stop': array too long. Expected an array with maximum length "
            f"{options.max_stop}, but got an array with length {len(stops)} instead."
        )
        raise ApiError(400, message, code="array_above_max_length", param="stop")
    return [stop for stop in stops if stop]


def check_length(tokens: int, options: Options, param: str) -> None:
    """Raise ApiError for a prompt beyond the context."""
    if tokens >= options.max_model_len:
        raise too_long(tokens, options, param)


def too_long(tokens: int, options: Options, param: str) -> ApiError:
    """Return OpenAI's error for a prompt of so many tokens."""
    message = (
        f"This model's maximum context length is {options.max_model_len} tokens. However, your "
        f"{param} resulted in {tokens} tokens. Please reduce the length of the {param}."
    )
    return ApiError(400, message, code="context_length_exceeded", param=param)


def read_order(prompt: str, options: Options, param: str) -> tuple[str, str]:
    """Return the last ``[[order:argument]]`` of a prompt, ("", "") without one.

    The orders that are errors, ``context`` and a status, are raised as ApiError.
    """
    found = _ORDER.findall(prompt) if "[[" in prompt else None
    if not found:
        return "", ""
    order, argument = found[-1]
    if order == "context":
        raise too_long(options.max_model_len + 1, options, param)
    if order.isdigit():
        status = int(order)
        raise ApiError(status, argument or f"As asked: {status}", code=_CODES.get(status))
    return order, argument


def salt_of(body: Json, index: int, n: int) -> int | None:
    """Return what a sample depends on besides its prefix; None at temperature 0."""
    temperature = body.get("temperature")
    if temperature is not None and temperature <= 0:
        return None
    return mix(crc32(f"{body.get('seed')}|{index}|{n}".encode()))


def think(prompt: str, budget: int, options: Options) -> Generation:
    """Return a reasoning model's thought, cut at the budget; empty for another model."""
    wanted = options.reasoning_tokens if options.reasoning else 0
    return generate(Reader(prompt + "<think>"), min(budget, wanted), endless=True)


def said_by(order: str, argument: str) -> list[str] | None:
    """Return the pieces that an order has the model say, None where it is free."""
    said = {"say": argument, "think": "<think>some thought</think>answer", "filter": "", "tool": ""}
    return pieces(said[order]) if order in said else None


def cached(tokens: int, options: Options) -> int:
    """Return how many tokens of a prompt are said to come from the cache."""
    return int(tokens * options.cached_share)


def usage_of(prompt: int, completion: int, options: Options, reasoning: int = 0) -> Json:
    """Return the usage object of chat and completions; counts are tokens."""
    usage: Json = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if options.cached_share:
        usage["prompt_tokens_details"] = {"cached_tokens": cached(prompt, options)}
    if options.reasoning:
        usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return usage


def text_of(content: Any) -> str:
    """Return the text of a message's content, a text or a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or [])


def render(messages: Any) -> tuple[str, str]:
    """Return the prompt that messages make, and the last user message."""
    if not isinstance(messages, list) or not messages:
        raise ApiError(400, "Invalid 'messages': empty array.", param="messages")
    lines, last = [], ""
    for message in messages:
        text = text_of(message.get("content"))
        lines.append(f"{message.get('role')}: {text}\n")
        if message.get("role") == "user":
            last = text
    return "".join(lines) + "assistant:\n", last


def now() -> int:
    """Return the time as the API gives it, in whole seconds."""
    return int(time.time())
