"""What goes wrong between us and AutoMem, as memrelay's errors: the only place that knows httpx's.

``Unavailable``: the service refuses everybody, or cannot be reached; so is what an address, a token or a
proxy may be to blame for, since no memory is guilty of that and settings get mended. ``Transient``: this
call may be repeated. ``Permanent``: what was sent is refused for good. A message never holds the token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import httpx

from memrelay.errors import MemrelayError, Permanent, Transient, Unavailable

LONGEST_RETRY_AFTER = 3600.0
"""Seconds; a peer does not park memories for longer."""

Verdict = tuple[type[MemrelayError], str]

_ADDRESS: Verdict = (Unavailable, "address")
_CLOSED: Verdict = (Unavailable, "closed")
_CREDENTIALS: Verdict = (Unavailable, "credentials")
_MISUSE: Verdict = (Permanent, "misuse")
_PROTOCOL: Verdict = (Transient, "protocol")
_REFUSED: Verdict = (Permanent, "refused")
_TIMEOUT: Verdict = (Unavailable, "timeout")
_UNREACHABLE: Verdict = (Unavailable, "unreachable")

# Each class of httpx's. A class that is not here fails a test, so that a new one is judged and not
# just inherited.
CLASSES: dict[type[Exception], Verdict] = {
    httpx.HTTPError: _UNREACHABLE,
    httpx.RequestError: _UNREACHABLE,
    httpx.TransportError: _UNREACHABLE,
    httpx.NetworkError: _UNREACHABLE,
    httpx.ConnectError: _UNREACHABLE,
    httpx.ReadError: _UNREACHABLE,
    httpx.WriteError: _UNREACHABLE,
    httpx.CloseError: _UNREACHABLE,
    httpx.ProxyError: _UNREACHABLE,
    httpx.TimeoutException: _TIMEOUT,
    httpx.ConnectTimeout: _TIMEOUT,
    httpx.ReadTimeout: _TIMEOUT,
    httpx.WriteTimeout: _TIMEOUT,
    httpx.PoolTimeout: _TIMEOUT,
    httpx.ProtocolError: _PROTOCOL,
    httpx.RemoteProtocolError: _PROTOCOL,
    httpx.LocalProtocolError: _MISUSE,
    httpx.DecodingError: _PROTOCOL,
    httpx.UnsupportedProtocol: _ADDRESS,
    httpx.TooManyRedirects: _ADDRESS,
    httpx.InvalidURL: _ADDRESS,
    # What only parts of httpx raise that we do not use.
    httpx.HTTPStatusError: _MISUSE,
    httpx.CookieConflict: _MISUSE,
    httpx.StreamError: _MISUSE,
    httpx.StreamConsumed: _MISUSE,
    httpx.StreamClosed: _MISUSE,
    httpx.ResponseNotRead: _MISUSE,
    httpx.RequestNotRead: _MISUSE,
    # What it lets through.
    TimeoutError: _TIMEOUT,
    OSError: _UNREACHABLE,
}
ERRORS = tuple(CLASSES)

STATUSES: dict[int, Verdict] = {
    HTTPStatus.BAD_REQUEST: _REFUSED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: _REFUSED,
    HTTPStatus.UNPROCESSABLE_ENTITY: _REFUSED,
    HTTPStatus.UNAUTHORIZED: _CREDENTIALS,
    HTTPStatus.FORBIDDEN: _CREDENTIALS,
    HTTPStatus.REQUEST_TIMEOUT: (Transient, "timeout"),
    HTTPStatus.TOO_MANY_REQUESTS: (Transient, "busy"),
    HTTPStatus.INTERNAL_SERVER_ERROR: (Transient, "automem"),
    HTTPStatus.BAD_GATEWAY: _UNREACHABLE,
    HTTPStatus.SERVICE_UNAVAILABLE: _UNREACHABLE,
    HTTPStatus.GATEWAY_TIMEOUT: _UNREACHABLE,
}
"""Any other that is no success is of a server that is not AutoMem, or of something before it."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise ours for httpx's, in one line that starts with ``what``."""
    try:
        yield
    except ERRORS as error:
        kind, code = next(CLASSES[base] for base in type(error).__mro__ if base in CLASSES)
        raise kind(f"{what}: {code}: {type(error).__name__}", code=code) from error


def refusal(what: str, answer: httpx.Response, secret: str | None) -> MemrelayError:
    """Ours for an answer that is no success, with what it says but for ``secret``."""
    kind, code = STATUSES.get(answer.status_code, _ADDRESS)
    message = f"{what}: {code}: HTTP {answer.status_code}{_said(answer, secret)}"
    if issubclass(kind, Transient):
        ours: MemrelayError = kind(message, code=code, retry_after=_retry_after(answer))
    else:
        ours = kind(message, code=code)
    ours.quotes = True
    return ours


def not_open(what: str) -> Unavailable:
    return Unavailable(f"{what} is not open", code=_CLOSED[1])


def garbled(what: str) -> Transient:
    """For a success that does not say what AutoMem says."""
    return Transient(f"{what}: the answer is not one of AutoMem's", code=_PROTOCOL[1])


def oversized(what: str, most: int) -> Transient:
    """For an answer of which we read no more."""
    message = f"{what}: the answer is larger than max_answer ({most:,} bytes)"
    return Transient(message, code=_PROTOCOL[1])


def _said(answer: httpx.Response, secret: str | None) -> str:
    """`` : `` and AutoMem's message; nothing if it is not AutoMem that speaks."""
    try:
        message = str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return ""
    if secret:
        message = message.replace(secret, "***")
    return ": " + " ".join(message.split())[:200]


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds; a date is not understood."""
    try:
        seconds = float(answer.headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(seconds, LONGEST_RETRY_AFTER) if seconds >= 0 else None
