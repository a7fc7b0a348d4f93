"""What one memory of AutoMem's holds of ours: a memory, or the tombstone of one.

``content`` is what AutoMem recalls by: the first ``content_limit`` characters of a text. It is not what
we read. AutoMem may shorten it, and adds to ``tags`` and ``metadata`` what it makes of it. All of ours lies
under the one key ``memrelay`` of the metadata, which AutoMem keeps as it is and without a bound: id,
version, the canonical JSON as text, the vector in base64, and a stamp that orders what was written at one
version.

A row is never changed in its place, since AutoMem would keep the summary that it made of an older text:
what is newer is a row of its own, and what it beats is removed. See writes.py.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backends.automem.tags import dead_tag, id_tag, live_tag, scope_tag, session_tag, user_tag
from memrelay.errors import Permanent
from memrelay.times import format_time
from memrelay.types import (
    Delete,
    Memory,
    Op,
    Scope,
    Upsert,
    memory_digest,
    memory_to_json,
    read_memory,
)

KEY = "memrelay"
LIVE_TYPE = "Context"
DEAD_TYPE = "MetaPattern"
"""What AutoMem itself does not recall or count. A type that is given spares it a guess by its model."""
DEAD_CONTENT = "(deleted)"
NO_CONTENT = "(no text)"

Rank = tuple[int, bool, int, str]
LOWEST: Rank = (-1, False, 0, "")


@dataclass(frozen=True, slots=True)
class Row:
    """One memory of AutoMem's, with what is of ours in it; ``id`` is None if that cannot be read."""

    uuid: str
    tags: frozenset[str]
    id: str | None = None
    version: int = -1
    dead: bool = False
    stamp: int = 0
    record: str | None = None
    vector: str | None = None

    @property
    def rank(self) -> Rank:
        """The row of the highest rank is what is held of an id; no two rows have the same."""
        return self.version, self.dead, self.stamp, self.uuid

    @property
    def digest(self) -> str | None:
        """None for a tombstone; empty if the record is lost."""
        if self.dead:
            return None
        return memory_digest(self.record.encode(errors="surrogatepass")) if self.record else ""

    def memory(self, scope: Scope) -> Memory | None:
        """None for a tombstone, and if nothing can be made of the record."""
        if self.dead or self.record is None:
            return None
        memory = read_memory(self.record, scope, self.version)
        if memory is None or memory.id != self.id or id_tag(scope, memory.id) not in self.tags:
            return None
        return memory

    def vector_bytes(self, scope: Scope) -> bytes | None:
        """None if it is lost, or of another dimension."""
        try:
            vector = base64.b64decode(self.vector or "", validate=True)
        except binascii.Error:
            return None
        return vector if len(vector) == scope.space.dimensions * 4 else None

    def op(self, scope: Scope) -> Op | None:
        """What would write this row again; None if it is damaged."""
        op: Op | None = None
        if self.dead and self.id is not None:
            op = Delete(self.id, self.version)
        elif (memory := self.memory(scope)) and (vector := self.vector_bytes(scope)):
            op = Upsert(memory, vector)
        return op if op is not None and self.tags.issuperset(tags_of(scope, op)) else None


def read_row(raw: Any) -> Row | None:
    """A row of what AutoMem lists; None if it is no memory."""
    match raw:
        case {"id": str(uuid)}:
            tags = frozenset(tag for tag in raw.get("tags") or () if isinstance(tag, str))
        case _:
            return None
    match raw.get("metadata"):
        case {"memrelay": {"id": str(id), "version": int(version), "stamp": int(stamp)} as ours}:
            dead = ours.get("deleted") is True
            return Row(uuid, tags, id, version, dead, stamp, *_texts(ours, "record", "vector"))
    return Row(uuid, tags)


def _texts(ours: Mapping[str, Any], *keys: str) -> list[str | None]:
    values = [ours.get(key) for key in keys]
    return [value if isinstance(value, str) else None for value in values]


@dataclass(frozen=True, slots=True)
class Draft:
    """One op as AutoMem is to hold it."""

    op: Op
    tags: Sequence[str]
    record: str | None = None
    vector: str | None = None

    @property
    def size(self) -> int:
        """About how many bytes it takes to send."""
        return 1000 + 3 * len(self.record or "") + len(self.vector or "")

    def is_held(self, row: Row) -> bool:
        """Whether ``row`` is all of it, so that nothing is left to write."""
        held = (row.version, row.dead, row.record, row.vector)
        wanted = (self.op.version, isinstance(self.op, Delete), self.record, self.vector)
        return held == wanted and row.tags.issuperset(self.tags)

    def is_beaten(self, row: Row) -> bool:
        """Whether ``row`` is newer, or the delete of the version that this is an upsert of."""
        same = row.version == self.op.version
        return row.version > self.op.version or (same and row.dead and isinstance(self.op, Upsert))

    def payload(self, stamp: int, content_limit: int) -> dict[str, Any]:
        """What AutoMem is sent."""
        ours: dict[str, Any] = {"id": self.op.id, "version": self.op.version, "stamp": stamp}
        if isinstance(self.op, Delete):
            ours["deleted"] = True
            about = {"content": DEAD_CONTENT, "type": DEAD_TYPE}
        else:
            ours |= {"record": self.record, "vector": self.vector}
            about = {
                "content": _content(self.op.memory.text, content_limit),
                "type": LIVE_TYPE,
                "timestamp": format_time(self.op.memory.created_at),
            }
        return {**about, "tags": list(self.tags), "metadata": {KEY: ours}}


def draft(scope: Scope, op: Op) -> Draft:
    """``Permanent`` if no text can hold it, or its vector is of another dimension."""
    tags = tags_of(scope, op)
    if "\0" in op.id:
        raise Permanent("AutoMem's database takes no NUL in an id", code="invalid")
    try:
        if isinstance(op, Delete):
            op.id.encode()
            return Draft(op, tags)
        record = memory_to_json(op.memory).decode()
        format_time(op.memory.created_at)
    except (TypeError, ValueError, OverflowError) as error:
        raise Permanent(f"AutoMem cannot hold this memory: {error}", code="invalid") from None
    if len(op.vector) != scope.space.dimensions * 4:
        message = f"a vector of {len(op.vector)} bytes in a space of {scope.space.dimensions}"
        raise Permanent(f"{message} dimensions", code="dimension")
    return Draft(op, tags, record, base64.b64encode(op.vector).decode())


def tags_of(scope: Scope, op: Op) -> Sequence[str]:
    """The tags by which a row is found; each of them must be there."""
    tags = [scope_tag(scope), id_tag(scope, op.id)]
    if isinstance(op, Delete):
        return [*tags, dead_tag(scope)]
    tags.append(live_tag(scope))
    if op.memory.user_id is not None:
        tags.append(user_tag(scope, op.memory.user_id))
    if op.memory.session_id is not None:
        tags.append(session_tag(scope, op.memory.session_id))
    return tags


def _content(text: str, limit: int) -> str:
    """AutoMem refuses what is empty, and its database what has a NUL."""
    return text.replace("\0", " ").strip()[:limit].strip() or NO_CONTENT
