"""The one place where whatever a custom store raises becomes ours.

Nobody knows its exceptions. What says that a value is wrong will not get better; all else may.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from memrelay.errors import MemrelayError, Permanent, Unavailable

WRONG_FOR_GOOD = (ValueError, TypeError, LookupError, AttributeError, NotImplementedError)


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Raise ours for the store's; the message starts with the driver's ``name``."""
    try:
        yield
    except MemrelayError:
        raise
    except Exception as error:  # the edge to a stranger's code
        kind = Permanent if isinstance(error, WRONG_FOR_GOOD) else Unavailable
        ours = kind(f"{name}: {type(error).__name__}: {error}")
        ours.quotes = True
        raise ours from error
