"""Filters that nobody thought of, on real stores: each finds what ``matches`` accepts of the scope's own
memories, in the words of no query language, and what other tenants have is not touched by any.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.registry import create_driver
from memrelay.driver import Driver
from memrelay.filters import MAX_DEPTH, MAX_NODES, matches
from memrelay.testing.conformance.harness import (
    Model,
    apply_all,
    found_ids,
    fresh_scope,
    parsed,
    scanned,
)
from memrelay.testing.samples import NOW, SECOND, upsert
from memrelay.times import format_time
from memrelay.types import Memory, Scope, Upsert
from tests.fuzzing import tried

FILTERS = 60
PAGE = 30
HOSTILE = (
    "*", "?", "{}", "{", "}", "|", "(", ")", '"', "'", "@", ":", "-", "--", "\\", "\\\\", '\\"',
    "%", "_", "$1", "?1", ":id", "%s", "%(id)s", "{id}", "@source:{*}", "{a}|{b}", "-@x", "(a|b)",
    "* | *", '" or "" == "', '") or (true', "' or '1'='1", "x'); DROP TABLE memories; --",
    '") == .x || .x == ("', ".source == 1", '"}) { Get { Secret } }', "1 or 1", "not .x", "in [1]",
    "ann", "Ann", "ann ", " ann", "ann\u200b", "a\u0308", "ä", "\u202eevil\u202c", "\ufeff",
    "\u2028", "😀", "👩‍👩‍👧", "ﬀ", "İ", "ı", "ß", "ſ", "K", "null", "true", "0", "1.0", "NaN",
    "Infinity", "[]", "{mrj}:due", "z" * 1024, "()" * 512,
)  # fmt: skip
"""For ids, users, sessions, tags and texts in metadata; none has a control character."""
CONTROL = ("\x01", "a\nb", "\r\n", "\t", "\x7f", "\x1b[2J", "")
"""For texts in metadata alone."""
NUMBERS = (0, -0.0, 1, 1.0, 1.5, -1, 2**53, -(2**53), 1e300, -1e300, 5e-324, 0.1, 16777217)
TIMES = (NOW, NOW - 1, NOW - 3600 * SECOND, 0, -1)
KEYS = ("topic", "odd name.x", "score", "done", "note", "a.b", '"', "$eq", "[0]", "{x}", "x y", "ä")


def kept(texts: Sequence[str]) -> st.SearchStrategy[str]:
    """Texts that memories hold, parts of them, and pairs."""
    one = st.integers(0, len(texts) - 1).map(lambda n: texts[n])
    part = st.builds(lambda text, n: text[:n] or text, one, st.integers(1, 4))
    return one | part | st.builds("{}{}".format, one, one).map(lambda text: text[:1024])


names = kept([text for text in HOSTILE if len(text) <= 256])
words = (
    kept(HOSTILE) | st.sampled_from(CONTROL) | st.text(max_size=8).filter(lambda t: "\0" not in t)
)
numbers = (
    st.sampled_from(NUMBERS)
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
)
times = st.sampled_from(TIMES).map(format_time)
scalars = words | numbers | st.booleans()


def on(field: str, values: st.SearchStrategy[Any], operators: str) -> st.SearchStrategy[Any]:
    """One or two tests of a field, or a bare value."""
    lists = st.lists(values, min_size=1, max_size=5)
    each = {
        operator: lists if operator in ("$in", "$nin") else values for operator in operators.split()
    }
    tests = st.fixed_dictionaries({}, optional={**each, "$exists": st.booleans()})
    return (tests.filter(bool) | values).map(lambda test: {field: test})


EQUAL, ORDER = "$eq $ne $in $nin", "$gt $gte $lt $lte"
leaves = st.one_of(
    *(on(field, names, f"{EQUAL} {ORDER} $contains") for field in ("id", "user_id", "session_id")),
    on("tags", names, f"{EQUAL} {ORDER} $contains"),
    on("created_at", times, f"{EQUAL} {ORDER}"),
    on("metadata.topic", words, f"{EQUAL} {ORDER} $contains"),
    on("metadata.odd name.x", words, f"{EQUAL} {ORDER} $contains"),
    on("metadata.score", numbers, f"{EQUAL} {ORDER}"),
    on("metadata.done", st.booleans(), EQUAL),
    *(on(f"metadata.{key}", scalars, "$eq $in") for key in KEYS[4:]),
)
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map(lambda parts: {"$and": parts}),
        st.lists(inner, min_size=1, max_size=4).map(lambda parts: {"$or": parts}),
        inner.map(lambda part: {"$not": part}),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda parts: {key: value for part in parts for key, value in part.items()}
        ),
    ),
    max_leaves=12,
).filter(lambda raw: depth(raw) <= MAX_DEPTH)


def depth(raw: Any) -> int:
    """Of a filter's objects."""
    if isinstance(raw, dict):
        inner = max((depth(v) for k, v in raw.items() if k in ("$and", "$or", "$not")), default=0)
        return 1 + inner
    return max(map(depth, raw)) if isinstance(raw, list) else 0


def memories(owner: str) -> list[Upsert]:
    """One for each text, which is in every field of it; ``owner`` tells apart those of the same ids."""
    ops = []
    for n, text in enumerate(HOSTILE):
        name = text[:256]
        later = HOSTILE[(n * 7 + 3) % len(HOSTILE)]
        metadata: dict[str, Any] = {
            "topic": text if n % 5 else [text, later, 1, None],
            "score": NUMBERS[n % len(NUMBERS)],
            KEYS[n % len(KEYS)]: (text, CONTROL[n % len(CONTROL)], n, n % 2 == 0, None)[n % 5],
            "odd name.x": later,
        }
        ops.append(
            upsert(
                name,
                version=n + 1,
                text=f"{owner} {n}",
                user_id=None if n % 6 == 0 else later[:256],
                session_id=None if n % 4 == 0 else name,
                tags=(name[:128], later[:128])[: n % 3],
                metadata=metadata,
                created_at=TIMES[n % len(TIMES)],
            )
        )
    return ops


@dataclass
class Ground:
    """A driver with a scope of its own, and neighbours that hold the same ids."""

    driver: Driver
    scope: Scope
    neighbours: list[Scope]
    model: Model

    async def check(self, raw: Any) -> None:
        """All ways to select agree with the reference, and give the scope's own."""
        node = parsed(self.scope, raw)
        expected = {op.id for op in self.model.live() if matches(node, op.memory)}
        shown = json.dumps(raw)[:500]
        assert (shown, await found_ids(self.driver, self.scope, raw)) == (shown, expected)
        count = await self.driver.count(self.scope, node, now=NOW)
        assert (shown, count) == (shown, len(expected))
        found: list[Memory] = []
        while True:
            after = found[-1].id if found else None
            page = await self.driver.find(self.scope, node, after=after, limit=PAGE)
            found += page
            if len(page) < PAGE:
                break
        assert (shown, [one.id for one in found]) == (shown, sorted(expected))
        assert all(one.text.startswith("own ") for one in found)


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[..., Any]]:
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture(params=["redis", "weaviate", "pgvector", "sqlite"])
def ground(
    request: pytest.FixtureRequest, run: Callable[..., Any], tmp_path: Path
) -> Iterator[Ground]:
    kind: str = request.param
    match kind:
        case "redis":
            settings = {"url": request.getfixturevalue("redis_url")}
        case "weaviate":
            server = request.getfixturevalue("weaviate")
            settings = {"url": server.url, "grpc_port": server.grpc_port}
        case "pgvector":
            settings = {"url": request.getfixturevalue("postgres_url")}
        case _:
            settings = {"path": str(tmp_path / "memories.db")}
    driver = create_driver(kind, settings)
    scope = fresh_scope()
    neighbours = [fresh_scope(), replace(scope, source="other")]

    async def filled() -> Model:
        await driver.open()
        for other in neighbours:
            await driver.ensure(other)
            await apply_all(driver, other, memories("foreign"))
        await driver.ensure(scope)
        return await apply_all(driver, scope, memories("own"))

    async def emptied() -> None:
        for place in (scope, *neighbours):
            await driver.purge(place)
        await driver.close()

    with ExitStack() as stack:
        model = run(filled())
        stack.callback(lambda: run(emptied()))
        yield Ground(driver, scope, neighbours, model)


def test_any_filter_finds_what_matches_of_the_scope_s_own(
    ground: Ground, run: Callable[..., Any]
) -> None:
    before = [run(scanned(ground.driver, other)) for other in ground.neighbours]

    @tried(FILTERS)
    @given(filters)
    def attempt(raw: Any) -> None:
        run(ground.check(raw))

    attempt()
    assert [run(scanned(ground.driver, other)) for other in ground.neighbours] == before
    own = sorted((entry.id, entry.version) for entry in run(scanned(ground.driver, ground.scope)))
    assert own == sorted((op.id, op.version) for op in memories("own"))


def test_every_text_finds_its_own_memories(ground: Ground, run: Callable[..., Any]) -> None:
    for text in HOSTILE:
        run(ground.check({"$or": [{"id": text[:256]}, {"tags": text[:128]}, {"user_id": text}]}))
        run(ground.check({"metadata.topic": text, "session_id": {"$ne": text}}))


def test_filters_at_their_limits_are_evaluated(ground: Ground, run: Callable[..., Any]) -> None:
    deep: Any = {"user_id": HOSTILE[0]}
    for level in range(MAX_DEPTH - 1):
        deep = {"$not": deep} if level % 2 else {"$or": [deep, {"tags": HOSTILE[level]}]}
    wide = {"$or": [{"metadata.topic": f"{n}{HOSTILE[n % 60]}"} for n in range(MAX_NODES - 2)]}
    most = {"user_id": {"$nin": [f"{n}" for n in range(1000)]}, "id": {"$in": list(HOSTILE[:60])}}
    for raw in (deep, wide, most, {"$not": wide}):
        run(ground.check(raw))
