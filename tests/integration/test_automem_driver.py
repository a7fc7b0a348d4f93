"""What is the AutoMem driver's own; the contract is in tests/conformance.

Tests that take ``driver`` run on the double, and on a real AutoMem if there is one. Those that take
``double`` run on the double alone: for faults, for what comes in, and for what lies there. That the double
is as AutoMem is says test_automem_contract.py.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import tracemalloc
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from backends.automem import AutomemDriver, create
from backends.automem.listing import listing
from backends.automem.tags import id_tag, scope_tag, user_tag
from memrelay.driver import Query
from memrelay.errors import ConfigError, Permanent, Transient, Unavailable, Unsupported
from memrelay.filters import parse_filter
from memrelay.testing.samples import NOW, SPACE, upsert, upserts, vector
from memrelay.types import APPLIED, STALE, Delete, Hit, Op, Scope, Upsert
from tests.automem_server import AutomemServer, Node
from tests.flood import FLOOD, Flood
from tests.servers import Automem

TOKEN = "s3cret-token"
URL = "http://127.0.0.1:8001"
AXIS = vector("axis")
TAG = re.compile(r"[a-z-]+:([0-9a-f]{32}|ping)")


@pytest.fixture
def double() -> Iterator[AutomemServer]:
    with AutomemServer(TOKEN) as server:
        yield server


@pytest.fixture
async def driver(automem: Automem) -> AsyncIterator[AutomemDriver]:
    driver = create("am", {"url": automem.url, "token": automem.token})
    await driver.open()
    yield driver
    await driver.close()


@pytest.fixture
async def scope(driver: AutomemDriver) -> AsyncIterator[Scope]:
    scope = _scope()
    yield scope
    await driver.purge(scope)


async def test_a_memory_is_stored_found_and_deleted(driver: AutomemDriver, scope: Scope) -> None:
    op = upsert("seat", text="Ana prefers window seats.", user_id="ana")
    assert await driver.apply(scope, [op]) == {"seat": APPLIED}
    (hit,) = await driver.search(scope, _near(op.vector, user_id="ana"))
    assert hit.memory == op.memory
    assert hit.score == pytest.approx(1)
    assert await driver.apply(scope, [Delete("seat", 2)]) == {"seat": APPLIED}
    assert list(await driver.search(scope, _near(op.vector))) == []


async def test_rule_1_names_that_automem_confuses_are_told_apart(
    driver: AutomemDriver, scope: Scope
) -> None:
    users = ("Ann", "ann", " ann", "ann ", "ann:bob", "ann/bob", "ann,bob", "")
    await driver.apply(scope, [upsert(f"m{n}", user_id=user) for n, user in enumerate(users)])
    for n, user in enumerate(users):
        assert _ids(await driver.search(scope, _near(user_id=user))) == [f"m{n}"]


async def test_rule_1_what_has_our_tag_in_another_case_is_not_ours(
    double: AutomemServer,
) -> None:
    async with _opened(double) as driver:
        scope = _scope()
        await driver.apply(scope, [upsert("mine")])
        (node,) = double.nodes.values()
        stray = replace(node, id=str(uuid.uuid4()), tags=[tag.upper() for tag in node.tags])
        double.nodes[stray.id] = stray
        assert len((await driver.scan(scope)).entries) == 1
        assert await driver.count(scope, None, now=NOW) == 1
        await driver.purge(scope)
        assert list(double.nodes) == [stray.id]


async def test_rule_2_each_tag_is_sent_by_itself_and_matched_whole(double: AutomemServer) -> None:
    async with _opened(double) as driver:
        scope = _scope()
        await driver.apply(scope, upserts(70, users=("a,b", None)))
        below = [f"{scope_tag(scope)}:below", f"{user_tag(scope, 'a,b')}/below"]
        _foreign(double, "of a level below ours", *below)
        await _read_everything(driver, scope, user_id="a,b")
        assert len(await driver.find(scope, None)) == 70
    sent = [tag for request in double.requests for tag in request.all("tags")]
    assert len(sent) > 140
    assert all(TAG.fullmatch(tag) for tag in sent)


async def test_rule_3_relations_of_other_users_are_never_asked_for(double: AutomemServer) -> None:
    async with _opened(double) as driver:
        scope = _scope()
        secret = upsert("b", user_id="bob", text="The secret of Bob", version=2)
        await driver.apply(scope, [upsert("a", user_id="ann"), secret])
        ann, bob = (_node_of(double, scope, id).id for id in ("a", "b"))
        double.edges.append((ann, bob, "RELATES_TO", 0.9))
        answers = await _read_everything(driver, scope, user_id="ann")
    assert "secret" not in str(answers)
    paths = {(request.method, request.path) for request in double.requests}
    reads = {path for method, path in paths if method == "GET"}
    assert reads == {"/memory/by-tag"}


async def test_rule_4_an_op_whose_answer_was_lost_is_stored_once(double: AutomemServer) -> None:
    async with _opened(double) as driver:
        scope, ops = _scope(), [*upserts(20), Delete("gone", 99)]
        double.lose("POST", "/memory/batch")
        with pytest.raises(Transient):
            await driver.apply(scope, ops)
        assert len(double.nodes) == 21
        before = set(double.nodes)
        assert set((await driver.apply(scope, ops)).values()) == {APPLIED}
        assert set(double.nodes) == before


async def test_rule_4_duplicates_are_returned_once_and_mended_by_the_next_apply(
    double: AutomemServer,
) -> None:
    async with _opened(double) as driver:
        scope, ops = _scope(), [*upserts(5), Delete("gone", 99)]
        await driver.apply(scope, ops)
        for node in list(double.nodes.values()):
            twin = replace(node, id=str(uuid.uuid4()))
            double.nodes[twin.id] = twin
        assert len(double.nodes) == 12
        assert sorted(_ids(await driver.search(scope, _near()))) == [op.id for op in ops[:5]]
        assert len(await driver.find(scope, None)) == await driver.count(scope, None, now=NOW) == 5
        assert len((await driver.scan(scope)).entries) == 6
        assert len(await driver.records(scope, [op.id for op in ops])) == 6
        await driver.apply(scope, ops)
        assert len(double.nodes) == 6


async def test_rule_5_nothing_is_deleted_by_tags(double: AutomemServer) -> None:
    async with _opened(double) as driver:
        scope, other = _scope(), _scope()
        for each in (scope, other):
            await driver.apply(each, [*upserts(250, users=("ann", "bob")), Delete("gone", 999)])
        _foreign(double, "of somebody else", "user:ann")
        await driver.apply(scope, [Delete("m00001", 1000)])
        await driver.collect(scope, before=1000)
        await driver.purge(scope)
        assert len((await driver.scan(other)).entries) == 251
        assert (await driver.scan(scope)).entries == []
    assert len(double.nodes) == 252
    deleted = [request.path for request in double.requests if request.method == "DELETE"]
    assert len(deleted) == 252
    assert "/memory/by-tag" not in deleted


async def test_rule_6_what_enrichment_adds_is_not_ours(driver: AutomemDriver, scope: Scope) -> None:
    op = upsert("a", text="Wonderful mountains in Georgia.", tags=("x",), metadata={"entities": 1})
    await driver.apply(scope, [op])
    async with asyncio.timeout(60):
        while not await _is_enriched(driver, scope, op):  # noqa: ASYNC110 another process does it
            await asyncio.sleep(0.1)
    assert await driver.records(scope, ["a"]) == {"a": op}
    assert (await driver.get(scope, ["a"]))["a"].metadata == {"entities": 1}
    assert await driver.apply(scope, [op]) == {"a": APPLIED}


async def test_rule_7_long_texts_come_back_whole(driver: AutomemDriver, scope: Scope) -> None:
    texts = ("x" * 2000, "x" * 2001, "ä😀 " * 30_000, " " * 3000 + "y", " \n", "a\0b", "")
    ops = [upsert(f"t{n}", version=n + 1, text=text) for n, text in enumerate(texts)]
    assert set((await driver.apply(scope, ops)).values()) == {APPLIED}
    assert await driver.records(scope, [op.id for op in ops]) == {op.id: op for op in ops}


async def test_rule_7_content_is_the_beginning_and_may_be_rewritten(double: AutomemServer) -> None:
    async with _opened(double) as driver:
        scope, op = _scope(), upsert("a", text="word " * 1000)
        await driver.apply(scope, [op])
        (node,) = double.nodes.values()
        assert op.memory.text.startswith(node.content)
        assert 1990 <= len(node.content) <= 2000
        node.content = "Summed up by a model."
        assert await driver.records(scope, ["a"]) == {"a": op}


async def test_rule_8_what_was_applied_is_found_at_once(
    driver: AutomemDriver, scope: Scope
) -> None:
    for version in range(1, 20):
        op = upsert("a", version=version, text=f"version {version}")
        await driver.apply(scope, [op])
        (hit,) = await driver.search(scope, _near(op.vector))
        assert hit.memory == op.memory


async def test_rule_8_writes_are_batches(double: AutomemServer) -> None:
    async with _opened(double, batch=50) as driver:
        await driver.apply(_scope(), upserts(120))
    stores = [request for request in double.requests if request.method == "POST"]
    assert {request.path for request in stores} == {"/memory/batch"}
    assert [len(request.body["memories"]) for request in stores] == [50, 50, 20]
    assert all("embedding" not in one for request in stores for one in request.body["memories"])


async def test_rule_9_only_what_was_read_with_our_tag_is_deleted_and_gone_is_fine(
    double: AutomemServer,
) -> None:
    async with _opened(double) as driver:
        scope = _scope()
        await driver.apply(scope, [upsert("a", version=1)])
        (old,) = double.nodes
        double.requests.clear()
        double.refuse(404, "DELETE")
        assert await driver.apply(scope, [upsert("a", version=2)]) == {"a": APPLIED}
        seen = [(request.method, request.path) for request in double.requests]
        assert seen[-1] == ("DELETE", f"/memory/{old}")
        assert ("GET", "/memory/by-tag") in seen[:-1]


async def test_two_users_data_never_mix(driver: AutomemDriver, scope: Scope) -> None:
    users = ("ann", "bob")
    await driver.apply(scope, upserts(300, users=users))
    for user in users:
        own = {op.id for op in upserts(300, users=users) if op.memory.user_id == user}
        hits = await driver.search(scope, _near(user_id=user))
        assert {hit.memory.id for hit in hits} == own
        found = await driver.find(scope, parse_filter({"user_id": user}, {}))
        assert {memory.id for memory in found} == own


async def test_foreign_memories_are_neither_returned_nor_touched(double: AutomemServer) -> None:
    foreign = [_foreign(double, f"Of another client {n}.", "user:ann", "work") for n in range(30)]
    shown = [double.nodes[id].properties() for id in foreign]
    async with _opened(double) as driver:
        scope = _scope()
        await driver.apply(scope, [*upserts(20), Delete("gone", 99)])
        answers = await _read_everything(driver, scope, user_id="ann")
        assert "another client" not in str(answers)
        await driver.collect(scope, before=100)
        await driver.purge(scope)
    assert list(double.nodes) == foreign
    assert [node.properties() for node in double.nodes.values()] == shown


async def test_texts_that_were_deleted_or_replaced_are_nowhere(double: AutomemServer) -> None:
    """A memory that is changed in its place would keep the summary of its old text."""
    async with _opened(double) as driver:
        scope = _scope()
        await driver.apply(scope, [upsert(id, text=f"A secret of {id}.") for id in ("a", "b")])
        await driver.ping()
        assert "secret" in json.dumps([node.properties() for node in double.nodes.values()])
        await driver.apply(scope, [Delete("a", 2), upsert("b", version=3, text="Harmless.")])
        assert "secret" not in json.dumps([node.properties() for node in double.nodes.values()])


async def test_tombstones_are_of_a_type_that_automem_does_not_recall(
    double: AutomemServer,
) -> None:
    async with _opened(double) as driver:
        await driver.apply(_scope(), [Delete("a", 1)])
    (node,) = double.nodes.values()
    assert (node.type, node.content) == ("MetaPattern", "(deleted)")


async def test_a_move_that_broke_off_shows_the_memory_to_its_new_user_alone(
    double: AutomemServer,
) -> None:
    async with _opened(double) as driver:
        scope = _scope()
        await driver.apply(scope, [upsert("a", version=1, user_id="ann")])
        moved = upsert("a", version=2, user_id="bob")
        double.refuse(503, "DELETE")
        with pytest.raises(Unavailable):
            await driver.apply(scope, [moved])
        assert len(double.nodes) == 2
        for user, expected in (("ann", []), ("bob", ["a"])):
            assert _ids(await driver.search(scope, _near(user_id=user))) == expected
            found = await driver.find(scope, parse_filter({"user_id": user}, {}))
            assert [memory.id for memory in found] == expected
        assert await driver.get(scope, ["a"]) == {"a": moved.memory}
        assert await driver.apply(scope, [moved]) == {"a": APPLIED}
        assert len(double.nodes) == 1


async def test_collecting_a_tombstone_does_not_bring_back_what_it_beat(
    double: AutomemServer,
) -> None:
    async with _opened(double) as driver:
        scope = _scope()
        await driver.apply(scope, [upsert("a", version=1)])
        double.refuse(503, "DELETE")
        with pytest.raises(Unavailable):
            await driver.apply(scope, [Delete("a", 2)])
        assert await driver.collect(scope, before=3) == 1
        assert double.nodes == {}


async def test_writers_that_race_leave_the_highest_version_alone(double: AutomemServer) -> None:
    async with _opened(double) as one, _opened(double) as two:
        scope = _scope()
        for n in range(25):
            id = f"m{n}"
            old, new = upsert(id, version=1, user_id="ann"), upsert(id, version=2, user_id="bob")
            await asyncio.gather(one.apply(scope, [old]), two.apply(scope, [new]))
            assert await one.records(scope, [id]) == {id: new}
            assert await two.apply(scope, [old]) == {id: STALE}
        assert len(double.nodes) == 25


async def test_equal_versions_that_race_leave_one(double: AutomemServer) -> None:
    async with _opened(double) as one, _opened(double) as two:
        scope = _scope()
        for n in range(25):
            ops: list[Op] = [upsert(f"m{n}", text=text) for text in ("one", "two")]
            ops.append(Delete(f"m{n}", 1))
            await asyncio.gather(*(d.apply(scope, [op]) for op in ops for d in (one, two)))
            assert await one.records(scope, [f"m{n}"]) == {f"m{n}": Delete(f"m{n}", 1)}
        assert len(double.nodes) == 25


async def test_listing_misses_nothing_while_memories_are_removed_in_front_of_it(
    double: AutomemServer,
) -> None:
    async with _opened(double, page=50) as driver:
        scope = _scope()
        await driver.apply(scope, upserts(400))
        in_order = sorted(double.nodes.values(), key=lambda node: node.id)
        doomed = [node.id for node in in_order if int(node.id[-1], 16) % 2]
        seen: list[str] = []
        async for row in listing(driver._connection, [scope_tag(scope)]):
            seen.append(row.uuid)
            for id in doomed[: len(seen) // 2]:
                double.nodes.pop(id, None)
        still = [node.id for node in in_order if node.id in double.nodes]
        assert 100 < len(still) < 300
        assert len(seen) == len(set(seen))
        assert set(still) <= set(seen)


async def test_what_others_changed_in_our_memories_is_seen_and_mended(
    double: AutomemServer,
) -> None:
    async with _opened(double) as driver:
        scope, ops = _scope(), upserts(6)
        await driver.apply(scope, ops)
        before = {entry.id: entry for entry in (await driver.scan(scope)).entries}
        damages: list[Callable[[Node, Any], None]] = [
            lambda node, ours: ours.pop("record"),
            lambda node, ours: ours.update(record="{}"),
            lambda node, ours: ours.update(vector="AAAA"),
            lambda node, ours: ours.clear(),
            lambda node, ours: node.tag([tag for tag in node.tags if "live" not in tag]),
        ]
        await driver.ping()
        for op, damage in zip(ops, damages, strict=False):
            node = _node_of(double, scope, op.id)
            metadata = json.loads(node.metadata)
            damage(node, metadata["memrelay"])
            node.metadata = json.dumps(metadata)
        assert set(await driver.records(scope, [op.id for op in ops])) == {ops[5].id}
        seen = {entry.id: entry for entry in (await driver.scan(scope)).entries}
        assert seen.keys() == before.keys() - {ops[3].id}
        assert seen[ops[0].id].digest == ""
        assert seen[ops[1].id].digest not in ("", before[ops[1].id].digest)
        assert set((await driver.apply(scope, ops)).values()) == {APPLIED}
        assert await driver.records(scope, [op.id for op in ops]) == {op.id: op for op in ops}
        assert len(double.nodes) == 6


async def test_what_automem_refuses_fails_alone(double: AutomemServer) -> None:
    async with _opened(double, content_limit=5000) as driver:
        ops = [upsert("long", text="x" * 3000), *upserts(10), upsert("nul\0", version=50)]
        outcomes = dict(await driver.apply(_scope(), ops))
        for id in ("long", "nul\0"):
            assert isinstance(outcomes.pop(id).error, Permanent)
        assert set(outcomes.values()) == {APPLIED}


async def test_a_proxy_that_takes_less_gets_halves(double: AutomemServer) -> None:
    async with _opened(double) as driver:
        double.refuse(413, "POST", times=3)
        ops = upserts(100)
        assert set((await driver.apply(_scope(), ops)).values()) == {APPLIED}
        assert len(double.nodes) == 100


async def test_keyword_search_is_not_declared(driver: AutomemDriver, scope: Scope) -> None:
    assert not driver.capabilities.keyword
    with pytest.raises(Unsupported):
        await driver.search(scope, Query(mode="keyword", text="tea", top_k=3, now=NOW))


@pytest.mark.parametrize("status", [401, 403])
async def test_a_wrong_token_refuses_everybody_and_is_not_shown(
    double: AutomemServer, status: int
) -> None:
    wrong = create("am", {"url": double.url, "token": "Wr0ng"})
    double.refuse(status, times=9)
    for call in (wrong.open(), wrong.ping()):
        with pytest.raises(Unavailable) as caught:
            await call
        assert "Wr0ng" not in str(caught.value)
        assert "\n" not in str(caught.value)
    assert "Wr0ng" not in repr(wrong._connection.settings)


async def test_a_token_that_the_service_does_not_know_is_said_at_the_start(
    double: AutomemServer,
) -> None:
    for settings in ({}, {"token": "another"}):
        driver = create("am", {"url": double.url, **settings})
        with pytest.raises(Unavailable, match="credentials: HTTP 401: Unauthorized"):
            await driver.open()


@pytest.mark.parametrize(("status", "kind"), [(500, Transient), (503, Unavailable)])
async def test_an_error_of_the_server_may_pass(
    double: AutomemServer, status: int, kind: type[Transient]
) -> None:
    async with _opened(double) as driver:
        scope = _scope()
        for call in _calls(driver, scope):
            double.refuse(status)
            with pytest.raises(Transient) as caught:
                await call()
            assert type(caught.value) is kind
        assert await driver.apply(scope, [upsert("a")]) == {"a": APPLIED}


async def test_a_busy_server_says_when_to_come_back(double: AutomemServer) -> None:
    async with _opened(double) as driver:
        double.refuse(429, Retry_After="7")
        with pytest.raises(Transient) as caught:
            await driver.apply(_scope(), [upsert("a")])
        assert caught.value.retry_after == 7.0


async def test_answers_that_are_lost_lose_nothing_wherever_it_happens(
    double: AutomemServer,
) -> None:
    async with _opened(double) as driver:
        scope = _scope()
        ops: list[Op] = [upsert("a"), upsert("b", version=2), Delete("c", 3)]
        for method in ("GET", "POST", "DELETE"):
            ops = [_next(op) for op in ops]
            double.lose(method)
            with pytest.raises(Transient):
                await driver.apply(scope, ops)
            assert set((await driver.apply(scope, ops)).values()) == {APPLIED}
            assert await driver.records(scope, ["a", "b", "c"]) == {op.id: op for op in ops}
        assert len(double.nodes) == 3


async def test_a_frozen_server_costs_no_more_than_the_timeout(double: AutomemServer) -> None:
    async with _opened(double, timeout=0.4) as driver:
        scope = _scope()
        double.freeze()
        for call in _calls(driver, scope):
            started = time.monotonic()
            with pytest.raises(Unavailable, match="timeout"):
                await call()
            assert time.monotonic() - started < 20
        double.thaw()
        assert await driver.apply(scope, [upsert("a")]) == {"a": APPLIED}


async def test_an_unreachable_server_is_one_clear_line(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    driver = create("am", {"url": url})
    with pytest.raises(Unavailable) as caught:
        await driver.open()
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)
    await driver.close()


async def test_a_server_that_is_not_automem_is_noticed_at_the_start(double: AutomemServer) -> None:
    elsewhere = create("am", {"url": f"{double.url}/elsewhere", "token": TOKEN})
    with pytest.raises(Unavailable, match="address"):
        await elsewhere.open()


async def test_a_driver_that_is_not_open_says_so() -> None:
    with pytest.raises(Unavailable, match="not open"):
        await create("am", {"url": URL}).get(_scope(), ["a"])


async def test_a_cursor_of_somebody_else_is_refused(driver: AutomemDriver, scope: Scope) -> None:
    with pytest.raises(Permanent, match="cursor"):
        await driver.scan(scope, cursor="somebody")


def test_a_driver_can_be_opened_again_on_another_loop(double: AutomemServer) -> None:
    driver, scope = create("am", {"url": double.url, "token": TOKEN, "connections": 1}), _scope()

    async def use() -> None:
        await driver.open()
        await driver.apply(scope, upserts(200))
        await driver.get(scope, [op.id for op in upserts(200)])
        await driver.close()

    asyncio.run(use())
    asyncio.run(use())


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({}, "url"),
        ({"url": "127.0.0.1:8001"}, "url"),
        ({"url": "http://user:pass@127.0.0.1:8001"}, "url"),
        ({"url": f"{URL}/?api_key=abc"}, "url"),
        ({"url": "http://127.0.0.1:port"}, "url"),
        ({"url": URL, "colour": "red"}, "colour"),
        ({"url": URL, "token": "two\nlines"}, "token"),
        ({"url": URL, "token": ""}, "token"),
        ({"url": URL, "timeout": 0}, "timeout"),
        ({"url": URL, "page": 201}, "page"),
        ({"url": URL, "lookup": 0}, "lookup"),
        ({"url": URL, "batch": 501}, "batch"),
        ({"url": URL, "connections": 0}, "connections"),
        ({"url": URL, "content_limit": 0}, "content_limit"),
    ],
)
def test_a_wrong_setting_is_named_and_no_secret_shown(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^drivers\.am\.{key}: ") as caught:
        create("am", settings)
    assert not re.search("pass|abc|lines", str(caught.value))


def test_automems_own_variables_are_read_where_a_setting_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUTOMEM_ENDPOINT", "http://theirs:8001/")
    monkeypatch.setenv("AUTOMEM_API_TOKEN", "theirs")
    settings = create("am", {})._connection.settings
    assert (settings.url, settings.token) == ("http://theirs:8001", "theirs")
    settings = create("am", {"url": URL, "token": "ours"})._connection.settings
    assert (settings.url, settings.token) == (URL, "ours")


@asynccontextmanager
async def _opened(double: AutomemServer, **settings: Any) -> AsyncIterator[AutomemDriver]:
    driver = create("am", {"url": double.url, "token": TOKEN, **settings})
    await driver.open()
    yield driver
    await driver.close()


def _scope() -> Scope:
    return Scope(namespace=f"t-{uuid.uuid4().hex}", source="default", space=SPACE)


def _near(axis: bytes = AXIS, **filter: str) -> Query:
    node = parse_filter(filter, {}) if filter else None
    return Query(mode="semantic", vector=axis, top_k=500, now=NOW, filter=node)


def _ids(hits: Any) -> list[str]:
    return [hit.memory.id for hit in hits if isinstance(hit, Hit)]


def _next(op: Op) -> Op:
    if isinstance(op, Delete):
        return Delete(op.id, op.version + 10)
    return upsert(op.id, version=op.version + 10)


def _foreign(double: AutomemServer, content: str, *tags: str) -> str:
    """The id of a memory that another client of the same AutoMem stored."""
    node = Node(
        id=str(uuid.uuid4()),
        content=content,
        tags=list(tags),
        importance=0.5,
        timestamp="2026-01-01T00:00:00+00:00",
        type="Context",
        confidence=0.6,
        metadata="{}",
        vector_at=0,
    )
    double.nodes[node.id] = node
    return node.id


def _node_of(double: AutomemServer, scope: Scope, id: str) -> Node:
    (node,) = [node for node in double.nodes.values() if id_tag(scope, id) in node.tags]
    return node


async def _is_enriched(driver: AutomemDriver, scope: Scope, op: Upsert) -> bool:
    memories, _ = await driver._connection.page([id_tag(scope, op.id)], 0)
    return "enrichment" in memories[0]["metadata"]


async def _read_everything(driver: AutomemDriver, scope: Scope, **filter: str) -> list[object]:
    """What every read of the driver answers to one user."""
    node = parse_filter(filter, {})
    found = await driver.find(scope, node)
    ids = [memory.id for memory in found]
    return [
        found,
        await driver.search(scope, _near(**filter)),
        await driver.get(scope, ids),
        await driver.records(scope, ids),
        await driver.scan(scope),
        await driver.count(scope, node, now=NOW),
        await driver.expired(scope, now=NOW),
    ]


def _calls(driver: AutomemDriver, scope: Scope) -> list[Callable[[], Awaitable[object]]]:
    return [
        driver.ping,
        lambda: driver.apply(scope, [upsert("a")]),
        lambda: driver.get(scope, ["a"]),
        lambda: driver.search(scope, _near()),
        lambda: driver.scan(scope),
        lambda: driver.records(scope, ["a"]),
        lambda: driver.find(scope, None),
        lambda: driver.expired(scope, now=NOW),
        lambda: driver.collect(scope, before=1),
        lambda: driver.count(scope, None, now=NOW),
        lambda: driver.purge(scope),
    ]


@pytest.mark.parametrize("status", [200, 500])
async def test_of_an_answer_without_end_no_more_is_read_than_is_set(status: int) -> None:
    with Flood(status=status) as flood:
        driver = create("am", {"url": flood.url, "token": TOKEN, "max_answer": 1 << 20})
        with pytest.raises(Transient, match="larger than max_answer"):
            await driver.open()
    assert flood.sent < FLOOD // 2  # the buffers of both sockets


async def test_a_compressed_answer_is_not_inflated() -> None:
    with Flood(compressed=True) as flood:
        driver = create("am", {"url": flood.url, "token": TOKEN})
        tracemalloc.start()
        try:
            with pytest.raises(Transient, match="not one of AutoMem's"):
                await driver.open()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < FLOOD // 4
