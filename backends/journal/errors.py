"""Redis's errors become ours, here alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from backends.redis_errors import ERRORS, translate


@contextmanager
def translated() -> Iterator[None]:
    """``Unavailable`` while the journal cannot be reached or refuses; else ``Permanent``."""
    try:
        yield
    except ERRORS as error:
        raise translate(error, "journal") from error
