"""What a write that a driver has not applied hides: shared by those who note it and those who read."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

from backends.journal.values import EVERYTHING, Hidden
from memrelay.filters import ANY_FIELD, Filter, matches, parse_filter
from memrelay.types import Memory

DELETED = "d"
"""The mark of a delete, where other writes have that of the memory's user."""


def user_mark(user_id: str | None) -> str:
    """What reads compare to find memories that have changed hands; see the journal's ``lag``."""
    return "-" if user_id is None else hashlib.blake2b(user_id.encode(), digest_size=8).hexdigest()


@lru_cache(maxsize=1024)
def scoped_filter(text: str) -> Filter | None:
    """The AST of a delete's filter; None matches everything."""
    return None if text == EVERYTHING else parse_filter(json.loads(text), ANY_FIELD)


def hides(hidden: Hidden, memory: Memory) -> bool:
    """Whether what a driver holds as ``memory`` was deleted, or given to another user, since."""
    version, mark = hidden.entries.get(memory.id, (0, ""))
    if version > memory.version and (mark == DELETED or mark != user_mark(memory.user_id)):
        return True
    return any(
        line.version > memory.version and matches(scoped_filter(line.filter), memory)
        for line in hidden.scoped
    )
