"""Records with several values in every field, every operator of every filter, and what these select."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

from agent_memory_server.filters import (
    CreatedAt,
    DateTimeFilter,
    DiscreteMemoryExtracted,
    Entities,
    EventDate,
    Id,
    LastAccessed,
    MemoryHash,
    MemoryType,
    Namespace,
    SessionId,
    TagFilter,
    Topics,
    UserId,
)
from agent_memory_server.models import MemoryRecord

DAY = datetime(2026, 5, 10, 12, tzinfo=UTC)
RUN = f"run-{uuid4().hex[:12]}-"
ODD = "a|b{c} d-e,é😀"
EDGES = ("\ud7ffx", "\U0010ffffx")
"""After the first letter of one come the surrogates, after that of the other nothing."""


def corpus() -> list[MemoryRecord]:
    """24 records in which every field has several values, one of them none where that is possible."""
    users = ("ana", "anna", ODD, None)
    return [
        MemoryRecord(
            id=f"{RUN}{index:02}",
            text=f"note number {index} about {('tea', 'coffee', 'water')[index % 3]}",
            user_id=users[index % 4],
            session_id=("s1", "s2", None)[index % 3],
            namespace=("work", "work-2", "home", ODD, EDGES[0], EDGES[1], None)[index % 7],
            created_at=DAY + timedelta(hours=index),
            last_accessed=DAY + timedelta(days=index % 7, microseconds=index % 2),
            event_date=None if index % 4 == 0 else DAY - timedelta(days=index % 6),
            topics=(["tea", "travel"], ["tea-time"], ["a|b"], [], None)[index % 5],
            entities=(["Ana"], ["Ana", "Ben"], None)[index % 3],
            memory_type=("semantic", "episodic", "message")[index % 3],
            memory_hash=f"hash{index % 4}",
            discrete_memory_extracted="tf"[index % 2],
        )
        for index in range(24)
    ]


CORPUS = corpus()
ARGUMENTS = {
    "id_": "id",
    **{
        name: name
        for name in (
            *("session_id", "user_id", "namespace", "topics", "entities", "memory_type"),
            *("memory_hash", "discrete_memory_extracted"),
            *("created_at", "last_accessed", "event_date"),
        )
    },
}


def values_of(record: MemoryRecord, argument: str) -> list[Any]:
    value = getattr(record, argument)
    values = value if isinstance(value, list) else [value]
    return [getattr(one, "value", one) for one in values if one is not None]


def passes(record: MemoryRecord, filter: Any) -> bool:
    """What the operators say, and all of them: the oracle."""
    has = values_of(record, ARGUMENTS[filter.field])
    tests: list[bool] = []
    if filter.eq is not None:
        tests.append(filter.eq in has)
    if filter.ne is not None:
        tests.append(filter.ne not in has)
    if isinstance(filter, DateTimeFilter):
        tests += _time_tests(has, filter)
        return all(tests)
    if filter.any is not None:
        tests.append(any(value in has for value in filter.any))
    if filter.all is not None:
        tests.append(all(value in has for value in filter.all))
    if isinstance(filter, TagFilter) and filter.startswith is not None:
        tests.append(any(value.startswith(filter.startswith) for value in has))
    return all(tests)


def _time_tests(has: list[datetime], filter: DateTimeFilter) -> Iterator[bool]:
    for value, test in (
        (filter.gt, lambda at: at > filter.gt),
        (filter.gte, lambda at: at >= filter.gte),
        (filter.lt, lambda at: at < filter.lt),
        (filter.lte, lambda at: at <= filter.lte),
    ):
        if value is not None:
            yield any(map(test, has))
    if filter.between is not None:
        low, high = filter.between
        ends = {"both": has, "left": has, "right": has, "neither": has}[filter.inclusive]
        yield any(
            (low <= at if filter.inclusive in ("both", "left") else low < at)
            and (at <= high if filter.inclusive in ("both", "right") else at < high)
            for at in ends
        )


def tag_filters(kind: type[TagFilter], *values: str) -> Iterator[TagFilter]:
    first, second = values[:2]
    yield from (kind(eq=value) for value in (*values, "no such value"))
    yield kind(ne=first)
    yield kind(any=[first, second, "no such value"])
    yield kind(all=[first])
    yield kind(all=[first, second])
    yield kind(eq=first, any=[first, second])
    yield kind(ne=second, any=[first, second])
    yield kind(ne=second, all=[first])


def time_filters(kind: type[DateTimeFilter]) -> Iterator[DateTimeFilter]:
    low, high = DAY - timedelta(days=2), DAY + timedelta(days=3)
    for moment in (low, DAY, high, DAY + timedelta(microseconds=1)):
        yield from (kind(**{op: moment}) for op in ("gt", "gte", "lt", "lte", "eq", "ne"))
    yield kind(gte=low, lte=DAY)
    yield kind(gt=low, lt=high)
    yield from (
        kind(between=[low, high], inclusive=ends) for ends in ("both", "neither", "left", "right")
    )
    yield kind(gte=DAY.astimezone(timezone(timedelta(hours=5))))


FILTERS = [
    *tag_filters(UserId, "ana", ODD),
    *(UserId(startswith=prefix) for prefix in ("an", "ann", "a|b{", "z")),
    *tag_filters(SessionId, "s1", "s2"),
    SessionId(startswith="s"),
    *tag_filters(Namespace, "work", "home", ODD),
    *(
        Namespace(startswith=prefix)
        for prefix in ("work", "work-", "a|", "é", EDGES[0][0], EDGES[1][0])
    ),
    *tag_filters(Topics, "tea", "travel", "a|b"),
    *(Topics(startswith=prefix) for prefix in ("tea", "tea-", "tr", "a|", "ravel")),
    *tag_filters(Entities, "Ana", "Ben"),
    *(Entities(startswith=prefix) for prefix in ("B", "An", "b")),
    *tag_filters(MemoryHash, "hash1", "hash2"),
    *(MemoryHash(startswith=prefix) for prefix in ("hash", "hash3")),
    *tag_filters(DiscreteMemoryExtracted, "t", "f"),
    *tag_filters(Id, f"{RUN}03", f"{RUN}04"),
    *(Id(startswith=f"{RUN}{digit}") for digit in (0, 1, 3)),
    *(MemoryType(**{op: "semantic"}) for op in ("eq", "ne")),
    *(MemoryType(**{op: ["semantic", "message"]}) for op in ("any", "all")),
    *time_filters(CreatedAt),
    *time_filters(LastAccessed),
    *time_filters(EventDate),
]


def expected(filters: Iterable[Any]) -> list[str]:
    return [record.id for record in CORPUS if all(passes(record, one) for one in filters)]
