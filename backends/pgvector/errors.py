"""The one place where psycopg's exceptions become ours: by SQLSTATE, where the server gave one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors
from psycopg.transaction import OutOfOrderTransactionNesting

from memrelay.errors import MemrelayError, Permanent, Transient, Unavailable


class Refused(Permanent):
    """The server refuses what it was given: of several ops, one may be guilty."""

    code = "refused"


class LayoutLost(Unavailable):
    """Tables are missing, or not ours any more: somebody works on the database."""

    code = "layout"


Verdict = tuple[type[MemrelayError], str]

_UNREACHABLE = (Unavailable, "unreachable")
_CREDENTIALS = (Unavailable, "credentials")
_TIMEOUT = (Unavailable, "timeout")
_BUSY = (Transient, "busy")
_RESOURCES = (Transient, "resources")
_LAYOUT = (LayoutLost, "layout")
_REFUSED = (Refused, "refused")
_MISUSE = (Permanent, "driver_bug")
_CORRUPT = (Permanent, "corrupt")

STATES: dict[str, Verdict] = {
    "25006": (Unavailable, "read_only"),  # a standby, or one that became one
    "42501": _CREDENTIALS,
    "42703": _LAYOUT,
    "42704": _LAYOUT,
    "42883": _LAYOUT,
    "42P01": _LAYOUT,
    "53300": (Unavailable, "too_many_connections"),
    "55000": _BUSY,
    "57014": _TIMEOUT,
    "XX001": _CORRUPT,
    "XX002": _CORRUPT,
}
"""Whole SQLSTATEs that are not as the rest of their class."""

CLASSES: dict[str, Verdict] = {
    # Somebody mends it, or it comes back by itself.
    "08": _UNREACHABLE,
    "28": _CREDENTIALS,
    "3D": _LAYOUT,
    "3F": _LAYOUT,
    "57": _UNREACHABLE,
    "F0": _UNREACHABLE,
    # The same call may succeed later.
    "25": _BUSY,
    "40": _BUSY,
    "53": _RESOURCES,
    "55": _BUSY,
    "58": _RESOURCES,
    "72": _BUSY,
    "XX": _BUSY,  # "tuple concurrently updated"
    # This memory, or this call, can never be stored.
    "22": _REFUSED,
    "23": _REFUSED,
    "54": _REFUSED,
    "21": _MISUSE,
    "44": _REFUSED,
    # A server that lacks what we need, or our own misuse.
    "02": _MISUSE,
    "03": _MISUSE,
    "09": _MISUSE,
    "0A": _MISUSE,
    "0B": _MISUSE,
    "0F": _MISUSE,
    "0L": _MISUSE,
    "0P": _MISUSE,
    "0Z": _MISUSE,
    "10": _MISUSE,
    "20": _MISUSE,
    "24": _MISUSE,
    "26": _MISUSE,
    "27": _MISUSE,
    "2B": _MISUSE,
    "2D": _MISUSE,
    "2F": _MISUSE,
    "34": _MISUSE,
    "38": _MISUSE,
    "39": _MISUSE,
    "3B": _MISUSE,
    "42": _MISUSE,
    "HV": _MISUSE,
    "P0": _MISUSE,
}
"""The first two characters of a SQLSTATE."""

STATELESS: dict[type[Exception], Verdict] = {
    # psycopg's own, and libpq's, without an answer of the server.
    errors.ConnectionTimeout: _TIMEOUT,
    errors.CancellationTimeout: _TIMEOUT,
    errors._WaitTimeout: _TIMEOUT,
    errors.PipelineAborted: _BUSY,
    OutOfOrderTransactionNesting: _MISUSE,
    psycopg.OperationalError: _UNREACHABLE,
    psycopg.InterfaceError: _UNREACHABLE,
    psycopg.InternalError: _BUSY,
    psycopg.DataError: _REFUSED,
    psycopg.IntegrityError: _REFUSED,
    psycopg.NotSupportedError: _MISUSE,
    psycopg.ProgrammingError: _MISUSE,
    psycopg.DatabaseError: _BUSY,
    psycopg.Error: _MISUSE,
    # What it lets through.
    TimeoutError: _TIMEOUT,
    OSError: _UNREACHABLE,
}


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise ours for psycopg's, in one line that starts with ``what``."""
    try:
        yield
    except tuple(STATELESS) as error:
        raise translate(error, what) from error


def translate(error: Exception, what: str) -> MemrelayError:
    """The error of memrelay for one that psycopg raised. What the server said of single rows is left out."""
    kind, code = _judge(error)
    said = isinstance(error, psycopg.Error) and error.diag.message_primary
    text = " ".join((said or str(error) or type(error).__name__).split())
    return kind(f"{what}: {code}: {text[:300]}", code=code)


def _judge(error: Exception) -> Verdict:
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    if state is None:
        return next(STATELESS[kind] for kind in type(error).__mro__ if kind in STATELESS)
    return STATES.get(state) or CLASSES.get(state[:2], _MISUSE)
