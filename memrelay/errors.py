"""Every error of memrelay, in one tree. The class decides what happens next; nobody matches on text.

MemrelayError
├── Transient          may succeed later: retried with backoff, ``retry_after`` seconds if the peer said so
│   └── Unavailable    the peer cannot be reached or refuses everybody
├── Permanent          will never succeed as it is: isolated, reported, dead-lettered
│   └── Unsupported    a capability that the driver does not declare
├── InvalidInput       the caller's request is wrong; ``pointer`` names the field (RFC 6901)
├── ConfigError        the settings are wrong; one line that says which and what to do
└── ApiError           what the client raises for an answer of the service that is an error
    ├── InvalidRequest, Denied, NotFound, Conflict
    └── RateLimited, ServiceUnavailable
"""

from __future__ import annotations

from typing import Any


class MemrelayError(Exception):
    """Base of all errors of memrelay. ``code`` is stable and machine-readable.

    ``quotes``: the message may quote what was sent, so it is for who sent it, and no log shows it.
    """

    code = "error"
    quotes = True

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class Transient(MemrelayError):
    """May succeed later. ``retry_after`` is what the peer asked for, in seconds."""

    code = "transient"

    def __init__(
        self, message: str, *, code: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class Unavailable(Transient):
    """The peer cannot be reached, or refuses everybody for now. The message tells of the peer alone."""

    code = "unavailable"
    quotes = False


class Permanent(MemrelayError):
    """Will never succeed as it is."""

    code = "permanent"


class Unsupported(Permanent):
    """The driver does not declare this capability."""

    code = "unsupported"


class InvalidInput(MemrelayError):
    """The caller's request is wrong. ``pointer`` is the RFC 6901 pointer to the guilty field."""

    code = "invalid"

    def __init__(self, message: str, *, pointer: str = "", code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.pointer = pointer


class ConfigError(MemrelayError):
    """The settings are wrong; the message is one line that says which, and what to do."""

    code = "config"


class ApiError(MemrelayError):
    """An answer of the service that is an error (RFC 9457). ``problem`` is its whole body.

    ``retry_after`` is what the service asked for, in seconds. The message is one line: the problem's
    detail, then each of its ``errors``.
    """

    def __init__(
        self, status: int, problem: dict[str, Any], *, retry_after: float | None = None
    ) -> None:
        super().__init__(_one_line(status, problem), code=str(problem.get("code", "error")))
        self.status = status
        self.problem = problem
        self.retry_after = retry_after

    @property
    def errors(self) -> list[tuple[str, str]]:
        """(RFC 6901 pointer, detail) for each field that is wrong."""
        return _pointed(self.problem)


class InvalidRequest(ApiError):
    """400, 413, 415 or 422: the request is wrong as it is; ``errors`` name the fields."""


class Denied(ApiError):
    """401 or 403: no API key, a wrong one, or one without the scope."""


class NotFound(ApiError):
    """404."""


class Conflict(ApiError):
    """409 or 412."""


class RateLimited(ApiError):
    """429."""


class ServiceUnavailable(ApiError):
    """502, 503 or 504."""


def _pointed(problem: dict[str, Any]) -> list[tuple[str, str]]:
    found = problem.get("errors")
    if not isinstance(found, list):
        return []
    return [
        (str(item.get("pointer", "")), str(item.get("detail", "")))
        for item in found
        if isinstance(item, dict)
    ]


def _one_line(status: int, problem: dict[str, Any]) -> str:
    detail = str(problem.get("detail") or problem.get("title") or f"HTTP {status}")
    pointed = "; ".join(f"{pointer} {text}".strip() for pointer, text in _pointed(problem))
    return f"{detail} {pointed}" if pointed else detail
