"""What only the Redis driver does. What all drivers do is in tests/conformance/test_redis.py."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import redis.exceptions
from redis.asyncio import Redis

from backends.redis import create, find
from backends.redis.client import Client
from backends.redis.driver import RedisDriver
from backends.redis.keys import keys_of, user_partition
from backends.redis.records import STAMP, necessary
from backends.redis.settings import Settings
from backends.redis.write import Writer
from backends.redis_errors import CLASSES, translate
from deploy.native.redis import RedisServer
from memrelay.driver import Query
from memrelay.embedded.ports import free_port, free_ports
from memrelay.errors import (
    ConfigError,
    MemrelayError,
    Permanent,
    Transient,
    Unavailable,
    Unsupported,
)
from memrelay.filters import Compare, Operator, matches, normalized, parse_filter
from memrelay.testing.samples import NOW, SPACE, memory, upsert, upserts, vector
from memrelay.types import Delete, Op, Scope, Upsert, memory_to_json, vector_to_bytes
from tests.redis_store import Interrupted, crash

USERS = ("ann", "bob", "cat")


class OtherRedis(RedisServer):
    """A server with more options than ours have."""

    options: Sequence[str] = ()

    def _command(self) -> list[str]:
        return [*super()._command(), *self.options]


@pytest.fixture
def settings(redis_url: str) -> dict[str, Any]:
    """Settings with a prefix of this test's own."""
    return {"url": redis_url, "prefix": f"t-{uuid.uuid4().hex}", "partitions": 2}


@pytest.fixture
async def driver(settings: dict[str, Any]) -> AsyncIterator[RedisDriver]:
    driver = create("redis", settings)
    await driver.open()
    yield driver
    await driver.close()


@pytest.fixture
async def server(redis_url: str) -> AsyncIterator[Any]:
    """A plain client to look into the store with."""
    async with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def scope(driver: RedisDriver) -> AsyncIterator[Scope]:
    scope = Scope(namespace="tenant", source="default", space=SPACE)
    yield scope
    await driver.purge(scope)


async def ids(driver: RedisDriver, scope: Scope, raw: object, top_k: int = 10) -> list[str]:
    """The ids that a search with a filter finds."""
    filter = None if raw is None else parse_filter(raw, {"n": "number"})
    query = Query(mode="semantic", vector=vector("q"), top_k=top_k, now=NOW, filter=filter)
    return [hit.memory.id for hit in await driver.search(scope, query)]


async def interrupted(settings: dict[str, Any], scope: Scope, op: Op, client: Client) -> None:
    """Apply one op through ``client``, which may break it off."""
    keys = keys_of(Settings(**settings), scope)
    try:
        with contextlib.suppress(Unavailable):
            await Writer(client, keys, scope).apply([op])
    finally:
        await client.close()


async def test_a_memory_is_found_where_its_user_is(driver: RedisDriver, scope: Scope) -> None:
    await driver.apply(scope, [upsert("a", user_id="ann"), upsert("b", user_id="bob")])
    assert await ids(driver, scope, {"user_id": "ann"}) == ["a"]
    assert await ids(driver, scope, {"user_id": "bob"}) == ["b"]


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ({}, "url"),
        ({"url": "http://x"}, "url"),
        ({"url": "redis://x", "shards": 3}, "shards"),
        ({"url": "redis://x", "partitions": 0}, "partitions"),
        ({"url": "redis://x", "directory_shards": "many"}, "directory_shards"),
        ({"url": "redis://x", "scatter": 8}, "scatter"),
        ({"url": "redis://x", "prefix": "a{b}"}, "prefix"),
    ],
)
def test_a_wrong_setting_is_named(raw: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^drivers\.r8\.{key}: "):
        create("r8", raw)


async def test_a_store_is_not_opened_under_another_layout(
    driver: RedisDriver, settings: dict[str, Any]
) -> None:
    for key in ("partitions", "directory_shards"):
        with pytest.raises(ConfigError, match=f"drivers.redis.{key}: 3, but this store"):
            await create("redis", settings | {key: 3}).open()


async def test_a_store_of_an_older_format_is_not_opened(
    driver: RedisDriver, settings: dict[str, Any], redis_url: str
) -> None:
    async with Redis.from_url(redis_url) as client:
        await client.hdel(f"{settings['prefix']}:layout", "format")
    with pytest.raises(ConfigError, match="another version of memrelay"):
        await create("redis", settings).open()


async def test_a_server_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await create("redis", {"url": f"redis://127.0.0.1:{free_port()}"}).open()


@pytest.fixture
async def own_server(redis_server_factory: Callable[..., RedisServer]) -> RedisServer:
    return redis_server_factory(appendfsync="always")


async def test_a_server_that_serves_no_vector_sets_is_refused(own_server: RedisServer) -> None:
    async with Redis.from_url(own_server.url) as client:
        await client.acl_setuser("default", enabled=True, nopass=True, commands=["-vcard"])
    with pytest.raises(ConfigError, match="needs Redis 8 or later"):
        await create("redis", {"url": own_server.url}).open()


async def test_it_goes_on_after_the_server_was_killed_and_lost_its_scripts(
    own_server: RedisServer, scope: Scope
) -> None:
    driver = create("redis", {"url": own_server.url})
    await driver.open()
    await driver.apply(scope, [upsert("a")])
    own_server.kill()
    with pytest.raises(Unavailable):
        await driver.ping()
    own_server.start()
    await driver.apply(scope, [upsert("b")])
    assert set(await driver.get(scope, ["a", "b"])) == {"a", "b"}
    await driver.close()


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [("maxmemory", "1", "memory"), ("min-replicas-to-write", "1", "replicas")],
)
async def test_a_server_that_refuses_all_writes_is_unavailable_and_nothing_is_half_done(
    own_server: RedisServer, scope: Scope, setting: str, value: str, code: str
) -> None:
    driver = create("redis", {"url": own_server.url})
    await driver.open()
    async with Redis.from_url(own_server.url) as client:
        await client.config_set(setting, value)
        with pytest.raises(Unavailable) as caught:
            await driver.apply(scope, upserts(40))
        assert caught.value.code == code
        assert [key async for key in client.scan_iter()] == [b"mr:layout"]
        await client.config_set(setting, "0")
    outcomes = await driver.apply(scope, upserts(40))
    assert {outcome.status for outcome in outcomes.values()} == {"applied"}
    await driver.close()


async def test_what_cannot_be_stored_fails_alone(driver: RedisDriver, scope: Scope) -> None:
    bad = {
        "dimension": upsert("short", vector=vector("x", SPACE.dimensions - 1)),
        "vector": upsert("nan", vector=vector_to_bytes([float("nan")] * SPACE.dimensions)),
        "version": upsert("version", version=2**63),
        "encoding": upsert("surrogate", text="\ud800"),
    }
    outcomes = await driver.apply(scope, [upsert("good"), *bad.values(), Delete("low", -1)])
    assert outcomes["good"].status == "applied"
    for code, error in [(code, outcomes[op.id].error) for code, op in bad.items()]:
        assert isinstance(error, Permanent)
        assert error.code == code
    assert outcomes["low"].status == "failed"
    assert await driver.count(scope, None, now=NOW) == 1


async def test_a_partition_that_refuses_writes_fails_without_harm_to_others(
    own_server: RedisServer, scope: Scope
) -> None:
    driver = create("redis", {"url": own_server.url})
    await driver.open()
    await driver.apply(scope, [upsert("a"), upsert("b", user_id="bob")])
    patterns = [r"mr:*", r"{mr:*:d*", f"{{mr:*:{user_partition('ann')}*"]
    async with Redis.from_url(own_server.url) as client:
        await client.acl_setuser("default", enabled=True, reset_keys=True, keys=patterns)
    outcomes = await driver.apply(
        scope, [upsert("a", version=2), upsert("b", version=2, user_id="bob")]
    )
    assert outcomes["a"].status == "applied"
    assert isinstance(outcomes["b"].error, Permanent)
    await driver.close()


async def test_deletes_make_room_in_a_server_that_is_out_of_memory(
    own_server: RedisServer, scope: Scope
) -> None:
    driver = create("redis", {"url": own_server.url})
    await driver.open()
    await driver.apply(scope, [upsert("a"), upsert("b"), upsert("c", user_id="bob")])
    async with Redis.from_url(own_server.url) as client:
        await client.config_set("maxmemory", "1")
        with pytest.raises(Unavailable):
            await driver.apply(scope, [upsert("d"), Delete("a", 2)])
        assert set(await driver.get(scope, ["a", "b", "c"])) == {"b", "c"}
        await driver.apply(scope, [Delete("b", 2)])
        assert await driver.collect(scope, before=3) == 2
        assert await driver.count(scope, None, now=NOW) == 1
    await driver.close()


@dataclass(frozen=True)
class Follow:
    """What comes after a move of "a" from ann to bob at version 2, and who has it then."""

    op: Op
    ends_with: str | None

    async def check(self, driver: RedisDriver, scope: Scope) -> None:
        expected = {user: ["a"] if user == self.ends_with else [] for user in USERS}
        found = {user: await ids(driver, scope, {"user_id": user}) for user in USERS}
        assert found == expected
        live = [] if self.ends_with is None else ["a"]
        assert list(await driver.get(scope, ["a"])) == live
        assert await driver.count(scope, None, now=NOW) == len(live)


MOVE = upsert("a", version=2, user_id="bob")
AGAIN = Follow(MOVE, "bob")
OVERTAKING = [
    pytest.param(Follow(upsert("a", version=3, user_id="cat"), "cat"), id="move on"),
    pytest.param(Follow(upsert("a", version=3, user_id="ann"), "ann"), id="move back"),
    pytest.param(Follow(Delete("a", 3), None), id="delete"),
]


@pytest.mark.parametrize("step", [1, 2, 3, 4])
@pytest.mark.parametrize("follow", [pytest.param(AGAIN, id="redo"), *OVERTAKING])
async def test_a_move_that_broke_off_is_set_right_by_what_comes_next(
    driver: RedisDriver, settings: dict[str, Any], scope: Scope, step: int, follow: Follow
) -> None:
    await driver.apply(scope, [upsert("a", version=1, user_id="ann")])
    await interrupted(settings, scope, MOVE, Interrupted(settings["url"], step, crash))
    assert set(await driver.get(scope, ["a"])) == {"a"}, "what was stored stays readable"
    assert len(await ids(driver, scope, {"user_id": {"$in": list(USERS)}})) == 1
    assert (await driver.apply(scope, [follow.op]))["a"].status == "applied"
    await follow.check(driver, scope)


@pytest.mark.parametrize("step", [2, 3, 4])
@pytest.mark.parametrize("follow", OVERTAKING)
async def test_a_move_that_is_overtaken_under_way_leaves_nothing(
    driver: RedisDriver, settings: dict[str, Any], scope: Scope, step: int, follow: Follow
) -> None:
    async def overtake() -> None:
        await driver.apply(scope, [follow.op])

    await driver.apply(scope, [upsert("a", version=1, user_id="ann")])
    await interrupted(settings, scope, MOVE, Interrupted(settings["url"], step, overtake))
    await follow.check(driver, scope)


@pytest.mark.parametrize("seed", range(8))
async def test_moves_that_race_and_crash_end_in_the_highest_version(
    driver: RedisDriver, settings: dict[str, Any], scope: Scope, seed: int
) -> None:
    rng = random.Random(seed)
    ops: list[Op] = [
        Delete("a", version)
        if rng.random() < 0.2
        else upsert("a", version=version, user_id=rng.choice([*USERS, None]))
        for version in range(1, 25)
    ]
    rng.shuffle(ops)
    attempts = (
        interrupted(settings, scope, op, Interrupted(settings["url"], rng.randint(1, 8), crash))
        for op in ops
    )
    await asyncio.gather(*attempts)
    await asyncio.gather(*(driver.apply(scope, [op]) for op in ops))
    last = max(ops, key=lambda op: op.version)
    expected = {"a": last.memory} if isinstance(last, Upsert) else {}
    assert await driver.get(scope, ["a"]) == expected
    assert await ids(driver, scope, None) == list(expected)
    assert await driver.count(scope, None, now=NOW) == len(expected)


async def test_a_search_without_a_user_is_bounded_and_named_users_are_not(
    settings: dict[str, Any], driver: RedisDriver, scope: Scope
) -> None:
    bounded = create("redis", settings | {"scatter": 4})
    await bounded.open()
    users = ["u1", "u2", "u3", "u4"]
    await bounded.apply(scope, [upsert(user, user_id=user) for user in users])
    assert sorted(await ids(bounded, scope, None)) == users
    await bounded.apply(scope, [upsert("alone", user_id=None), upsert("u5", user_id="u5")])
    with pytest.raises(Unsupported) as caught:
        await ids(bounded, scope, None)
    assert caught.value.code == "unscoped_search"
    await bounded.apply(scope, [Delete("u5", 2), Delete("u4", 2)])
    assert sorted(await ids(bounded, scope, None)) == ["alone", "u1", "u2", "u3"]
    await bounded.apply(scope, [upsert(user, version=3, user_id=user) for user in ("u4", "u5")])
    named = {"user_id": {"$in": [*users, "u5"]}}
    assert sorted(await ids(bounded, scope, named)) == [*users, "u5"]
    assert await ids(bounded, scope, {"user_id": {"$exists": False}}) == ["alone"]
    assert await bounded.count(scope, parse_filter({"id": {"$ne": "u1"}}, {}), now=NOW) == 5
    await bounded.close()


async def test_find_goes_through_more_of_a_users_ids_than_it_keeps(
    driver: RedisDriver, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "WINDOW", 50)
    monkeypatch.setattr(find, "IDS_PER_CALL", 20)
    await driver.apply(scope, upserts(500, users=["ann", "bob", "cat"]))
    filter = parse_filter({"user_id": {"$in": ["ann", "bob"]}, "metadata.done": True}, {})
    wanted = [f"m{n:05d}" for n in range(0, 500, 2) if n % 3 < 2]
    assert [memory.id for memory in await driver.find(scope, filter)] == wanted
    some = await driver.find(scope, filter, after=wanted[9], limit=60)
    assert [memory.id for memory in some] == wanted[10:70]


async def test_purge_leaves_nothing_of_a_scope(
    driver: RedisDriver, settings: dict[str, Any], scope: Scope, server: Any
) -> None:
    users = [None, *(f"user {number}" for number in range(50))]
    await driver.apply(scope, upserts(400, users=users))
    expiring = upsert("soon", version=999, expires_at=NOW)
    await driver.apply(scope, [Delete("m00001", 1000), expiring, upsert("m00002", version=1000)])
    await driver.purge(scope)
    left = [key async for key in server.scan_iter(f"*{settings['prefix']}*")]
    assert left == [f"{settings['prefix']}:layout".encode()]


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        (1, 1.0), (1.0, 1), (-0.0, 0), (0, 0.0), (1e16, 10**16), (10**16, 1e16), (7.25, 7.25),
        (-3, -3.0), (True, True), ("a\"b\\\n\u2028é", "a\"b\\\n\u2028é"), ([3, "x"], 3),
        (["\"q\""], "\"q\""), ("", ""), (1e-7, 1e-7), (123456789012345.0, 123456789012345),
    ],
)  # fmt: skip
@pytest.mark.parametrize("operator", ["$eq", "$in", "$contains"])
def test_the_test_on_bytes_never_rejects_what_matches(
    stored: Any, wanted: Any, operator: Operator
) -> None:
    kept = memory("a", metadata={'key "x"': stored, "other": 1})
    value = (wanted,) if operator == "$in" else wanted
    filter = Compare('metadata.key "x"', operator, value)
    possible = necessary(normalized(filter))(b"0" * STAMP + memory_to_json(kept))
    assert possible or not matches(filter, kept)
    assert matches(filter, kept) or operator == "$contains"


def test_the_test_on_bytes_rejects_most_of_what_does_not_match() -> None:
    filter = parse_filter({"$or": [{"tags": "x", "metadata.n": 7}, {"session_id": "s"}]}, {})
    test = necessary(normalized(filter))
    assert not test(memory_to_json(memory("a", metadata={"n": 7}, text="7")))
    assert test(memory_to_json(memory("a", tags=("x",), metadata={"n": 7})))
    assert test(memory_to_json(memory("a", session_id="s")))


def _exceptions_of_redis() -> Iterator[type[Exception]]:
    for value in vars(redis.exceptions).values():
        if isinstance(value, type) and issubclass(value, Exception):
            yield value


def test_every_exception_of_redis_py_is_translated_on_purpose() -> None:
    assert set(_exceptions_of_redis()) == set(CLASSES)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (
            redis.exceptions.ResponseError("BUSY Redis is busy running a script"),
            Unavailable,
            "busy",
        ),
        (redis.exceptions.ResponseError("MISCONF Redis is configured"), Unavailable, "persistence"),
        (redis.exceptions.ResponseError("WRONGTYPE Operation against"), Permanent, "wrongtype"),
        (redis.exceptions.BusyLoadingError("x"), Unavailable, "loading"),
        (redis.exceptions.TryAgainError("x"), Transient, "cluster"),
        (ConnectionResetError(), Unavailable, "unreachable"),
    ],
)
def test_an_error_becomes_the_class_that_says_what_to_do(
    error: Exception, kind: type[MemrelayError], code: str
) -> None:
    translated = translate(error)
    assert (type(translated), translated.code) == (kind, code)


@pytest.fixture
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The address of a Redis Cluster of three nodes."""
    async with contextlib.AsyncExitStack() as stack:
        ports = free_ports(6)
        nodes: list[Any] = []
        for port, bus in zip(ports[:3], ports[3:], strict=True):
            server = OtherRedis(tmp_path_factory.mktemp("node"), port)
            server.options = ["--cluster-enabled", "yes", "--cluster-port", str(bus)]
            stack.enter_context(server)
            nodes.append(await stack.enter_async_context(Redis(port=port)))
        for number, node in enumerate(nodes):
            slots = (16384 * number // 3, 16384 * (number + 1) // 3 - 1)
            await node.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
            await node.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            address = ("127.0.0.1", ports[number], ports[3 + number])
            await nodes[0].execute_command("CLUSTER", "MEET", *address)
        await _agreed(nodes)
        yield f"redis+cluster://127.0.0.1:{ports[0]}"


async def _agreed(nodes: Sequence[Any]) -> None:
    """Return when every node knows all slots' owners."""
    for _ in range(1200):
        infos = [await node.execute_command("CLUSTER", "INFO") for node in nodes]
        if all(b"cluster_state:ok" in info and b"known_nodes:3" in info for info in infos):
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"the cluster did not form: {infos}")


async def test_it_runs_on_a_redis_cluster(cluster: str) -> None:
    driver = create("redis", {"url": cluster})
    await driver.open()
    scope = Scope(namespace="tenant", source="default", space=SPACE)
    written = upserts(200, users=[None, *USERS])
    await driver.apply(scope, written)
    await driver.apply(scope, [upsert("m00000", version=900, user_id="cat"), Delete("m00001", 901)])
    assert await driver.count(scope, None, now=NOW) == 199
    assert len(await driver.get(scope, [op.id for op in written])) == 199
    assert len((await driver.scan(scope, limit=500)).entries) == 200
    assert len(await ids(driver, scope, None, top_k=500)) == 199
    assert len(await driver.records(scope, [op.id for op in written])) == 200
    assert len(await driver.find(scope, None)) == 199
    assert len(await driver.find(scope, parse_filter({"user_id": "cat"}, {}))) == 51
    assert len((await driver.scan(scope, since=900)).entries) == 2
    await driver.apply(scope, [upsert("m00002", version=902, expires_at=NOW)])
    assert await driver.expired(scope, now=NOW) == [Delete("m00002", 902)]
    assert await driver.collect(scope, before=1000) == 1
    await driver.purge(scope)
    assert await driver.count(scope, None, now=NOW) == 0
    await driver.close()
