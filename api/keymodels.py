"""What requests on keys look like; values are held to the bounds of a memory's text and metadata."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator

from api.models import (
    MAX_TAGS,
    MAX_TOP_K,
    TEXT_BYTES,
    Identifier,
    QueryText,
    Strict,
    Tag,
    Vector,
    check_metadata,
    check_value,
    identifier,
)
from memrelay.errors import InvalidInput
from memrelay.jobs import MAX_COUNT
from memrelay.keyvalue import OWN, text_of

MAX_TTL_MS = 100 * 365 * 86_400_000
NAMESPACE_CHARACTERS = 64
PATTERN_CHARACTERS = 256
MAX_KEYS = 1000


def _value(value: Any) -> Any:
    check_value(value, TEXT_BYTES)
    if len(text_of(value).encode()) > TEXT_BYTES:
        raise ValueError(f"is larger than {TEXT_BYTES} bytes as JSON; split it")
    return value


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    if any(name.startswith(OWN) for name in value):
        raise ValueError(f"has a field that begins with {OWN}, which is reserved")
    return check_metadata(value)


Key = Identifier
Value = Annotated[Any, AfterValidator(_value)]
Namespace = Annotated[str, Field(max_length=NAMESPACE_CHARACTERS), AfterValidator(identifier)]
PatternText = Annotated[
    str, Field(min_length=1, max_length=PATTERN_CHARACTERS), AfterValidator(identifier)
]


class ValueIn(Strict):
    """``PUT /v1/sources/{source}/keys/{key}``."""

    value: Value
    """Any JSON, at most 64 KiB of it and 16 deep."""
    ttl_ms: Annotated[int, Field(ge=0, le=MAX_TTL_MS)] | None = None
    """Milliseconds after which the key is gone; 0: at once. Without one it stays."""
    tags: Annotated[list[Tag], Field(max_length=MAX_TAGS, default_factory=list)]
    metadata: Annotated[
        dict[str, Any], AfterValidator(_metadata), Field(default_factory=dict[str, Any])
    ]
    """At most 16 KiB; found again by ``filter``."""
    overwrite: bool = True
    """False: 409 if the key is there already."""
    vector: Vector | None = None
    """Only where the source's embedding is ``external``."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"value": {"name": "Ana", "seat": "window"}, "tags": ["travel"], "ttl_ms": 60000}
            ]
        }
    )


class ItemIn(ValueIn):
    """One of ``store`` in a batch."""

    key: Key


class BatchIn(Strict):
    """``POST /v1/sources/{source}/batch``: one of ``store``, ``retrieve`` and ``delete``."""

    store: Annotated[list[ItemIn], Field(min_length=1, max_length=MAX_COUNT)] | None = None
    """All of them are stored, or none. Of a key that is there twice the last one stays."""
    retrieve: Annotated[list[Key], Field(min_length=1, max_length=MAX_COUNT)] | None = None
    delete: Annotated[list[Key], Field(min_length=1, max_length=MAX_COUNT)] | None = None
    namespace: Namespace = ""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"store": [{"key": "user:1", "value": {"name": "Ana"}}, {"key": "n", "value": 7}]},
                {"retrieve": ["user:1", "user:2"]},
                {"delete": ["user:1", "user:2"]},
            ]
        }
    )

    @model_validator(mode="after")
    def _one(self) -> BatchIn:
        if sum(part is not None for part in (self.store, self.retrieve, self.delete)) != 1:
            raise InvalidInput("give one of store, retrieve and delete", pointer="/store")
        return self


class QueryIn(Strict):
    """A query as an object. Everything given must hold."""

    query: QueryText | None = None
    """What the values are searched for, by meaning and words. Not in a count."""
    pattern: PatternText | None = None
    """A glob over the whole key (``*``, ``?``); without a wildcard, a part of the key."""
    filter: dict[str, Any] | None = None
    """As in ``POST /v1/search``: of ``tags``, ``created_at`` and ``metadata.<field>``."""

    @model_validator(mode="after")
    def _either(self) -> QueryIn:
        if self.query is not None and self.pattern is not None:
            raise InvalidInput("give a query or a pattern", pointer="/query/pattern")
        return self


def _string_or_object(value: Any) -> Any:
    if not isinstance(value, str | dict):
        raise ValueError("is neither a string nor an object")
    return value


Query = Annotated[
    Any,
    AfterValidator(_string_or_object),
    WithJsonSchema({"anyOf": [{"type": "string"}, QueryIn.model_json_schema()]}),
]


class KeyCountIn(Strict):
    """``POST /v1/sources/{source}/count``."""

    query: Query = "*"
    """A part of the key or a glob, or ``{"pattern", "filter"}``; all keys if left out."""
    namespace: Namespace = ""

    model_config = ConfigDict(json_schema_extra={"examples": [{"query": "user:*"}, {}]})


class KeySearchIn(Strict):
    """``POST /v1/sources/{source}/search``."""

    query: Query
    """An object, or text. Text with a blank is looked for in the values; text without one in the keys, as a
    part of the key or a glob, and if no key has it, as a word in the values."""
    limit: Annotated[int, Field(ge=1, le=MAX_TOP_K)] = 10
    offset: Annotated[int, Field(ge=0, lt=MAX_TOP_K)] = 0
    order_by: Literal["score", "key", "stored_at"] | None = None
    """How the results of the answer are ordered; by score or by key, as they were found, if left out."""
    include_metadata: bool = True
    namespace: Namespace = ""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": "where does Ana like to sit?"},
                {"query": {"pattern": "user:*"}, "limit": 50},
                {"query": {"query": "seats", "filter": {"tags": "travel"}}},
            ]
        }
    )

    @model_validator(mode="after")
    def _depth(self) -> KeySearchIn:
        if self.offset + self.limit > MAX_TOP_K:
            raise InvalidInput(f"offset + limit is more than {MAX_TOP_K}", pointer="/offset")
        return self
