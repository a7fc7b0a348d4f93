"""What lies where: a collection for each space, a tenant for each namespace, an object for each memory.

An object keeps the memory's canonical JSON as it is, and beside it what Weaviate filters and sorts by.
Strings of callers are in there as hex alone: Weaviate's ``field`` tokenization trims, and ``*`` and ``?``
mean something to it. A tombstone is an object without vector, text and record.

What others have altered is damaged: it is read as far as it can be, never raises, and is written anew by
the next apply of its version.
"""

from __future__ import annotations

import math
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from weaviate.classes.data import DataObject
from weaviate.collections.classes.internal import Object

from memrelay.errors import Permanent
from memrelay.filters import METADATA, PLAIN_FIELDS, field_of, type_of
from memrelay.types import (
    Delete,
    Entry,
    FieldType,
    Memory,
    Op,
    Scope,
    Space,
    Upsert,
    memory_digest,
    memory_from_json,
    memory_to_json,
    vector_from_bytes,
    vector_to_bytes,
)

RECORD, TEXT, DIGEST = "record", "text", "digest"
SOURCE, OID, VERSION, DELETED = "source", "oid", "version", "deleted"
CREATED_AT, EXPIRES_AT, TOKENS = "created_at", "expires_at", "kv"
SCALE = "scale"
"""A power of 2 by which the stored vector is multiplied: that is exact, and changes no angle.

It is another one after each write, of tombstones too, and so tells whether a write was taken."""
SCALES = (1, 2, 4, 8)
LONGEST = 4e37
"""A vector of that length can be multiplied by any scale, and still be float32."""

LARGEST = 2**53 - 1
"""Integers travel as doubles."""
DAMAGED = ""
"""What a scan gives as the digest of a memory that has lost its own: no other memory's digest."""
NEVER = LARGEST
"""``expires_at`` of what does not expire: an absent value would make a range false."""

_IDENTITY = uuid.UUID("6f1d4f0e-5c43-5f0b-9d86-0f4bd1c1a7c2")
MARKER = uuid.uuid5(_IDENTITY, "flush")
"""An object without any property in each tenant, which no query sees; see writes.py."""

UUID = "uuid"
"""Where a row has the object's own id, which is no property."""
Row = Mapping[str, Any]
"""The properties of an object, as far as they were asked for; None is one that it has not."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An op in the form in which Weaviate takes it, and about how many bytes that is."""

    op: Op
    uuid: uuid.UUID
    properties: Row
    vector: Sequence[float] | None
    size: int

    def object(self, scale: int) -> DataObject[Any, Any]:
        """What to write; the vector is another one for each ``scale``."""
        properties = {**self.properties, SCALE: scale}
        if self.vector is None:
            return DataObject(properties=properties, uuid=self.uuid)
        vector = [scale * value for value in self.vector]
        return DataObject(properties=properties, uuid=self.uuid, vector=vector)

    def placeholder(self, dimensions: int) -> DataObject[Any, Any]:
        """A tombstone with a vector, so that the one without is another object for Weaviate."""
        vector = [1.0] * dimensions
        return DataObject(properties=self.properties, uuid=self.uuid, vector=vector)


def hexdigest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def collection_name(space: Space) -> str:
    return f"Memrelay_{space.slug}"


def tenant_name(scope: Scope) -> str:
    return hexdigest(scope.namespace)


def source_digest(scope: Scope) -> str:
    return hexdigest(scope.source)


def number_property(field: str) -> str:
    """The property that holds a declared number field."""
    return f"number_{hexdigest(field)}"


def number_fields(fields: Mapping[str, FieldType]) -> list[str]:
    """The declared fields that have a property of their own."""
    return [field for field, kind in fields.items() if kind == "number"]


def object_id(scope: Scope, id: str) -> uuid.UUID:
    """uuid5 of (namespace, source, id)."""
    return uuid.uuid5(_IDENTITY, f"{tenant_name(scope)}/{source_digest(scope)}/{hexdigest(id)}")


def to_oid(id: str) -> str:
    """An id in hex: it sorts as the id does, by code point. The letter keeps the empty id visible."""
    return "i" + id.encode().hex()


def from_oid(oid: str) -> str:
    return bytes.fromhex(oid[1:]).decode()


def is_listed(row: Row) -> bool:
    """Whether ``OID`` and ``VERSION`` can be read, without which an object has no place in a scan."""
    try:
        return row[VERSION] is not None and to_oid(from_oid(row[OID])) == row[OID]
    except (ValueError, TypeError):
        return False


def value_token(field: str, value: object) -> str | None:
    """The token of "``field`` is or contains ``value``"; None for what no filter compares with."""
    kind = type_of(value)
    if kind is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1 equals 1.0
    return hexdigest(repr((field, kind, value)))


def presence_token(field: str) -> str:
    """The token of "``field`` is not missing"."""
    return hexdigest(repr((field,)))


def numbered_token(field: str) -> str:
    """The token of "written while ``field`` was declared a number", so that its property tells."""
    return hexdigest(repr((field, "numbered")))


def number_value(value: object) -> float | None:
    """The nearest double, which keeps the order of values but not all differences; None for no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return sys.float_info.max if value > 0 else -sys.float_info.max


def stored(scope: Scope, op: Op) -> Stored:
    """The object of an op; ``Permanent`` if there can be none."""
    try:
        if isinstance(op, Delete):
            return _stored(scope, op, _common(scope, op) | {DELETED: True}, None)
        if len(op.vector) != 4 * scope.space.dimensions:
            raise Permanent(
                f"a vector of {len(op.vector)} bytes in a space of {scope.space.dimensions} dimensions",
                code="dimension",
            )
        properties = _common(scope, op) | _searchable(op, scope.fields)
        vector = vector_from_bytes(op.vector)
        if not math.sumprod(vector, vector) <= LONGEST**2:
            raise ValueError("a vector that is too long, or not of numbers")
        return _stored(scope, op, properties, vector)
    except (ValueError, TypeError) as error:
        raise Permanent(f"not a memory that can be stored: {error}", code="encoding") from error


def _stored(scope: Scope, op: Op, properties: dict[str, Any], vector: list[float] | None) -> Stored:
    size = 1024 + 4 * len(vector or ())
    size += sum(len(value) for value in properties.values() if isinstance(value, str))
    size += sum(len(token) for token in properties.get(TOKENS, ()))
    return Stored(op, object_id(scope, op.id), properties, vector, size)


def _common(scope: Scope, op: Op) -> dict[str, Any]:
    return {SOURCE: source_digest(scope), OID: to_oid(op.id), VERSION: _checked(op.version)}


def _checked(number: int) -> int:
    if abs(number) > LARGEST:
        raise ValueError(f"{number} is beyond 2^53")
    return number


def _searchable(op: Upsert, fields: Mapping[str, FieldType]) -> dict[str, Any]:
    memory = op.memory
    record = memory_to_json(memory)
    numbers = {
        number_property(field): number
        for field in number_fields(fields)
        if (number := number_value(memory.metadata.get(field))) is not None
    }
    return {
        RECORD: record.decode(),
        TEXT: memory.text,
        DIGEST: memory_digest(record),
        DELETED: False,
        CREATED_AT: _checked(memory.created_at),
        EXPIRES_AT: _checked(NEVER if memory.expires_at is None else memory.expires_at),
        TOKENS: list(dict.fromkeys(_tokens(memory, number_fields(fields)))),
        **numbers,
    }


def _tokens(memory: Memory, numbers: Iterable[str]) -> Iterator[str]:
    for field in (*PLAIN_FIELDS, *(METADATA + key for key in memory.metadata)):
        value = field_of(memory, field)
        if value is None:
            continue
        yield presence_token(field)
        if field == CREATED_AT:
            continue  # has a property of its own
        for element in value if isinstance(value, list | tuple) else (value,):
            token = value_token(field, element)
            if token is not None:
                yield token
    for key in numbers:
        yield numbered_token(METADATA + key)


def row_of(object: Object[Any, Any]) -> Row:
    return {**object.properties, UUID: object.uuid}


def to_memory(scope: Scope, row: Row) -> Memory | None:
    """The memory of a live object's ``RECORD`` and ``VERSION``.

    None if it is damaged beyond reading, or lies where no memory of its id does.
    """
    try:
        memory = memory_from_json(row[RECORD], source=scope.source, version=row[VERSION])
        sound = _has_types(memory) and object_id(scope, memory.id) == row[UUID]
    except (ValueError, TypeError, KeyError):
        return None
    return memory if sound else None


def _has_types(memory: Memory) -> bool:
    """Whether the JSON had the types that filters and clocks rely on."""
    texts = isinstance(memory.id, str) and isinstance(memory.text, str)
    return texts and isinstance(memory.metadata, dict) and isinstance(memory.expires_at, int | None)


def to_vector(row: Row, stored: Iterable[float]) -> bytes:
    """The vector as it was given, of an object's ``SCALE`` and its vector."""
    scale = row[SCALE] or 1  # a search gives what it has
    return vector_to_bytes(value / scale for value in stored)


def vector_of(object: Object[Any, Any]) -> Sequence[float] | None:
    """The vector of an object that was fetched with it, as it is stored."""
    vector: Any = object.vector.get("default")
    return vector or None


def is_tombstone(row: Row) -> bool:
    """By ``DELETED`` and ``DIGEST``. A memory that is marked as deleted and has a digest is damaged."""
    return row[DELETED] is True and row[DIGEST] is None


def to_entry(row: Row) -> Entry:
    """The line of a scan, of ``OID``, ``VERSION``, ``DELETED`` and ``DIGEST``."""
    digest = None if is_tombstone(row) else _digest(row)
    return Entry(from_oid(row[OID]), row[VERSION], digest)


def _digest(row: Row) -> str:
    return row[DIGEST] or DAMAGED if row[DELETED] is False else DAMAGED
