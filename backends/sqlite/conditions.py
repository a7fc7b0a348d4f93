"""Filters as SQL: a necessary condition over the columns that memories have; values are always bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memrelay.filters import Compare, Condition, Either, Every, Filter, Leaf, Operator, normalized

COLUMNS = ("id", "user_id", "session_id", "created_at")
MAX_BOUND = 30_000
"""SQLite takes 32,766 bound values in a statement."""
_ORDER: dict[Operator, str] = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}

Bound = str | int | float | bytes


@dataclass(frozen=True, slots=True)
class Sql:
    """An expression and the values bound in it."""

    text: str
    values: tuple[Bound, ...] = ()


ALWAYS = Sql("1")


def necessary(node: Filter | None) -> Sql:
    """True of every memory that passes ``node``; what SQL cannot say exactly is left out."""
    if node is None:
        return ALWAYS
    found = _condition(normalized(node))
    return found if len(found.values) <= MAX_BOUND else ALWAYS


def _condition(node: Condition) -> Sql:
    match node:
        case Leaf(compare, negated):
            return _leaf(compare, negated=negated)
        case Every(children):
            return _joined(" AND ", [p for p in map(_condition, children) if p is not ALWAYS])
        case Either(children):
            parts = [_condition(child) for child in children]
            return ALWAYS if any(part is ALWAYS for part in parts) else _joined(" OR ", parts)


def _joined(word: str, parts: Sequence[Sql]) -> Sql:
    if not parts:
        return ALWAYS
    text = word.join(part.text for part in parts)
    return Sql(f"({text})", tuple(value for part in parts for value in part.values))


def _leaf(compare: Compare, *, negated: bool) -> Sql:
    if compare.field not in COLUMNS:
        return ALWAYS
    test = _test(compare.field, compare.op, compare.values)
    return Sql(f"NOT coalesce({test.text}, 0)", test.values) if negated else test


def _test(column: str, op: Operator, values: tuple[Bound, ...]) -> Sql:
    """NULL, which counts as false, where the column is missing and the test needs a value."""
    marks = ", ".join("?" * len(values))
    match op:
        case "$exists":
            return Sql(f"({column} IS NOT NULL)" if values[0] else f"({column} IS NULL)")
        case "$eq" | "$in":
            return Sql(f"({column} IN ({marks}))", values)
        case "$ne" | "$nin":
            return Sql(f"({column} IS NULL OR {column} NOT IN ({marks}))", values)
        case "$contains":
            return Sql(f"(instr({column}, ?) > 0)", values)
        case _:
            return Sql(f"({column} {_ORDER[op]} ?)", values)
