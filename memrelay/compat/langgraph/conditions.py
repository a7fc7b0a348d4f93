"""LangGraph's filters on the values of items: what they mean, and the part that memrelay can decide.

Values are JSON, and compare as JSON: ``true`` is not ``1``. ``$gt`` and the like hold between two
numbers or two strings alone, and of nothing else.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
KNOWN = OPERATORS.keys() | {"$eq", "$ne"}
FIELD = "value."
"""Before the name of a field of a value, among the metadata of its item."""
WIDE = "wide"
"""Tag of an item not all of whose plain fields are among its metadata."""
FIELDS_BYTES = 8 * 1024
"""Of plain fields in an item's metadata, half of what it may have."""
MOST_CONDITIONS = 16
LONGEST_STRING = 128
EXACT_INTEGER = 2**53
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,128}\Z")
_TEXT = re.compile(r"[^\x00\ud800-\udfff]*\Z")


def check(filter: Mapping[str, Any] | None) -> None:
    """``ValueError`` for an operator that there is not."""
    for condition in (filter or {}).values():
        if isinstance(condition, dict) and not _has_operators(condition):
            check(condition)
        elif isinstance(condition, dict) and condition.keys() - KNOWN:
            unknown = ", ".join(sorted(condition.keys() - KNOWN))
            raise ValueError(f"Unsupported operator: {unknown}")


def matches(filter: Mapping[str, Any] | None, value: Mapping[str, Any]) -> bool:
    """Whether all conditions hold; a field that is not there is null."""
    return all(_holds(condition, value.get(name)) for name, condition in (filter or {}).items())


def plain_fields(value: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The fields that memrelay can compare, by their names in metadata, and whether these are all.

    All: every string, number and boolean at the top of the value, so that whoever misses one lacks it.
    """
    fields: dict[str, Any] = {}
    left, all_kept = FIELDS_BYTES, True
    for name, field in value.items():
        if not isinstance(field, str | int | float):
            continue
        size = len(json.dumps([name, field]))
        if size <= left and _comparable(name, field):
            fields[f"{FIELD}{name}"] = field
            left -= size
        else:
            all_kept = False
    return fields, all_kept


def necessary(filter: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Conditions in memrelay's language which hold wherever ``filter`` does."""
    return [
        {"$or": [{f"metadata.{FIELD}{name}": wanted}, {"tags": WIDE}]}
        for name, condition in list((filter or {}).items())[:MOST_CONDITIONS]
        for wanted in [_wanted(condition)]
        if wanted is not None and _comparable(name, wanted)
    ]


def _holds(condition: Any, actual: Any) -> bool:
    if isinstance(condition, dict):
        if _has_operators(condition):
            return all(_compare(name, actual, wanted) for name, wanted in condition.items())
        return isinstance(actual, dict) and matches(condition, actual)
    if isinstance(condition, list | tuple):
        return (
            isinstance(actual, list)
            and len(actual) == len(condition)
            and all(_holds(*pair) for pair in zip(condition, actual, strict=True))
        )
    return _same(actual, condition)


def _compare(name: str, actual: Any, wanted: Any) -> bool:
    match name:
        case "$eq":
            return _same(actual, wanted)
        case "$ne":
            return not _same(actual, wanted)
    kinds = (_is_number(actual) and _is_number(wanted)) or (
        isinstance(actual, str) and isinstance(wanted, str)
    )
    return kinds and OPERATORS[name](actual, wanted)


def _same(one: Any, other: Any) -> bool:
    match one, other:
        case (dict(), dict()):
            return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
        case (list() | tuple(), list() | tuple()):
            return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _wanted(condition: Any) -> Any:
    """What a field must be equal to; None if the condition does not say."""
    if isinstance(condition, dict):
        return condition.get("$eq") if _has_operators(condition) else None
    return condition


def _comparable(name: str, field: Any) -> bool:
    if not _NAME.match(name):
        return False
    if isinstance(field, str):
        return len(field) <= LONGEST_STRING and bool(_TEXT.match(field))
    return isinstance(field, bool) or (_is_number(field) and abs(field) <= EXACT_INTEGER)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _has_operators(condition: Mapping[str, Any]) -> bool:
    return any(name.startswith("$") for name in condition)
