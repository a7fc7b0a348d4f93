"""mem0's filter language, told in memrelay's.

``{"AND": [{"user_id": "ana"}, {"created_at": {"gte": "2026-01-01"}}, {"metadata": {"team": "x"}}]}``
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from memrelay.errors import InvalidInput
from memrelay.filters import escape_pointer

FIELDS = {
    "id": "id",
    "memory_id": "id",
    "memory_ids": "id",
    "user_id": "user_id",
    "run_id": "session_id",
    "agent_id": "metadata.agent_id",
    "app_id": "metadata.app_id",
    "categories": "tags",
    "created_at": "created_at",
}
ENTITIES = ("user_id", "agent_id", "app_id", "run_id")
OPERATORS = ("eq", "ne", "in", "nin", "gt", "gte", "lt", "lte", "contains", "exists")
ANY = "*"
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\Z")


def told(filters: Mapping[str, Any], pointer: str = "/filters") -> dict[str, Any]:
    """The same selection as a filter of memrelay; ``InvalidInput`` names what it has no word for.

    ``NOT`` holds where none of its conditions does. ``"*"`` is any value, and a day its first instant.
    """
    if not isinstance(filters, Mapping) or not filters:
        raise InvalidInput('an object such as {"AND": [{"user_id": "ana"}]}', pointer=pointer)
    parts = [part for key, value in filters.items() for part in _parts(key, value, pointer)]
    return parts[0] if len(parts) == 1 else {"$and": parts}


def names_entity(filters: Any) -> bool:
    """Whether a user, an agent, an app or a run is named anywhere in it."""
    if isinstance(filters, Mapping):
        named = any(key in ENTITIES for key in filters)
        return named or any(names_entity(value) for value in filters.values())
    return isinstance(filters, list) and any(names_entity(item) for item in filters)


def _parts(key: str, value: Any, parent: str) -> Iterator[dict[str, Any]]:
    pointer = f"{parent}/{escape_pointer(key)}"
    if key in ("AND", "OR", "NOT"):
        yield _joined(key, value, pointer)
    elif key == "metadata":
        if not isinstance(value, Mapping) or not value:
            raise InvalidInput('an object such as {"team": "x"}', pointer=pointer)
        for name, wanted in value.items():
            yield {f"metadata.{name}": _test(wanted, f"{pointer}/{escape_pointer(name)}")}
    elif key in FIELDS:
        yield {FIELDS[key]: _test(value, pointer, day=key == "created_at")}
    else:
        known = ", ".join(("AND", "OR", "NOT", *FIELDS, "metadata"))
        raise InvalidInput(f"not a field that can be filtered; there are {known}", pointer=pointer)


def _joined(key: str, value: Any, pointer: str) -> dict[str, Any]:
    conditions = [value] if key == "NOT" and isinstance(value, Mapping) else value
    if not isinstance(conditions, list) or not conditions:
        raise InvalidInput("a list of conditions, not empty", pointer=pointer)
    parts = [told(part, f"{pointer}/{index}") for index, part in enumerate(conditions)]
    if key == "NOT":
        return {"$not": parts[0] if len(parts) == 1 else {"$or": parts}}
    return {f"${key.lower()}": parts}


def _test(value: Any, pointer: str, *, day: bool = False) -> Any:
    """What a field is compared with."""
    if value == ANY:
        return {"$exists": True}
    if isinstance(value, list):
        return {"$in": value}
    if not isinstance(value, Mapping):
        return _instant(value) if day else value
    for operator in value:
        if operator not in OPERATORS:
            known = ", ".join(OPERATORS)
            raise InvalidInput(
                f"not an operator; there are {known}",
                pointer=f"{pointer}/{escape_pointer(operator)}",
            )
    return {f"${name}": _instant(wanted) if day else wanted for name, wanted in value.items()}


def _instant(value: Any) -> Any:
    whole_day = isinstance(value, str) and _DAY.match(value)
    return f"{value}T00:00:00Z" if whole_day else value
