"""What all themes share: the fixtures, the model of a correct store, and the comparison with it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import ClassVar

import pytest

from memrelay.driver import Driver, Query
from memrelay.filters import Filter, matches, parse_filter
from memrelay.testing.samples import NOW, SPACE, cosine, vector
from memrelay.types import (
    Delete,
    Entry,
    FieldType,
    Hit,
    Memory,
    Op,
    Scope,
    Space,
    Upsert,
    memory_digest,
    memory_to_json,
)

FIELDS: Mapping[str, FieldType] = {
    "topic": "string",
    "odd name.x": "string",
    "score": "number",
    "done": "boolean",
}
AXIS = vector("the query of the suite")
BATCH = 512
TOLERANCE = 1e-3
FEW_USERS = 20
"""Over so many users every driver searches; over more, those that declare ``unscoped_search``."""


def fresh_scope(source: str = "default", space: Space = SPACE) -> Scope:
    """A scope that no other test uses."""
    return Scope(namespace=f"t-{uuid.uuid4().hex}", source=source, space=space, fields=FIELDS)


class Conformance:
    """Fixtures of the suite."""

    gaps: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture(autouse=True)
    def _gap(self, request: pytest.FixtureRequest) -> None:
        reason = self.gaps.get(request.node.originalname)
        if reason is not None:
            request.applymarker(pytest.mark.xfail(strict=True, reason=reason))

    @pytest.fixture
    async def driver(self) -> AsyncIterator[Driver]:
        """The opened driver under test."""
        raise NotImplementedError("the subclass gives the fixture `driver`")
        yield

    @pytest.fixture
    async def scope(self, driver: Driver) -> AsyncIterator[Scope]:
        """A fresh scope, ensured; purged in the end."""
        scope = fresh_scope()
        await driver.ensure(scope)
        yield scope
        await driver.purge(scope)


class Model:
    """What a store must hold after some ops, whatever their order was."""

    def __init__(self) -> None:
        self._ops: dict[str, Op] = {}

    def apply(self, ops: Iterable[Op]) -> dict[str, str]:
        """The status that each op must have when they come in this order."""
        statuses = {}
        for op in ops:
            held = self._ops.get(op.id)
            statuses[op.id] = "stale" if held and _rank(held) > _rank(op) else "applied"
            if statuses[op.id] == "applied":
                self._ops[op.id] = op
        return statuses

    @property
    def winners(self) -> list[Op]:
        return list(self._ops.values())

    def live(self) -> list[Upsert]:
        return [op for op in self._ops.values() if isinstance(op, Upsert)]

    def entries(self, since: int = 0) -> list[Entry]:
        """What a scan must yield, in order."""
        held = [op for op in self._ops.values() if op.version >= since]
        entries = [Entry(op.id, op.version, digest_of(op)) for op in held]
        return sorted(entries, key=lambda entry: (entry.version, entry.id))

    def nearest(
        self, axis: bytes, node: Filter | None = None, now: int = NOW
    ) -> list[tuple[str, float]]:
        """Ids with cosines, all of them, as a semantic search must order them."""
        found = [
            (op.id, cosine(axis, op.vector))
            for op in self.live()
            if matches(node, op.memory) and not op.memory.expired(now)
        ]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def _rank(op: Op) -> tuple[int, bool]:
    """A delete is above an upsert of its own version."""
    return op.version, isinstance(op, Delete)


def digest_of(op: Op) -> str | None:
    return None if isinstance(op, Delete) else memory_digest(memory_to_json(op.memory))


def identity(memory: Memory) -> tuple[bytes, int, str]:
    """All that a store must keep of a memory; unlike ``==``, it tells ``1`` from ``1.0`` and true."""
    return memory_to_json(memory), memory.version, memory.source


async def apply_all(driver: Driver, scope: Scope, ops: Sequence[Op]) -> Model:
    """Apply ops (one for each id) in batches; every one must be ``applied``."""
    for start in range(0, len(ops), BATCH):
        batch = ops[start : start + BATCH]
        outcomes = await driver.apply(scope, batch)
        assert {op.id: (o.status, o.error) for op in batch for o in [outcomes[op.id]]} == {
            op.id: ("applied", None) for op in batch
        }
    model = Model()
    model.apply(ops)
    return model


async def statuses(driver: Driver, scope: Scope, ops: Sequence[Op]) -> dict[str, str]:
    """What one ``apply`` says of each id."""
    outcomes = await driver.apply(scope, ops)
    return {id: outcome.status for id, outcome in outcomes.items()}


async def semantic(
    driver: Driver,
    scope: Scope,
    raw_filter: object = None,
    *,
    axis: bytes = AXIS,
    top_k: int = 200,
    now: int = NOW,
    min_score: float | None = None,
    include_vector: bool = False,
) -> Sequence[Hit]:
    """A semantic search with a filter in JSON."""
    query = Query(
        mode="semantic",
        vector=axis,
        top_k=top_k,
        now=now,
        filter=parsed(scope, raw_filter),
        min_score=min_score,
        include_vector=include_vector,
    )
    return await driver.search(scope, query)


async def found_ids(driver: Driver, scope: Scope, raw_filter: object = None) -> set[str]:
    """The ids of a semantic search, each of which must come once."""
    ids = [hit.memory.id for hit in await semantic(driver, scope, raw_filter)]
    assert len(ids) == len(set(ids))
    return set(ids)


def parsed(scope: Scope, raw_filter: object) -> Filter | None:
    return None if raw_filter is None else parse_filter(raw_filter, scope.fields)


async def scanned(
    driver: Driver, scope: Scope, limit: int = 1000, *, since: int = 0
) -> list[Entry]:
    """All entries of a scope from version ``since`` on, read in pages of ``limit``."""
    entries: list[Entry] = []
    cursor = None
    while True:
        page = await driver.scan(scope, since=since, cursor=cursor, limit=limit)
        assert len(page.entries) <= limit
        entries += page.entries
        if page.cursor is None:
            return entries
        assert page.cursor != cursor
        cursor = page.cursor


async def assert_holds(driver: Driver, scope: Scope, model: Model) -> None:
    """Get, scan, records, count and search of a driver agree with the model (of at most 200 memories)."""
    live = {op.id: identity(op.memory) for op in model.live()}
    ids = [op.id for op in model.winners]
    got = await driver.get(scope, ids)
    assert {id: identity(memory) for id, memory in got.items()} == live
    assert await scanned(driver, scope) == model.entries()
    assert await driver.count(scope, None, now=0) == len(live)
    hits = await semantic(driver, scope, now=0)
    assert_ranking(hits, model.nearest(AXIS, now=0))
    assert {hit.memory.id: identity(hit.memory) for hit in hits} == live
    await assert_records(driver, scope, model)


async def assert_records(driver: Driver, scope: Scope, model: Model) -> None:
    """The records of all ids of the model (at most 512) are what was written, vectors by direction."""
    expected = {op.id: op for op in model.winners}
    records = await driver.records(scope, list(expected))
    assert {id: _written(op) for id, op in records.items()} == {
        id: _written(op) for id, op in expected.items()
    }
    for id, op in expected.items():
        found = records[id]
        if isinstance(op, Upsert) and isinstance(found, Upsert):
            assert len(found.vector) == len(op.vector)
            assert cosine(found.vector, op.vector) > 1 - TOLERANCE


def _written(op: Op) -> Delete | tuple[bytes, int, str]:
    return op if isinstance(op, Delete) else identity(op.memory)


def assert_ranking(hits: Sequence[Hit], expected: Sequence[tuple[str, float]]) -> None:
    """Same ids in the same order, and scores within the tolerance."""
    assert [hit.memory.id for hit in hits] == [id for id, _ in expected]
    for hit, (_, score) in zip(hits, expected, strict=True):
        assert abs(hit.score - score) <= TOLERANCE
        assert -1 <= hit.score <= 1
