"""Filters: on every field and type, a driver finds exactly what ``memrelay.filters.matches`` accepts."""

from __future__ import annotations

import json
from collections.abc import Iterable

from memrelay.driver import Driver
from memrelay.filters import matches, parse_filter
from memrelay.testing.conformance.filter_cases import (
    NAMES,
    NUMBERS,
    ORDER,
    STRINGS,
    TIMES,
    Raw,
    crafted,
    on_field,
    random_filters,
)
from memrelay.testing.conformance.harness import Conformance, apply_all, found_ids
from memrelay.testing.samples import NOW, upserts
from memrelay.times import format_time
from memrelay.types import Scope

EQUALITY = ("$eq", "$ne", "$contains")


class FilterConformance(Conformance):
    """Searches and counts with filters, on about 80 memories that hold every oddity."""

    async def test_filters_on_user_id(self, driver: Driver, scope: Scope) -> None:
        await _check(driver, scope, on_field("user_id", NAMES, (*EQUALITY, *ORDER)))

    async def test_filters_on_session_id(self, driver: Driver, scope: Scope) -> None:
        await _check(driver, scope, on_field("session_id", NAMES, (*EQUALITY, *ORDER)))

    async def test_filters_on_id(self, driver: Driver, scope: Scope) -> None:
        ids = [op.id for op in crafted()][::5]
        await _check(driver, scope, on_field("id", (*ids, "m", "", "M1"), (*EQUALITY, *ORDER)))

    async def test_filters_on_tags(self, driver: Driver, scope: Scope) -> None:
        await _check(driver, scope, on_field("tags", STRINGS, (*EQUALITY, *ORDER)))

    async def test_filters_on_created_at(self, driver: Driver, scope: Scope) -> None:
        times = [format_time(time) for time in TIMES]
        times += [
            "2026-01-31T13:00:00+01:00",
            "2026-01-31T12:00:00.0000005Z",
            "1969-12-31T23:00:00Z",
        ]
        await _check(driver, scope, on_field("created_at", times, ("$eq", "$ne", *ORDER)))

    async def test_filters_on_declared_strings(self, driver: Driver, scope: Scope) -> None:
        await _check(driver, scope, on_field("metadata.topic", STRINGS, (*EQUALITY, *ORDER)))

    async def test_filters_on_a_field_with_an_odd_name(self, driver: Driver, scope: Scope) -> None:
        await _check(driver, scope, on_field("metadata.odd name.x", NAMES, (*EQUALITY, *ORDER)))

    async def test_filters_on_declared_numbers(self, driver: Driver, scope: Scope) -> None:
        await _check(driver, scope, on_field("metadata.score", NUMBERS, (*EQUALITY, *ORDER)))

    async def test_filters_on_declared_booleans(self, driver: Driver, scope: Scope) -> None:
        await _check(driver, scope, on_field("metadata.done", (True, False), EQUALITY))

    async def test_filters_on_undeclared_fields(self, driver: Driver, scope: Scope) -> None:
        values = (*STRINGS, *NUMBERS, True, False)
        await _check(driver, scope, on_field("metadata.note", values, ("$eq",)))
        await _check(driver, scope, on_field("metadata.nowhere", ("x", 1, True), ("$eq",)))

    async def test_filters_of_1000_values(self, driver: Driver, scope: Scope) -> None:
        many = [f"x{n}" for n in range(1000 - len(NAMES))] + list(NAMES)
        await _check(
            driver,
            scope,
            [
                {field: {operator: many}}
                for field in ("user_id", "session_id", "id", "tags", "metadata.topic")
                for operator in ("$in", "$nin")
            ],
        )
        await _check(driver, scope, [{"metadata.note": {"$in": many}}])
        await _check(driver, scope, [{"metadata.score": {"$nin": list(range(1000))}}])

    async def test_filters_at_the_limits_of_nesting(self, driver: Driver, scope: Scope) -> None:
        deep: Raw = {"user_id": "u1"}
        for level in range(7):
            deep = {"$not": deep} if level % 2 else {"$or": [deep, {"tags": "u2"}]}
        wide: Raw = {"$or": [{"metadata.score": n} for n in range(100)]}
        both: Raw = {"$and": [{"user_id": "u1"}, {"user_id": "ä"}]}
        none: Raw = {"$or": [{"user_id": "u1"}, {"session_id": "u1"}, {"id": "m1"}]}
        await _check(driver, scope, [deep, wide, both, none, {"$not": wide}, {"$not": both}])

    async def test_generated_filters(self, driver: Driver, scope: Scope) -> None:
        await _check(driver, scope, random_filters(150, seed=6))

    async def test_ranges_and_sets_on_a_larger_scope(self, driver: Driver, scope: Scope) -> None:
        ops = upserts(500, users=("ann", "bob", None))
        await apply_all(driver, scope, ops)
        for raw in (
            {"metadata.score": {"$gte": 490}},
            {"metadata.score": {"$gt": 3, "$lte": 40}, "metadata.done": True},
            {"user_id": "bob", "metadata.score": {"$lt": 100}},
            {"tags": {"$in": ["tag3", "none"]}, "user_id": {"$exists": False}},
            {"$or": [{"metadata.score": 5}, {"id": "m00300"}]},
        ):
            node = parse_filter(raw, scope.fields)
            expected = {op.id for op in ops if matches(node, op.memory)}
            assert (raw, await found_ids(driver, scope, raw)) == (raw, expected)
            assert (raw, await driver.count(scope, node, now=NOW)) == (raw, len(expected))


async def _check(driver: Driver, scope: Scope, filters: Iterable[Raw]) -> None:
    """Search and count must agree with ``matches`` on the crafted memories; all that do not are shown."""
    model = await apply_all(driver, scope, crafted())
    wrong = {}
    for raw in filters:
        node = parse_filter(raw, scope.fields)
        expected = {op.id for op in model.live() if matches(node, op.memory)}
        found = await found_ids(driver, scope, raw)
        count = await driver.count(scope, node, now=NOW)
        if found != expected or count != len(expected):
            extra, missing = sorted(found - expected), sorted(expected - found)
            wrong[json.dumps(raw)[:300]] = f"{extra=} {missing=} {count=} of {len(expected)}"
    assert wrong == {}
