"""Filters as SQL: a necessary condition over a row of memories ``m``; values are always bound."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memrelay.filters import (
    METADATA,
    Compare,
    Condition,
    Either,
    Every,
    Filter,
    Leaf,
    Operator,
    Scalar,
    normalized,
)

COLUMNS = {"id": "text", "user_id": "text", "session_id": "text", "created_at": "bigint"}
MOST_NEEDLES = 16
_ORDER: dict[Operator, str] = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


@dataclass(frozen=True, slots=True)
class Sql:
    """An expression, or a statement, and the values bound in it."""

    text: str
    values: tuple[Any, ...] = ()


ALWAYS = Sql("true")


def necessary(node: Filter | None) -> Sql:
    """True of every memory that passes ``node``; what SQL cannot say exactly is left out."""
    return ALWAYS if node is None else _condition(normalized(node))


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
    if compare.field in COLUMNS:
        test = _test(f"m.{compare.field}", COLUMNS[compare.field], compare.op, compare.values)
        return Sql(f"NOT coalesce({test.text}, false)", test.values) if negated else test
    return ALWAYS if negated else _in_record(compare)


def _test(column: str, kind: str, op: Operator, values: tuple[Scalar, ...]) -> Sql:
    """NULL, which counts as false, where the column is missing and the test needs a value."""
    match op:
        case "$exists":
            return Sql(f"({column} IS NOT NULL)" if values[0] else f"({column} IS NULL)")
        case "$eq" | "$in":
            return Sql(f"({column} = ANY(%s::{kind}[]))", (list(values),))
        case "$ne" | "$nin":
            text = f"({column} IS NULL OR NOT {column} = ANY(%s::{kind}[]))"
            return Sql(text, (list(values),))
        case "$contains":
            return Sql(f"(strpos({column}, %s) > 0)", values)
        case _:
            return Sql(f"({column} {_ORDER[op]} %s)", values)


def _in_record(compare: Compare) -> Sql:
    """What ``$eq``, ``$in`` and ``$contains`` name stands in the JSON, which is spelled in one way only."""
    strings = all(isinstance(value, str | bool) for value in compare.values)
    if compare.op not in ("$eq", "$in", "$contains") or not strings:
        return ALWAYS
    if len(compare.values) > MOST_NEEDLES:
        return ALWAYS
    spelled = [json.dumps(value, ensure_ascii=False) for value in compare.values]
    if compare.op == "$contains":  # a part of a string too, so without the quotes
        spelled = [text[1:-1] if text.startswith('"') else text for text in spelled]
    elif compare.field.startswith(METADATA):
        key = json.dumps(compare.field[len(METADATA) :], ensure_ascii=False)
        spelled = [f"{key}:{text}" for text in spelled] + [f"{key}:["]
    tests = [Sql("position(%s::bytea IN m.record) > 0", (text.encode(),)) for text in spelled]
    return _joined(" OR ", tests)
