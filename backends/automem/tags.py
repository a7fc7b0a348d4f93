"""Tags: all that AutoMem can select memories by.

AutoMem compares tags without regard to case, takes ``:`` and ``/`` in them for levels, and makes a list of
what has a comma. So of what names something of ours a tag holds a digest alone, as 32 lower-case hex digits
behind one colon: no two names share one, whatever they look like, and none is a part of another. A listing
by tags knows no AND; that is why a tag says where a memory is and what it is there at the same time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from memrelay.filters import Filter, required_values
from memrelay.types import Scope


def digest_tag(kind: str, *names: str) -> str:
    """``<kind>:<32 hex digits>`` for a sequence of names; other names give another tag."""
    digest = hashlib.blake2b(json.dumps(names).encode(), digest_size=16)
    return f"{kind}:{digest.hexdigest()}"


def scope_tag(scope: Scope) -> str:
    """On all that is held of a scope, tombstones too."""
    return _in_scope("memrelay", scope)


def live_tag(scope: Scope) -> str:
    """On the memories of a scope."""
    return _in_scope("memrelay-live", scope)


def dead_tag(scope: Scope) -> str:
    """On the tombstones of a scope."""
    return _in_scope("memrelay-dead", scope)


def id_tag(scope: Scope, id: str) -> str:
    """On what is held of one id, memory or tombstone."""
    return _in_scope("mid", scope, id)


def user_tag(scope: Scope, user_id: str) -> str:
    """On the memories of one user."""
    return _in_scope("user", scope, user_id)


def session_tag(scope: Scope, session_id: str) -> str:
    """On the memories of one session."""
    return _in_scope("conversation", scope, session_id)


def narrowing(scope: Scope, node: Filter | None) -> Sequence[str]:
    """Every live memory that passes ``node`` has one of these tags; others may have them too."""
    for field, tag in (("id", id_tag), ("session_id", session_tag), ("user_id", user_tag)):
        values = required_values(node, field)
        if values is not None:
            return [tag(scope, value) for value in sorted(values)]
    return [live_tag(scope)]


def _in_scope(kind: str, scope: Scope, *names: str) -> str:
    return digest_tag(kind, scope.namespace, scope.source, scope.space.slug, *names)
