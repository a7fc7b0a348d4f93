"""Filters compiled to necessary conditions of Weaviate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weaviate.classes.query import Filter as Where
from weaviate.collections.classes.filters import FilterReturn

from backends.weaviate.objects import (
    CREATED_AT,
    DELETED,
    EXPIRES_AT,
    LARGEST,
    OID,
    SOURCE,
    TOKENS,
    VERSION,
    number_property,
    number_value,
    numbered_token,
    object_id,
    presence_token,
    source_digest,
    to_oid,
    value_token,
)
from memrelay.filters import (
    METADATA,
    Compare,
    Condition,
    Either,
    Every,
    Filter,
    Leaf,
    Scalar,
    normalized,
)
from memrelay.types import Scope

NUMBERS = (VERSION, CREATED_AT, EXPIRES_AT)
_OPPOSITE = {"$gt": "$lte", "$gte": "$lt", "$lt": "$gte", "$lte": "$gt"}


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What Weaviate can check of a filter; ``exact`` if that is all. Without ``where`` anything may match."""

    where: FilterReturn | None
    exact: bool


UNKNOWN = Narrowed(None, exact=False)


def in_source(scope: Scope) -> FilterReturn:
    """Objects of the scope's source, tombstones too; tenant and collection see to the rest."""
    return Where.by_property(SOURCE).equal(source_digest(scope))


def live(scope: Scope, node: Filter | None, now: int | None = None) -> tuple[FilterReturn, bool]:
    """What a filter needs of memories that are not deleted, nor expired at ``now`` if it is given.

    The second value says whether that is all.
    """
    narrowed = Narrowed(None, exact=True) if node is None else narrow(normalized(node), scope)
    parts = [in_source(scope), Where.by_property(DELETED).equal(False)]
    if now is not None:
        parts.append(Where.by_property(EXPIRES_AT).greater_than(now))
    if narrowed.where is not None:
        parts.append(narrowed.where)
    return Where.all_of(parts), narrowed.exact


def overdue(scope: Scope, now: int) -> FilterReturn:
    """Memories that are expired at ``now`` and not deleted."""
    return live(scope, None)[0] & Where.by_property(EXPIRES_AT).less_or_equal(now)


def tombstones(scope: Scope, before: int) -> FilterReturn:
    """Tombstones of versions below ``before``."""
    dead = Where.by_property(DELETED).equal(True) & Where.by_property(VERSION).less_than(before)
    return in_source(scope) & dead


def indexed(scope: Scope, ids: Sequence[str]) -> FilterReturn:
    """Live memories among ``ids`` that have an entry in every index that a filter of ours may go by."""
    return Where.all_of(
        [
            live(scope, None)[0],
            Where.by_id().contains_any([object_id(scope, id) for id in ids]),
            Where.by_property(OID).contains_any([to_oid(id) for id in ids]),
            Where.by_property(TOKENS).contains_any([presence_token("id")]),
            *(Where.by_property(name).greater_or_equal(-LARGEST) for name in NUMBERS),
        ]
    )


def narrow(condition: Condition, scope: Scope) -> Narrowed:
    """The part of a condition that Weaviate can check."""
    match condition:
        case Leaf(compare, negated):
            return _leaf(compare, negated, scope)
        case Every(children):
            parts = [narrow(child, scope) for child in children]
            known = [part.where for part in parts if part.where is not None]
            return Narrowed(
                Where.all_of(known) if known else None, exact=all(part.exact for part in parts)
            )
        case Either(children):
            parts = [narrow(child, scope) for child in children]
            options = [part.where for part in parts if part.where is not None]
            if len(options) < len(parts):
                return UNKNOWN
            return Narrowed(Where.any_of(options), exact=all(part.exact for part in parts))


def _leaf(compare: Compare, negated: bool, scope: Scope) -> Narrowed:
    field = compare.field
    match compare.op:
        case "$exists":
            return _has([presence_token(field)], negated == bool(compare.value))
        case "$ne" | "$nin":
            return _equal(field, compare.values, not negated)
        case "$eq" | "$in":
            return _equal(field, compare.values, negated)
        case "$contains" if field == "tags":
            return _equal(field, compare.values, negated)
    if field == CREATED_AT:
        return _created(_OPPOSITE[compare.op] if negated else compare.op, compare.value)
    if negated:
        return UNKNOWN
    key = field.removeprefix(METADATA)
    if compare.op in _OPPOSITE and field != key and scope.fields.get(key) == "number":
        return _number(key, compare)
    return Narrowed(_has([presence_token(field)], negated=False).where, exact=False)


def _has(tokens: Sequence[str], negated: bool) -> Narrowed:
    held = Where.by_property(TOKENS)
    where = held.contains_none(tokens) if negated else held.contains_any(tokens)
    return Narrowed(where, exact=True)


def _equal(field: str, values: Sequence[Scalar], negated: bool) -> Narrowed:
    if field != CREATED_AT:
        tokens = [token for value in values if (token := value_token(field, value)) is not None]
        return _has(tokens, negated)
    if not all(type(value) is int for value in values):
        return UNKNOWN
    moment = Where.by_property(CREATED_AT)
    if negated:
        others = [moment.less_than(time) | moment.greater_than(time) for time in values]
        return Narrowed(Where.all_of(others), exact=True)
    same = [moment.greater_or_equal(time) & moment.less_or_equal(time) for time in values]
    return Narrowed(Where.any_of(same), exact=True)


def _created(op: str, value: object) -> Narrowed:
    if type(value) is not int:
        return UNKNOWN
    return Narrowed(_range(CREATED_AT, op, value), exact=True)


def _number(key: str, compare: Compare) -> Narrowed:
    """Bounds are included, since doubles may be equal where the numbers differ.

    What was written before the field was declared has no property, so it may match.
    """
    value = number_value(compare.value)
    if value is None:
        return UNKNOWN
    op = {"$gt": "$gte", "$lt": "$lte"}.get(compare.op, compare.op)
    within = _range(number_property(key), op, value)
    unsure = Where.by_property(TOKENS).contains_none([numbered_token(METADATA + key)])
    return Narrowed(Where.any_of([within, unsure]), exact=False)


def _range(name: str, op: str, value: float) -> FilterReturn:
    number = Where.by_property(name)
    match op:
        case "$gt":
            return number.greater_than(value)
        case "$gte":
            return number.greater_or_equal(value)
        case "$lt":
            return number.less_than(value)
        case _:
            return number.less_or_equal(value)
