"""Answers of /v1/models, /tokenize and /detokenize, in vLLM's shapes."""

from __future__ import annotations

from . import wire
from .language import decode, encode, pieces
from .options import Options
from .wire import ApiError, Json


def describe(options: Options) -> Json:
    """Return the list of the one model."""
    model = {
        "id": options.model,
        "object": "model",
        "created": wire.now(),
        "owned_by": "mock",
        "root": options.model,
        "max_model_len": options.max_model_len,
    }
    return {"object": "list", "data": [model]}


def tokenize(body: Json, options: Options) -> Json:
    """vLLM's /tokenize, of a prompt or of messages; the language has no special tokens."""
    prompt = body.get("prompt")
    if prompt is None:
        prompt = wire.render(body.get("messages"))[0]
    tokens = [encode(piece) for piece in pieces(prompt)]
    return {"count": len(tokens), "max_model_len": options.max_model_len, "tokens": tokens}


def detokenize(body: Json) -> Json:
    """vLLM's /detokenize; ApiError for an id that is no token."""
    try:
        return {"prompt": "".join(map(decode, body["tokens"]))}
    except (KeyError, TypeError, ValueError) as error:
        raise ApiError(400, f"Invalid 'tokens': {error}", param="tokens") from error
