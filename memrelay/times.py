"""Times: microseconds since 1970-01-01 UTC inside, RFC 3339 outside."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from memrelay.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST, _LAST = datetime(1700, 1, 1, tzinfo=UTC), datetime(2250, 1, 1, tzinfo=UTC)


def now_us() -> int:
    """The wall clock in microseconds."""
    return time.time_ns() // 1000


def parse_time(text: str, *, pointer: str = "") -> int:
    """Microseconds of an RFC 3339 time between 1700 and 2250, so that they fit a double exactly."""
    example = 'such as "2026-01-31T12:00:00Z"'
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"not an RFC 3339 time {example}", pointer=pointer) from None
    if moment.tzinfo is None:
        raise InvalidInput(f"a time needs Z or an offset, {example}", pointer=pointer)
    if not _FIRST <= moment < _LAST:
        raise InvalidInput("a time between 1700 and 2250", pointer=pointer)
    return (moment - _EPOCH) // _MICROSECOND


def format_time(microseconds: int) -> str:
    """RFC 3339 in UTC with microseconds, ``Z`` at the end."""
    moment = _EPOCH + timedelta(microseconds=microseconds)
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
