"""What lies where: a collection for each space, a tenant for each namespace, an object for each memory.

An object keeps the memory's canonical JSON as it is, and beside it what Weaviate filters and sorts by.
Strings of callers are in there as hex alone: Weaviate's ``field`` tokenization trims, and ``*`` and ``?``
mean something to it. A tombstone is an object without vector, text and record.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from weaviate.classes.data import DataObject

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
"""A power of 2 by which the stored vector is multiplied: that is exact, and changes no angle."""
SCALES = (1, 2, 4, 8)

LARGEST = 2**53 - 1
"""Integers travel as doubles."""
NEVER = LARGEST
"""``expires_at`` of what does not expire: an absent value would make a range false."""

_IDENTITY = uuid.UUID("6f1d4f0e-5c43-5f0b-9d86-0f4bd1c1a7c2")
MARKER = uuid.uuid5(_IDENTITY, "flush")
"""An object without any property in each tenant, which no query sees; see writes.py."""

Row = Mapping[str, Any]
"""The properties of an object, as far as they were asked for."""


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
        if self.vector is None:
            return DataObject(properties=self.properties, uuid=self.uuid)
        vector = [scale * value for value in self.vector]
        properties = {**self.properties, SCALE: scale}
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
        return _stored(scope, op, properties, vector_from_bytes(op.vector))
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


def to_memory(scope: Scope, row: Row) -> Memory:
    """The memory of a live object's ``RECORD`` and ``VERSION``."""
    return memory_from_json(row[RECORD], source=scope.source, version=row[VERSION])


def to_vector(row: Row, stored: Iterable[float]) -> bytes:
    """The vector as it was given, of an object's ``SCALE`` and its vector."""
    scale = row[SCALE]
    return vector_to_bytes(value / scale for value in stored)


def to_entry(row: Row) -> Entry:
    """The line of a scan, of ``OID``, ``VERSION``, ``DELETED`` and ``DIGEST``."""
    digest = None if row[DELETED] else row[DIGEST]
    return Entry(from_oid(row[OID]), row[VERSION], digest)
