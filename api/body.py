"""Reading a request's body: bounded, UTF-8, strict JSON without duplicate keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from api.problems import Problem, from_validation

if TYPE_CHECKING:  # 0.1 s to import, and the process aside has none
    from memrelay.settings import Settings

JSON = b"application/json"
MERGE_PATCH = b"application/merge-patch+json"
AT_ONCE_BYTES = 2**20
"""Bytes of a body that is read where single writes are, which must not wait: of all but memories to add."""
MOST_KEYS = 16_384
"""Keys of one object: more than the longest value holds, and an error is not made for each of a million."""


async def read_json(request: Request, limit: int, *, kinds: Sequence[bytes] = (JSON,)) -> bytes:
    """The whole body of a JSON request; 415 for a type that is none of ``kinds``, 413 as soon as it is over
    ``limit`` bytes.

    Asking for the type also keeps a web page elsewhere from posting here without a preflight.
    """
    for name, value in request.scope["headers"]:
        if name == b"content-type" and value.partition(b";")[0].strip().lower() not in kinds:
            raise Problem(415, "unsupported_media_type", "Send Content-Type: application/json.")
        if name == b"content-encoding" and value.lower() != b"identity":
            raise Problem(415, "unsupported_media_type", "Send JSON without a Content-Encoding.")
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise _too_large(limit)
    chunks, size = [], 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
    return b"".join(chunks)


def parse_json(body: bytes, what: str = "The body") -> Any:
    """The value of a JSON text; 400 for what is not strict JSON in UTF-8, which begins with ``what``."""
    try:
        return _decoder.decode(body.decode())
    except UnicodeDecodeError:
        raise Problem(400, "not_utf8", f"{what} is not UTF-8.") from None
    except RecursionError:
        raise Problem(400, "too_deep", f"{what} is nested too deeply.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Problem(400, "not_json", f"{what} is not JSON: {error.msg} at {where}.") from None
    except ValueError as error:
        raise Problem(400, "not_json", f"{what} is not JSON: {error}.") from None


def at_once(settings: Settings) -> int:
    """The bound on a body that is read on the event loop."""
    return min(AT_ONCE_BYTES, settings.body_limit)


async def read_model[M: BaseModel](request: Request, model: type[M], limit: int) -> M:
    """The body as ``model``: 400, 413, 415 or 422 with pointers."""
    return validate(model, parse_json(await read_json(request, limit)))


async def read_model_and_raw[M: BaseModel](
    request: Request, model: type[M], limit: int
) -> tuple[M, bytes]:
    """As ``read_model``, with the bytes that it was."""
    raw = await read_json(request, limit)
    return validate(model, parse_json(raw)), raw


def validate[M: BaseModel](model: type[M], value: Any, prefix: str = "") -> M:
    """``value`` as ``model``, or 422 with pointers below ``prefix``."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise from_validation(error, prefix) from None


def _too_large(limit: int) -> Problem:
    return Problem(413, "too_large", f"The body is larger than {limit} bytes.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_KEYS:
        raise ValueError(f"an object has more than {MOST_KEYS} keys")
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has the same key twice")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
