"""Redis's errors become ours, here alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions

from memrelay.errors import Permanent, Unavailable


@contextmanager
def translated() -> Iterator[None]:
    """``Unavailable`` while the journal cannot be reached or refuses; else ``Permanent``."""
    try:
        yield
    except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
        raise Unavailable(f"journal: {error}") from error
    except exceptions.ResponseError as error:
        if isinstance(error, exceptions.OutOfMemoryError | exceptions.ReadOnlyError):
            raise Unavailable(f"journal: {error}") from error
        raise Permanent(f"journal: {error}") from error
