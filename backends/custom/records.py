"""What is kept in a custom store for one id: a record of agent-memory-server that carries all of ours.

Such a store has no versions and no tombstones, does not give vectors back, and need not keep every field.
What every one of them must keep is ``extracted_from``, a list of strings: it holds version, digest, vector
and the rest of the memory, in base64 (commas are refused there). A tombstone is a record of its own
namespace. The record's id is a hash, since the store has one id for all namespaces and sources.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent_memory_server.models import MemoryRecord, MemoryTypeEnum

from memrelay.errors import Permanent
from memrelay.times import format_time
from memrelay.types import (
    Delete,
    Memory,
    Op,
    Scope,
    Upsert,
    memory_digest,
    memory_from_json,
    memory_to_json,
    vector_to_bytes,
)

GONE = "deleted"
"""The text of a tombstone."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a record says. ``digest`` is None for a tombstone, ``op`` if the record is damaged."""

    id: str
    version: int
    digest: str | None
    op: Op | None

    @property
    def rank(self) -> tuple[int, bool]:
        """A delete is above an upsert of its own version."""
        return self.version, self.digest is None


def rank_of(op: Op) -> tuple[int, bool]:
    return op.version, isinstance(op, Delete)


def key_of(scope: Scope, id: str) -> str:
    """The record's id: 32 hex digits."""
    whole = "\0".join((scope.namespace, scope.source, scope.space.slug, id))
    return hashlib.blake2b(whole.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def place_of(scope: Scope, *, live: bool) -> str:
    """The record's namespace."""
    place = f"{scope.namespace}/{scope.source}/{scope.space.slug}"
    return place if live else f"{place}/{GONE}"


@dataclass(frozen=True, slots=True)
class Write:
    """The record that stands for an op of ``id``, and the vector that the store is to find it by."""

    id: str
    record: MemoryRecord
    vector: bytes


def write_of(op: Op, scope: Scope) -> Write:
    """``Permanent`` for what no record can hold."""
    if isinstance(op, Upsert) and len(op.vector) != 4 * scope.space.dimensions:
        message = f"the vector has {len(op.vector) // 4} dimensions, not {scope.space.dimensions}"
        raise Permanent(message, code="dimension")
    try:
        return _written(op, scope) if isinstance(op, Upsert) else _buried(op, scope)
    except (ValueError, TypeError) as error:
        raise Permanent(f"no record can hold this memory: {error}", code="invalid") from None


def _written(op: Upsert, scope: Scope) -> Write:
    memory, encoded = op.memory, memory_to_json(op.memory)
    rest = json.loads(encoded)
    text, digest = rest.pop("text"), memory_digest(encoded)
    vector = urlsafe_b64encode(op.vector).decode()
    kept = {"id": op.id, "version": op.version, "digest": digest, "rest": rest, "vector": vector}
    record = MemoryRecord(
        id=key_of(scope, op.id),
        text=text,
        namespace=place_of(scope, live=True),
        user_id=memory.user_id,
        session_id=memory.session_id,
        created_at=datetime.fromisoformat(format_time(memory.created_at)),
        topics=[tag for tag in memory.tags if tag and "," not in tag],
        memory_type=MemoryTypeEnum.SEMANTIC,
        memory_hash=digest,
        discrete_memory_extracted="t",
        extracted_from=[_packed(kept)],
    )
    return Write(op.id, record, op.vector)


def _buried(op: Delete, scope: Scope) -> Write:
    """A tombstone: a text, since there must be one, and any vector that is not zero."""
    record = MemoryRecord(
        id=key_of(scope, op.id),
        text=GONE,
        namespace=place_of(scope, live=False),
        memory_hash=GONE,
        discrete_memory_extracted="t",
        extracted_from=[_packed({"id": op.id, "version": op.version})],
    )
    return Write(op.id, record, vector_to_bytes([1.0] * scope.space.dimensions))


def _packed(kept: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(kept).encode()).decode()


def held_of(record: MemoryRecord, scope: Scope) -> Held | None:
    """None if the record is not one of ours in this scope."""
    try:
        kept = json.loads(urlsafe_b64decode((record.extracted_from or [""])[0]))
        held = Held(kept["id"], kept["version"], kept.get("digest"), None)
        if record.id != key_of(scope, held.id):
            return None
    except (ValueError, TypeError, KeyError):
        return None
    return Held(held.id, held.version, held.digest, _op(kept, record.text, scope))


def _op(kept: dict[str, Any], text: str, scope: Scope) -> Op | None:
    if "digest" not in kept:
        return Delete(kept["id"], kept["version"])
    try:
        whole = json.dumps({**kept["rest"], "text": text})
        memory: Memory = memory_from_json(whole, source=scope.source, version=kept["version"])
        vector = b64decode(kept["vector"], altchars=b"-_")
    except (ValueError, TypeError, KeyError):
        return None
    sound = memory_digest(memory_to_json(memory)) == kept["digest"]
    return Upsert(memory, vector) if sound and len(vector) == 4 * scope.space.dimensions else None
