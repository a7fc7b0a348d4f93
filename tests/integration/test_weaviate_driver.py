"""What is the Weaviate driver's own, on real servers; the contract is in tests/conformance."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from weaviate import exceptions
from weaviate.classes.config import Configure
from weaviate.classes.data import DataObject

from backends.weaviate import create, search
from backends.weaviate.driver import WeaviateDriver
from backends.weaviate.errors import CLASSES
from backends.weaviate.objects import collection_name, object_id, tenant_name
from backends.weaviate.schema import ensure
from deploy.native.weaviate import WeaviateServer
from memrelay.driver import Query
from memrelay.errors import ConfigError, Permanent, Transient, Unavailable
from memrelay.filters import matches, parse_filter
from memrelay.testing.samples import NOW, SPACE, cosine, upsert, vector, vector_at
from memrelay.types import Delete, Entry, Op, Scope, Space, vector_to_bytes
from tests.servers import Weaviate

URL = "http://127.0.0.1:8080"
AXIS = vector("axis")


@pytest.fixture
async def driver(weaviate: Weaviate) -> AsyncIterator[WeaviateDriver]:
    driver = create("wv", {"url": weaviate.url, "grpc_port": weaviate.grpc_port})
    await driver.open()
    yield driver
    await driver.close()


@pytest.fixture
async def scope(driver: WeaviateDriver) -> AsyncIterator[Scope]:
    """A scope in a collection of its own, gone afterwards."""
    space = Space(f"test/{uuid.uuid4().hex}", SPACE.dimensions)
    scope = Scope(namespace="acme", source="default", space=space)
    await driver.ensure(scope)
    yield scope
    await driver._connection.client.collections.delete(collection_name(space))


async def test_every_exception_of_the_client_is_judged() -> None:
    known = {
        kind
        for _, kind in inspect.getmembers(exceptions, inspect.isclass)
        if issubclass(kind, Exception) and kind.__module__ == exceptions.__name__
    }
    judged = {kind for kind in CLASSES if kind.__module__ == exceptions.__name__}
    assert judged == known
    assert all(issubclass(kind, Exception) for kind in CLASSES)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"url": URL, "colour": "red"}, "colour"),
        ({}, "url"),
        ({"url": "127.0.0.1:8080"}, "url"),
        ({"url": "http://127.0.0.1:port"}, "url"),
        ({"url": "http://127.0.0.1:8080/v1"}, "url"),
        ({"url": URL, "grpc_port": "rpc"}, "grpc_port"),
        ({"url": URL, "grpc_port": 8080}, "grpc_port"),
        ({"url": URL, "api_key": ""}, "api_key"),
        ({"url": URL, "timeout": 0}, "timeout"),
        ({"url": URL, "timeout": "soon"}, "timeout"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^drivers\.wv\.{key}: "):
        create("wv", settings)


async def test_an_unreachable_server_is_one_clear_line(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    driver = create("wv", {"url": url})
    with pytest.raises(Unavailable) as caught:
        await driver.open()
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)
    await driver.close()


async def test_a_closed_grpc_port_is_noticed_by_open_and_ping(
    weaviate: Weaviate, driver: WeaviateDriver, unused_tcp_port: int
) -> None:
    wrong = create("wv", {"url": weaviate.url, "grpc_port": unused_tcp_port})
    with pytest.raises(Unavailable):
        await wrong.open()
    await driver.ping()


async def test_a_driver_that_is_not_open_says_so() -> None:
    with pytest.raises(Unavailable, match="not open"):
        await create("wv", {"url": URL}).get(_scope(), ["a"])


async def test_a_killed_server_fails_calls_fast_and_is_found_again(
    weaviate_server_factory: Callable[[], WeaviateServer],
) -> None:
    server = weaviate_server_factory()
    scope = _scope()
    async with _opened(server) as driver:
        await driver.ensure(scope)
        ops: list[Op] = [upsert("a", version=1), upsert("b", version=2), Delete("c", 3)]
        await driver.apply(scope, ops)
        server.kill()
        for call in _calls(driver, scope):
            started = time.monotonic()
            with pytest.raises(Unavailable):
                await call()
            assert time.monotonic() - started < 20
        server.start()
        await _until_served(driver, scope)
        entries = (await driver.scan(scope)).entries
        assert [(e.id, e.version) for e in entries] == [("a", 1), ("b", 2), ("c", 3)]
        assert len(await driver.search(scope, _nearest())) == 2


async def test_a_call_in_flight_fails_when_the_server_is_killed(
    weaviate_server_factory: Callable[[], WeaviateServer],
) -> None:
    server = weaviate_server_factory()
    scope = _scope()
    async with _opened(server) as driver:
        await driver.ensure(scope)
        server.freeze()
        call = asyncio.ensure_future(driver.apply(scope, [upsert("a")]))
        await asyncio.sleep(0.2)
        server.kill()
        with pytest.raises(Unavailable):
            async with asyncio.timeout(60):
                await call


async def test_a_frozen_server_costs_no_more_than_the_timeout(
    weaviate_server_factory: Callable[[], WeaviateServer],
) -> None:
    server = weaviate_server_factory()
    scope = _scope()
    async with _opened(server) as patient:
        await patient.ensure(scope)
    async with _opened(server, timeout=1) as driver:
        await driver.ensure(scope)
        server.freeze()
        for call in _calls(driver, scope):
            started = time.monotonic()
            with pytest.raises(Unavailable):
                await call()
            assert time.monotonic() - started < 20
        server.thaw()
        await _until_served(driver, scope)


async def test_a_collection_that_was_lost_is_made_again_by_the_next_apply(
    driver: WeaviateDriver, scope: Scope
) -> None:
    await driver.apply(scope, [upsert("a")])
    await driver._connection.client.collections.delete(collection_name(scope.space))
    with pytest.raises(Transient):
        await driver.get(scope, ["a"])
    assert (await driver.apply(scope, [upsert("b")]))["b"].status == "applied"
    assert set(await driver.get(scope, ["a", "b"])) == {"b"}


async def test_a_collection_that_is_not_ours_is_refused(
    driver: WeaviateDriver, scope: Scope
) -> None:
    collections = driver._connection.client.collections
    name = collection_name(scope.space)
    await collections.delete(name)
    await collections.create(name, vector_config=Configure.Vectors.self_provided())
    with pytest.raises(Permanent, match=name):
        await driver.ensure(scope)


async def test_many_drivers_declare_new_fields_at_once(weaviate: Weaviate, scope: Scope) -> None:
    wide = replace(scope, fields={f"n{n}": "number" for n in range(5)})
    async with _opened(weaviate) as one, _opened(weaviate) as two, _opened(weaviate) as three:
        await asyncio.gather(*(each.ensure(wide) for each in (one, two, three) for _ in range(3)))
        await one.apply(wide, [upsert("a", metadata={"n4": 2.5})])
        assert (
            await two.count(wide, parse_filter({"metadata.n4": {"$gt": 2}}, wide.fields), now=NOW)
            == 1
        )


async def test_numbers_written_before_their_field_was_declared_are_found(
    driver: WeaviateDriver, scope: Scope
) -> None:
    await driver.apply(scope, [upsert(f"old{n}", metadata={"n": n}) for n in range(4)])
    declared = replace(scope, fields={"n": "number"})
    await driver.ensure(declared)
    await driver.apply(declared, [upsert(f"new{n}", metadata={"n": n}) for n in range(4)])
    node = parse_filter({"metadata.n": {"$gte": 2}}, declared.fields)
    hits = await driver.search(declared, replace(_nearest(), filter=node))
    assert {hit.memory.id for hit in hits} == {"old2", "old3", "new2", "new3"}
    assert await driver.count(declared, node, now=NOW) == 4


async def test_what_the_server_refuses_fails_alone_and_is_not_logged(
    driver: WeaviateDriver, scope: Scope, caplog: pytest.LogCaptureFixture
) -> None:
    """A stray vector of another length in the tenant makes Weaviate refuse ours."""
    collection = driver._connection.collection(scope)
    await collection.data.insert_many(
        [DataObject(properties={"source": "stray"}, vector=[1.0] * 3)]
    )
    secret = upsert("secret", text="a canary in a coal mine", version=2)
    with caplog.at_level(logging.DEBUG):
        outcomes = await driver.apply(scope, [secret, Delete("gone", 3)])
        alone = await driver.apply(scope, [secret])
    assert outcomes["gone"].status == "applied"
    for outcome in (outcomes["secret"], alone["secret"]):
        assert outcome.status == "failed"
        assert isinstance(outcome.error, Transient)
    assert "canary" not in caplog.text
    assert [entry.id for entry in (await driver.scan(scope)).entries] == ["gone"]


async def test_numbers_beyond_a_double_fail_alone(driver: WeaviateDriver, scope: Scope) -> None:
    size = SPACE.dimensions
    ops = [
        upsert("far", created_at=2**60),
        upsert("high", version=2**53),
        upsert("loud", vector=vector_to_bytes([3e38] * size)),
        upsert("endless", vector=vector_to_bytes([math.inf] * size)),
        upsert("nothing", vector=vector_to_bytes([math.nan] * size)),
        upsert("good", vector=vector_to_bytes([9e36] * size)),
    ]
    outcomes = dict(await driver.apply(scope, ops))
    assert outcomes.pop("good").status == "applied"
    assert {outcome.status for outcome in outcomes.values()} == {"failed"}
    assert all(isinstance(outcome.error, Permanent) for outcome in outcomes.values())
    assert await driver.records(scope, ["good"]) == {"good": ops[-1]}


async def test_more_than_weaviate_pages_through(driver: WeaviateDriver, scope: Scope) -> None:
    """10,200 objects, where Weaviate answers 10,000 at most: half of them under one version."""
    neighbour = replace(scope, source="other")
    await driver.apply(neighbour, [upsert("a", source="other")])
    ops = [
        upsert(
            f"m{n:05d}",
            version=7 if n % 2 else 100 + n,
            metadata={"topic": f"topic {n}"},
            vector=vector_at(AXIS, 0.9 - n * 1e-4, n),
        )
        for n in range(10_200)
    ]
    declared = replace(scope, fields={"topic": "string"})
    for start in range(0, len(ops), 512):
        await driver.apply(declared, ops[start : start + 512])

    expected = sorted((op.version, op.id) for op in ops)
    assert [(e.version, e.id) for e in await _scanned(driver, declared, 1000)] == expected

    node = parse_filter({"metadata.topic": {"$contains": " 1019"}}, declared.fields)
    matching = [op for op in ops if matches(node, op.memory)]
    assert len(matching) == 11
    hits = await driver.search(declared, replace(_nearest(), top_k=20, filter=node))
    assert [hit.memory.id for hit in hits] == [op.id for op in matching]
    assert hits[0].score == pytest.approx(cosine(AXIS, matching[0].vector), abs=1e-6)
    assert await driver.count(declared, node, now=NOW) == 11
    assert await driver.count(declared, None, now=NOW) == 10_200

    assert [memory.id for memory in await driver.find(declared, node, limit=20)] == [
        op.id for op in matching
    ]
    (last,) = await driver.find(declared, node, after=matching[-2].id, limit=20)
    assert last == matching[-1].memory

    await driver.purge(declared)
    assert await _scanned(driver, declared, 1000) == []
    assert set(await driver.get(neighbour, ["a"])) == {"a"}


async def test_a_page_that_ends_inside_one_version_goes_on_after_it(
    driver: WeaviateDriver, scope: Scope
) -> None:
    ops = [upsert(f"{n:03d}", version=5 if n < 20 else n) for n in range(30)]
    await driver.apply(scope, [*ops, Delete("first", 1)])
    expected = [("first", 1), *((op.id, op.version) for op in ops)]
    for size in (1, 4, 10, 19, 20, 21, 29, 31):
        entries = await _scanned(driver, scope, size)
        assert (size, [(e.id, e.version) for e in entries]) == (size, expected)


async def test_a_cursor_of_somebody_else_is_refused(driver: WeaviateDriver, scope: Scope) -> None:
    with pytest.raises(Permanent):
        await driver.scan(scope, cursor="0-1")


async def test_512_texts_of_64_kib_are_taken_and_given_back(
    driver: WeaviateDriver, scope: Scope
) -> None:
    ops = [upsert(f"m{n}", version=n, text=f"word{n} " + "x\n" * 32768) for n in range(1, 513)]
    outcomes = await driver.apply(scope, ops)
    assert {outcome.status for outcome in outcomes.values()} == {"applied"}
    got = await driver.get(scope, [op.id for op in ops])
    assert all(got[op.id].text == op.memory.text for op in ops)
    hits = await driver.search(scope, replace(_nearest(), top_k=512))
    assert len(hits) == 512


async def test_common_words_are_searched_for_in_every_language(
    driver: WeaviateDriver, scope: Scope
) -> None:
    await driver.apply(scope, [upsert("who", text="Who is there"), upsert("no", text="zebra")])
    query = Query(mode="keyword", text="the there who", top_k=5, now=NOW)
    assert [hit.memory.id for hit in await driver.search(scope, query)] == ["who"]


@pytest.mark.parametrize("include_vector", [False, True])
async def test_few_that_a_filter_leaves_are_ranked_here_as_they_are_by_the_index(
    driver: WeaviateDriver, scope: Scope, monkeypatch: pytest.MonkeyPatch, *, include_vector: bool
) -> None:
    """Ties and turned vectors among them; what has expired or is deleted is not."""
    vectors = [vector(n // 2) for n in range(98)] + [vector_at(AXIS, -1.0, 1), AXIS]
    ops: list[Op] = [
        upsert(f"m{n}", vector=one, user_id="ana", expires_at=NOW - 1 if n == 3 else None)
        for n, one in enumerate(vectors)
    ]
    await driver.apply(scope, [*ops, *(upsert(f"b{n}", user_id="bo") for n in range(300))])
    await driver.apply(scope, [Delete("m4", 2)])
    ana = parse_filter({"user_id": "ana"}, {})
    query = replace(_nearest(), top_k=50, filter=ana, include_vector=include_vector)
    asked = [query, replace(query, top_k=100), replace(query, min_score=0.3)]
    few = [await driver.search(scope, one) for one in asked]
    assert len(few[1]) == 98
    monkeypatch.setattr(search, "NUMBERS", 0)
    for some, one in zip(few, asked, strict=True):
        ranked = await driver.search(scope, one)
        assert [hit.memory for hit in some] == [hit.memory for hit in ranked]
        assert [hit.vector for hit in some] == [hit.vector for hit in ranked]
        scores = [hit.score for hit in ranked]
        assert [hit.score for hit in some] == pytest.approx(scores, abs=1e-6)


@pytest.mark.parametrize(("user", "read"), [("ana", 90), ("bo", 1)])
async def test_of_what_a_filter_leaves_no_more_is_read_than_is_needed(
    driver: WeaviateDriver,
    scope: Scope,
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    read: int,
) -> None:
    """The vectors of few, one id of many; records of some more than are asked for; no count."""
    ops = [upsert(f"m{n}", user_id="ana" if n < 90 else "bo") for n in range(600)]
    await driver.apply(scope, ops)
    query = replace(_nearest(), top_k=10, filter=parse_filter({"user_id": user}, {}))
    answers: list[Any] = []
    call = driver._connection.call

    async def noted(work: Awaitable[Any]) -> Any:
        answers.append(await call(work))
        return answers[-1]

    monkeypatch.setattr(driver._connection, "call", noted)
    for _ in range(2):
        assert len(await driver.search(scope, query)) == 10
    objects = [object for answer in answers for object in getattr(answer, "objects", ())]
    whole = sum(bool(object.properties.get("record")) for object in objects)
    assert len(objects) - whole == 2 * read
    assert whole == 2 * (query.top_k + search.SPARE)
    assert sum(hasattr(answer, "total_count") for answer in answers) == 1  # of the namespace


async def test_few_that_are_damaged_make_room_for_others(
    driver: WeaviateDriver, scope: Scope
) -> None:
    """The nearest fifty cannot be read any more: the next ones are the answer."""
    near = [upsert(f"a{n:02}", vector=AXIS, user_id="ana") for n in range(50)]
    far = [upsert(f"b{n:02}", vector=vector_at(AXIS, 0.5, n), user_id="ana") for n in range(20)]
    await driver.apply(scope, [*near, *far])
    collection = driver._connection.collection(scope)
    for op in near:
        await collection.data.update(uuid=object_id(scope, op.id), properties={"record": "{"})
    query = replace(_nearest(), top_k=5, filter=parse_filter({"user_id": "ana"}, {}))
    hits = await driver.search(scope, query)
    assert len(hits) == 5
    assert {hit.memory.id[0] for hit in hits} == {"b"}
    assert await driver.search(scope, replace(query, min_score=0.9)) == []


async def test_a_space_has_a_collection_and_a_namespace_a_tenant(
    driver: WeaviateDriver, scope: Scope
) -> None:
    collection = driver._connection.client.collections.use(collection_name(scope.space))
    await driver.ensure(replace(scope, namespace="other:ns", source="another"))
    await ensure(driver._connection, replace(scope, source="third"))
    tenants = await collection.tenants.get()
    assert set(tenants) == {tenant_name(scope), tenant_name(replace(scope, namespace="other:ns"))}
    config = await collection.config.get()
    assert config.multi_tenancy_config.enabled


async def test_vectors_come_back_bit_for_bit_however_often_they_are_written(
    driver: WeaviateDriver, scope: Scope
) -> None:
    op = upsert("a", vector=vector("third of a third"))
    for version in (1, 1, 1, 2, 3, 3):
        await driver.apply(scope, [replace(op, memory=replace(op.memory, version=version))])
        (hit,) = await driver.search(scope, replace(_nearest(), include_vector=True))
        assert (hit.memory.version, hit.vector) == (version, op.vector)


def test_a_driver_can_be_opened_again_on_another_loop(weaviate: Weaviate) -> None:
    driver = create("wv", {"url": weaviate.url, "grpc_port": weaviate.grpc_port})

    async def use() -> None:
        await driver.open()
        await driver.ping()
        await driver.close()

    asyncio.run(use())
    asyncio.run(use())


@asynccontextmanager
async def _opened(
    server: Weaviate | WeaviateServer, **settings: Any
) -> AsyncIterator[WeaviateDriver]:
    driver = create("wv", {"url": server.url, "grpc_port": server.grpc_port, **settings})
    await driver.open()
    try:
        yield driver
    finally:
        await driver.close()


def _scope() -> Scope:
    return Scope(namespace="acme", source="default", space=SPACE)


def _nearest() -> Query:
    return Query(mode="semantic", vector=AXIS, top_k=50, now=NOW)


def _calls(driver: WeaviateDriver, scope: Scope) -> Sequence[Callable[[], Awaitable[object]]]:
    return (
        driver.ping,
        lambda: driver.ensure(scope),
        lambda: driver.apply(scope, [upsert("d", version=9)]),
        lambda: driver.get(scope, ["a"]),
        lambda: driver.search(scope, _nearest()),
        lambda: driver.scan(scope),
        lambda: driver.records(scope, ["a"]),
        lambda: driver.find(scope, None),
        lambda: driver.expired(scope, now=NOW),
        lambda: driver.collect(scope, before=9),
        lambda: driver.count(scope, None, now=NOW),
        lambda: driver.purge(scope),
    )


async def _until_served(driver: WeaviateDriver, scope: Scope) -> None:
    """Until a search succeeds."""
    started = time.monotonic()
    while True:
        try:
            await driver.search(scope, _nearest())
        except Transient:
            assert time.monotonic() - started < 60
            await asyncio.sleep(0.05)
        else:
            return


async def _scanned(driver: WeaviateDriver, scope: Scope, limit: int) -> list[Entry]:
    page = await driver.scan(scope, limit=limit)
    entries = list(page.entries)
    while page.cursor is not None:
        page = await driver.scan(scope, cursor=page.cursor, limit=limit)
        entries += page.entries
    return entries
