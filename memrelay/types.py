"""The words of memrelay as values. Times are integers: microseconds since 1970-01-01 UTC."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic_core import from_json

from memrelay.errors import MemrelayError

Lane = Literal["interactive", "bulk"]
LANES: tuple[Lane, ...] = ("interactive", "bulk")
FieldType = Literal["string", "number", "boolean"]
Json = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """One record. ``(namespace, source, id)`` is its identity; ``version`` orders its writes."""

    id: str
    text: str
    user_id: str | None = None
    session_id: str | None = None
    source: str = "default"
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Json] = field(default_factory=dict)
    created_at: int
    expires_at: int | None = None
    version: int = 0

    def expired(self, now: int) -> bool:
        """True from ``expires_at`` on; both in microseconds."""
        return self.expires_at is not None and self.expires_at <= now


def memory_to_json(memory: Memory) -> bytes:
    """The canonical JSON of a memory: UTF-8, sorted keys, no spaces, ``version`` and ``source`` left out.

    Stores keep these bytes as they are; ``memory_digest`` is over them.
    """
    record = {
        "id": memory.id,
        "text": memory.text,
        "user_id": memory.user_id,
        "session_id": memory.session_id,
        "tags": memory.tags,
        "metadata": memory.metadata,
        "created_at": memory.created_at,
        "expires_at": memory.expires_at,
    }
    return json.dumps(
        record, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()


def memory_from_json(data: bytes | str, *, source: str, version: int) -> Memory:
    """The inverse of ``memory_to_json``."""
    record = from_json(data, allow_inf_nan=False)
    record["tags"] = tuple(record["tags"])
    return Memory(source=source, version=version, **record)


def read_memory(data: bytes | str, scope: Scope, version: int) -> Memory | None:
    """As ``memory_from_json``, of what a store held; None if nothing can be made of it."""
    try:
        return memory_from_json(data, source=scope.source, version=version)
    except (ValueError, TypeError, KeyError):
        return None


def memory_digest(record: bytes) -> str:
    """32 hex digits over the canonical JSON (``memory_to_json``) of a memory."""
    return hashlib.blake2b(record, digest_size=16).hexdigest()


def vector_to_bytes(values: Iterable[float]) -> bytes:
    """Little-endian float32, the one form in which vectors travel."""
    return array("f", values).tobytes()


def vector_from_bytes(vector: bytes) -> list[float]:
    """The inverse of ``vector_to_bytes``."""
    values = array("f")
    values.frombytes(vector)
    return values.tolist()


@dataclass(frozen=True, slots=True)
class Space:
    """Where vectors are comparable: one model, one dimension. Part of every index name."""

    model: str
    dimensions: int

    @property
    def slug(self) -> str:
        """12 hex digits and the dimension: safe in every store's names, stable for ever."""
        digest = hashlib.blake2b(f"{self.model}\0{self.dimensions}".encode(), digest_size=6)
        return f"{digest.hexdigest()}_{self.dimensions}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a driver call acts on: one source of one namespace in one space.

    ``fields`` are the metadata fields that the source declares filterable, with their types.
    """

    namespace: str
    source: str
    space: Space
    fields: Mapping[str, FieldType] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Upsert:
    """Store ``memory`` (whole, at ``memory.version``) with its ``vector`` (float32 bytes)."""

    memory: Memory
    vector: bytes

    @property
    def id(self) -> str:
        return self.memory.id

    @property
    def version(self) -> int:
        return self.memory.version


@dataclass(frozen=True, slots=True)
class Delete:
    """Leave a tombstone for ``id`` at ``version``."""

    id: str
    version: int


Op = Upsert | Delete


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a driver did with one op. ``stale``: a newer version is there, which is a success."""

    status: Literal["applied", "stale", "failed"]
    error: MemrelayError | None = None


APPLIED = Outcome("applied")
STALE = Outcome("stale")


def failed(error: MemrelayError) -> Outcome:
    return Outcome("failed", error)


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer of a search. ``score`` is the cosine in [-1, 1] (semantic) or a keyword score."""

    memory: Memory
    score: float
    vector: bytes | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a scan. ``digest`` is None for a tombstone."""

    id: str
    version: int
    digest: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a scan in (version, id) order; ``cursor`` is None at the end."""

    entries: Sequence[Entry]
    cursor: str | None
