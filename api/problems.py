"""Errors on the wire: RFC 9457 problem+json. Nothing of the request is echoed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.responses import Response

from backends.journal import Changed, Full, KeyReused
from memrelay.errors import InvalidInput, Permanent, Transient, Unsupported
from memrelay.filters import escape_pointer

log = logging.getLogger("memrelay.api")
MEDIA_TYPE = "application/problem+json"
LOGIN = "/ui/login"
MAX_ERRORS = 20
MAX_POINTER = 256
TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    pointer: str
    """RFC 6901."""
    detail: str


class ProblemOut(BaseModel):
    """Every answer that is an error (RFC 9457). Nothing of the request is echoed."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str
    title: str
    status: int
    code: str
    """Stable, for programs."""
    detail: str
    request_id: str
    errors: list[FieldError] = []


class Problem(Exception):
    """An answer that is an error. ``errors`` are (pointer, detail) pairs."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = [(_sane(pointer), text) for pointer, text in errors]
        self.retry_after = retry_after
        self.headers = headers or {}

    def response(self, request_id: str) -> Response:
        body: dict[str, Any] = {
            "type": f"https://memrelay.dev/problems/{self.code}",
            "title": TITLES.get(self.status, "Error"),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.errors:
            body["errors"] = [{"pointer": p, "detail": detail} for p, detail in self.errors]
        headers = dict(self.headers)
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_after)))
        return Response(
            msgspec.json.encode(body), self.status, headers=headers, media_type=MEDIA_TYPE
        )


def not_found(what: str = "object") -> Problem:
    """One answer for what is absent and for what belongs to another namespace."""
    return Problem(404, "not_found", f"There is no such {what}.")


def refused(detail: str, *, shown: bool = True, login: bool = False) -> Problem:
    """For a caller without a good API key. ``shown``: one came along; ``login``: a page may ask for one."""
    challenge = 'Bearer realm="memrelay"' + (', error="invalid_token"' if shown else "")
    headers = {"WWW-Authenticate": challenge} | ({"HX-Redirect": LOGIN} if login else {})
    return Problem(401, "unauthorized", detail, headers=headers)


def invalid(errors: Sequence[tuple[str, str]]) -> Problem:
    return Problem(422, "invalid", "The request is not valid; nothing was accepted.", errors=errors)


def unknown_source(names: Iterable[str]) -> Problem:
    """For a source that is none of ``names``."""
    known = ", ".join(sorted(names))
    return Problem(
        422, "unknown_source", "Unknown source.", errors=[("/source", f"one of: {known}")]
    )


def from_validation(error: ValidationError, prefix: str = "") -> Problem:
    """Pydantic's findings with RFC 6901 pointers, at most ``MAX_ERRORS``."""
    items = error.errors(include_url=False, include_input=False, include_context=False)
    return invalid(
        [(prefix + pointer_of(item["loc"]), message_of(item)) for item in items[:MAX_ERRORS]]
    )


def pointer_of(path: Iterable[str | int]) -> str:
    """The RFC 6901 pointer of a path of keys and indexes."""
    return "".join(f"/{escape_pointer(str(part))}" for part in path)


def message_of(item: Mapping[str, Any]) -> str:
    """What is wrong, without the names of our classes."""
    if item["type"] == "model_type":
        return "Input should be an object"
    return str(item["msg"]).removeprefix("Value error, ")


def _sane(pointer: str) -> str:
    """The pointer, or that of the nearest parent whose pointer is short and can be shown.

    Its last parts may be keys that the caller made up: of any length, or half of a surrogate pair.
    """
    while len(pointer) > MAX_POINTER or not pointer.isprintable():
        pointer = pointer.rpartition("/")[0]
    return pointer


def of(error: Exception) -> Problem:
    """The answer for an error of ours."""
    match error:
        case Problem():
            return error
        case Changed():
            return Problem(412, error.code, str(error))
        case KeyReused():
            return Problem(422, error.code, str(error))
        case InvalidInput():
            return invalid([(error.pointer, str(error))])
        case Unsupported():
            return Problem(422, error.code, str(error))
        case Full():
            return Problem(429, error.code, str(error), retry_after=error.retry_after)
        case Transient():
            retry_after = error.retry_after or 1.0
            return Problem(503, error.code, str(error), retry_after=retry_after)
        case Permanent():
            return Problem(422, error.code, str(error))
    log.error("a request failed", exc_info=error)
    return Problem(500, "internal", "The service failed; the log has the details.")
