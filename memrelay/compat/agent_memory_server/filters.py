"""Filters of agent-memory-server as one filter of memrelay: every operator that is given must hold.

A field that has no value passes ``ne`` and nothing else. Unlike agent-memory-server's own translation,
``all`` wants all of its values, ``gte`` and ``lte`` hold together, and an empty value is refused: there,
``UserId(eq="")`` selects everyone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

type Condition = dict[str, Any]
type Kind = Literal["text", "texts", "time"]

SEPARATOR = "\x1f"
TEXTS = ("topics", "entities")
TIMES = ("last_accessed", "updated_at", "persisted_at", "event_date")


@dataclass(frozen=True, slots=True)
class Field:
    """Where memrelay has what a filter is about."""

    path: str
    kind: Kind = "text"


FIELDS: Mapping[str, Field] = {
    "id": Field("id"),
    "session_id": Field("session_id"),
    "user_id": Field("user_id"),
    "created_at": Field("created_at", "time"),
    "namespace": Field("metadata.namespace"),
    "topics": Field("metadata.topics", "texts"),
    "entities": Field("metadata.entities", "texts"),
    "memory_type": Field("metadata.memory_type"),
    "memory_hash": Field("metadata.memory_hash"),
    "extraction_strategy": Field("metadata.extraction_strategy"),
    "discrete_memory_extracted": Field("metadata.discrete_memory_extracted"),
    "last_accessed": Field("metadata.last_accessed", "time"),
    "event_date": Field("metadata.event_date", "time"),
}
"""By the name of the argument."""

_BOUNDS = {
    "both": ("$gte", "$lte"),
    "neither": ("$gt", "$lt"),
    "left": ("$gte", "$lt"),
    "right": ("$gt", "$lte"),
}


def line_of(texts: list[str]) -> str:
    """All of ``texts``, each after a separator: what begins one of them follows a separator."""
    return "".join(SEPARATOR + text for text in texts)


def time_of(moment: datetime) -> str:
    """RFC 3339 in UTC, always of one length, so that its order is that of time; naive means UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def translated(given: Mapping[str, Any]) -> Condition | None:
    """The filters in ``given`` (by argument; None is no filter), ANDed; None if there are none.

    ``ValueError`` for a filter without an operator or with an empty value.
    """
    parts = [
        part
        for name, filter in given.items()
        if filter is not None
        for part in _parts(FIELDS[name], filter, name)
    ]
    if len(parts) < 2:
        return parts[0] if parts else None
    return {"$and": parts}


def _parts(field: Field, filter: Any, name: str) -> list[Condition]:
    tests = _time_tests if field.kind == "time" else _text_tests
    parts = list(tests(field, filter))
    if not parts:
        raise ValueError(f"{name}: no filter provided")
    return parts


def _text_tests(field: Field, filter: Any) -> Iterator[Condition]:
    path = field.path
    if filter.eq is not None:
        yield {path: _value(filter.eq, path)}
    if filter.ne is not None:
        yield {"$not": {path: _value(filter.ne, path)}}
    if filter.any is not None:
        yield {path: {"$in": [_value(value, path) for value in filter.any]}}
    for value in filter.all or ():
        yield {path: _value(value, path)}
    prefix = getattr(filter, "startswith", None)
    if prefix is not None:
        yield _prefix(field, _value(prefix, path))


def _value(value: str, path: str) -> str:
    if not value:
        raise ValueError(f"{path.removeprefix('metadata.')}: an empty value selects nothing")
    return value


def _prefix(field: Field, prefix: str) -> Condition:
    if field.kind == "texts":
        return {f"{field.path}_line": {"$contains": SEPARATOR + prefix}}
    end = _end_of(prefix)
    return {field.path: {"$gte": prefix} | ({"$lt": end} if end else {})}


def _end_of(prefix: str) -> str:
    """The first text, by code point, after all that begin with ``prefix``; empty if there is none."""
    stem = prefix.rstrip(chr(sys.maxunicode))
    if not stem:
        return ""
    after = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if after == 0xD800 else after)  # surrogates are no text


def _time_tests(field: Field, filter: Any) -> Iterator[Condition]:
    for op in ("gt", "gte", "lt", "lte", "eq"):
        moment = getattr(filter, op)
        if moment is not None:
            yield {field.path: {f"${op}": time_of(moment)}}
    if filter.ne is not None:
        yield {"$not": {field.path: time_of(filter.ne)}}
    if filter.between is not None:
        if filter.inclusive not in _BOUNDS:
            raise ValueError(f"inclusive is one of {', '.join(_BOUNDS)}")
        low, high = map(time_of, filter.between)
        above, below = _BOUNDS[filter.inclusive]
        yield {field.path: {above: low, below: high}}
