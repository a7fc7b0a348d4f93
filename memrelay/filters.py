"""One filter language on every driver: JSON in, an AST inside, one exact evaluation for all.

``{"user_id": "u1", "metadata.score": {"$gte": 3}, "$or": [{"tags": {"$contains": "a"}}, …]}``

What an operator means, the same on every driver:

- A field that is absent, null or an empty list is *missing*: only ``$ne``, ``$nin`` and
  ``{"$exists": false}`` are true of it (and ``$not`` of what is false).
- A list field (``tags``, or a list in metadata) satisfies ``$eq``, ``$in`` and ``$contains`` when one
  of its elements does. ``$contains`` on a string is a substring test. ``$ne`` is the negation of
  ``$eq``, ``$nin`` that of ``$in``.
- Values compare within one type only: ``1`` is not ``"1"``, and ``true`` is not ``1``. Strings order
  by code point. ``$gt`` and the like are false on lists and across types.
- ``created_at`` compares with RFC 3339 strings.
- Metadata fields which the source declares filterable allow every operator, on values of the declared
  type; all others allow ``$eq``, ``$in`` and ``$exists``.

A driver compiles a *necessary* condition from ``normalized`` and evaluates ``matches`` on what it
gets back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, Literal, cast

from memrelay.errors import InvalidInput
from memrelay.times import parse_time
from memrelay.types import FieldType, Memory

Operator = Literal[
    "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$contains", "$exists"
]
Scalar = str | int | float | bool

OPERATORS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$contains", "$exists")
ORDER = ("$gt", "$gte", "$lt", "$lte")
LISTS = ("$in", "$nin")
PLAIN_FIELDS = ("id", "user_id", "session_id", "tags", "created_at")
UNDECLARED_OPERATORS = ("$eq", "$in", "$exists")
METADATA = "metadata."
MAX_NODES = 128
MAX_DEPTH = 8
MAX_VALUES = 1000
MAX_STRING = 1024


@dataclass(frozen=True, slots=True)
class Compare:
    """One field against one value (a tuple of values for ``$in`` and ``$nin``).

    ``field`` is one of ``PLAIN_FIELDS`` or ``metadata.<key>``; times are microseconds.
    """

    field: str
    op: Operator
    value: Scalar | tuple[Scalar, ...]
    typed: frozenset[tuple[FieldType | None, Scalar]] = dataclass_field(
        init=False, compare=False, repr=False
    )
    """The values with their types, so that ``$in`` costs the same for one and for a thousand."""

    def __post_init__(self) -> None:
        typed = frozenset((type_of(value), value) for value in self.values)
        object.__setattr__(self, "typed", typed)

    @property
    def values(self) -> tuple[Scalar, ...]:
        return self.value if isinstance(self.value, tuple) else (self.value,)


@dataclass(frozen=True, slots=True)
class And:
    children: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    children: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    child: Filter


Filter = Compare | And | Or | Not


class _AnyField(dict[str, FieldType]):
    """Every metadata field, of no declared type."""

    def __contains__(self, field: object) -> bool:
        return True


ANY_FIELD: Mapping[str, FieldType] = _AnyField()
"""For a filter that was checked when it was accepted: what a source declares may have changed since."""


def parse_filter(
    raw: object, fields: Mapping[str, FieldType], *, pointer: str = "/filter"
) -> Filter:
    """The AST of a filter in JSON, or ``InvalidInput`` with a pointer to what is wrong in it."""
    return _Parser(fields).node(raw, pointer, depth=1)


class _Parser:
    def __init__(self, fields: Mapping[str, FieldType]) -> None:
        self._fields = fields
        self._nodes = 0

    def node(self, raw: object, pointer: str, depth: int) -> Filter:
        if not isinstance(raw, dict):
            raise InvalidInput("a filter is an object", pointer=pointer)
        if not raw:
            raise InvalidInput("an empty filter: name a field, or leave it out", pointer=pointer)
        if depth > MAX_DEPTH:
            raise InvalidInput(f"nested deeper than {MAX_DEPTH}", pointer=pointer)
        parts = tuple(self._part(key, value, pointer, depth) for key, value in raw.items())
        return parts[0] if len(parts) == 1 else And(parts)

    def _part(self, key: str, value: object, parent: str, depth: int) -> Filter:
        pointer = f"{parent}/{escape_pointer(key)}"
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise InvalidInput(f"more than {MAX_NODES} conditions", pointer=pointer)
        if key in ("$and", "$or"):
            if not isinstance(value, list) or not value:
                raise InvalidInput(f"{key} takes a list of filters, not empty", pointer=pointer)
            children = tuple(
                self.node(child, f"{pointer}/{index}", depth + 1)
                for index, child in enumerate(value)
            )
            return And(children) if key == "$and" else Or(children)
        if key == "$not":
            return Not(self.node(value, pointer, depth + 1))
        self._check_field(key, pointer)
        if isinstance(value, dict):
            if not value:
                raise InvalidInput("name an operator", pointer=pointer)
            tests = tuple(
                self._compare(key, op, operand, f"{pointer}/{escape_pointer(op)}")
                for op, operand in value.items()
            )
            return tests[0] if len(tests) == 1 else And(tests)
        return self._compare(key, "$eq", value, pointer)

    def _check_field(self, field: str, pointer: str) -> None:
        _check_string(field, pointer)
        if field.startswith(METADATA) and len(field) > len(METADATA):
            return
        if field not in PLAIN_FIELDS:
            known = ", ".join((*PLAIN_FIELDS, "metadata.<field>"))
            raise InvalidInput(f"unknown field or operator; fields are {known}", pointer=pointer)

    def _compare(self, field: str, op: str, value: object, pointer: str) -> Filter:
        if op not in OPERATORS:
            raise InvalidInput(f"unknown operator; one of {', '.join(OPERATORS)}", pointer=pointer)
        operator = cast(Operator, op)
        self._check_operator(field, operator, pointer)
        if operator == "$exists":
            if not isinstance(value, bool):
                raise InvalidInput("$exists takes true or false", pointer=pointer)
            return Compare(field, operator, value)
        if operator in LISTS:
            if not isinstance(value, list) or not 1 <= len(value) <= MAX_VALUES:
                raise InvalidInput(
                    f"{operator} takes a list of 1 to {MAX_VALUES} values", pointer=pointer
                )
            values = tuple(
                self._scalar(field, item, f"{pointer}/{index}") for index, item in enumerate(value)
            )
            return Compare(field, operator, values)
        scalar = self._scalar(field, value, pointer)
        if operator in ORDER and isinstance(scalar, bool):
            raise InvalidInput(f"{operator} takes a string or a number", pointer=pointer)
        return Compare(field, operator, scalar)

    def _check_operator(self, field: str, op: Operator, pointer: str) -> None:
        if op == "$contains" and field == "created_at":
            raise InvalidInput("$contains does not apply to created_at", pointer=pointer)
        if not field.startswith(METADATA) or field[len(METADATA) :] in self._fields:
            return
        if op not in UNDECLARED_OPERATORS:
            raise InvalidInput(
                f"{op} needs a field that the source declares as filterable; "
                f"others allow {', '.join(UNDECLARED_OPERATORS)}",
                pointer=pointer,
            )

    def _scalar(self, field: str, value: object, pointer: str) -> Scalar:
        if value is None:
            raise InvalidInput(
                'null compares with nothing; use {"$exists": false}', pointer=pointer
            )
        if not isinstance(value, str | int | float | bool):
            raise InvalidInput("a string, a number or a boolean", pointer=pointer)
        if isinstance(value, str):
            _check_string(value, pointer)
        elif isinstance(value, float) and not math.isfinite(value):
            raise InvalidInput("a finite number", pointer=pointer)
        if field == "created_at":
            if not isinstance(value, str):
                raise InvalidInput(
                    'an RFC 3339 time such as "2026-01-31T12:00:00Z"', pointer=pointer
                )
            return parse_time(value, pointer=pointer)
        if field in PLAIN_FIELDS:
            if not isinstance(value, str):
                raise InvalidInput("a string", pointer=pointer)
            return value
        declared = self._fields.get(field[len(METADATA) :])
        if declared is not None and type_of(value) != declared:
            raise InvalidInput(f"the source declares this field as {declared}", pointer=pointer)
        return value


def _check_string(value: str, pointer: str) -> None:
    if len(value) > MAX_STRING:
        raise InvalidInput(f"longer than {MAX_STRING} characters", pointer=pointer)
    if "\0" in value:
        raise InvalidInput("NUL, which no memory holds", pointer=pointer)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput("half of a surrogate pair, which is not text", pointer=pointer) from None


def matches(node: Filter | None, memory: Memory) -> bool:
    """The exact answer, for every driver."""
    match node:
        case None:
            return True
        case And(children):
            return all(matches(child, memory) for child in children)
        case Or(children):
            return any(matches(child, memory) for child in children)
        case Not(child):
            return not matches(child, memory)
        case Compare():
            return _compare(field_of(memory, node.field), node.op, node)


def field_of(memory: Memory, field: str) -> Any:
    """The value of a filter's field in a memory; None if it is missing."""
    if field.startswith(METADATA):
        value = memory.metadata.get(field[len(METADATA) :])
    else:
        value = getattr(memory, field)
    return None if isinstance(value, list | tuple) and not value else value


def _compare(actual: Any, op: Operator, node: Compare) -> bool:
    match op:
        case "$exists":
            return (actual is not None) == node.value
        case "$ne" | "$nin":
            return not _compare(actual, "$eq", node)
    if actual is None:
        return False
    match op:
        case "$eq" | "$in":
            return _among(actual, node)
        case "$contains":
            if isinstance(actual, str):
                return isinstance(node.value, str) and node.value in actual
            return isinstance(actual, list | tuple) and _among(actual, node)
    return _ordered(actual, op, node.value)


def _among(actual: Any, node: Compare) -> bool:
    """One of the values is ``actual``, or one of its elements."""
    if isinstance(actual, list | tuple):
        return any(_is_among(element, node) for element in actual)
    return _is_among(actual, node)


def _is_among(actual: Any, node: Compare) -> bool:
    kind = type_of(actual)
    return kind is not None and (kind, actual) in node.typed


def _ordered(actual: Any, op: Operator, wanted: Any) -> bool:
    kind = type_of(actual)
    if kind is None or kind == "boolean" or kind != type_of(wanted):
        return False
    match op:
        case "$gt":
            return bool(actual > wanted)
        case "$gte":
            return bool(actual >= wanted)
        case "$lt":
            return bool(actual < wanted)
        case _:
            return bool(actual <= wanted)


def type_of(value: object) -> FieldType | None:
    """The filter type of a JSON value; None for lists, objects and null."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class Leaf:
    """A comparison, or its negation, in a necessary condition."""

    compare: Compare
    negated: bool


@dataclass(frozen=True, slots=True)
class Every:
    children: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Either:
    children: tuple[Condition, ...]


Condition = Leaf | Every | Either


def normalized(node: Filter, *, negated: bool = False) -> Condition:
    """Negation normal form: only leaves are negated, so that a driver compiles no ``$not``."""
    match node:
        case Compare():
            return Leaf(node, negated)
        case Not(child):
            return normalized(child, negated=not negated)
        case And(children) | Or(children):
            parts = tuple(normalized(child, negated=negated) for child in children)
            return Every(parts) if isinstance(node, And) != negated else Either(parts)


def required_values(node: Filter | None, field: str) -> frozenset[str] | None:
    """The strings one of which ``field`` must equal for ``node`` to hold; None if it names no such set.

    ``required_values(f, "user_id")`` is how a driver finds the partitions that a search needs.
    """
    match node:
        case Compare(name, "$eq" | "$in") if name == field:
            return frozenset(value for value in node.values if isinstance(value, str))
        case And(children):
            found = [
                s for s in (required_values(child, field) for child in children) if s is not None
            ]
            return frozenset.intersection(*found) if found else None
        case Or(children):
            sets = [required_values(child, field) for child in children]
            if any(values is None for values in sets):
                return None
            return frozenset().union(*(values for values in sets if values is not None))
    return None


def comparisons(node: Filter | None) -> Iterator[Compare]:
    """All comparisons of a filter, for compilers and limits."""
    match node:
        case Compare():
            yield node
        case And(children) | Or(children):
            for child in children:
                yield from comparisons(child)
        case Not(child):
            yield from comparisons(child)


def all_of(parts: Sequence[Filter | None]) -> Filter | None:
    """The conjunction of what is given; None if nothing is."""
    given = tuple(part for part in parts if part is not None)
    return And(given) if len(given) > 1 else (given[0] if given else None)


def escape_pointer(token: str) -> str:
    """One reference token of an RFC 6901 pointer."""
    return token.replace("~", "~0").replace("/", "~1")
