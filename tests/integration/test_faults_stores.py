"""Faults of stores and of disks: errors, flapping, no room."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import pytest
import redis

from deploy.native.redis import RedisServer
from deploy.native.weaviate import WeaviateServer
from memrelay.embedded.ports import free_port
from tests.drills import SmallDisk, hits, search, small_disk
from tests.failpoints import BREAKERS, through
from tests.rig import Load, Rig, memory, wait_until

log = logging.getLogger(__name__)
DRAIN_SECONDS = 120.0
DISK_MEBIBYTES = 64
FLAPS = 6
FLAP_SECONDS = 1.0


ERRORS: dict[str, tuple[str, str, str]] = {
    "OOM": ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "used memory > 'maxmemory'"),
    "READONLY": ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "read only replica"),
    "NOREPLICAS": (
        "CONFIG SET min-replicas-to-write 3",
        "CONFIG SET min-replicas-to-write 0",
        "Not enough good replicas",
    ),
}
"""What a Redis is told, to answer writes with that error and to stop it, and what the error says."""


@pytest.mark.parametrize("error", ERRORS)
def test_a_store_that_answers_writes_with_an_error_gets_them_again(rig: Rig, error: str) -> None:
    begin, end, says = ERRORS[error]
    server = rig.stores["redis"]
    assert isinstance(server, RedisServer)
    store: Any = redis.Redis.from_url(server.url)
    with Load(rig, seed=41) as load, store:
        time.sleep(1)
        store.execute_command(*begin.split())
        log_of = rig.service.worker_log
        wait_until("the error to be met", lambda: says in log_of.read_text(), 60)
        time.sleep(1)
        store.execute_command(*end.split())
    took = rig.wait_drained(DRAIN_SECONDS)
    log.info("%s: %d writes, drained after %.1f s", error, len(rig.ledger.lines), took)
    assert not load.statuses
    assert not rig.dead_letters()
    rig.assert_sound()


def test_a_flapping_store_is_asked_by_one_probe_at_a_time(unstarted: Rig) -> None:
    rig = unstarted
    rig.service.api = through("api", "watch_breakers")
    rig.service.worker = through("workers", "watch_breakers")
    rig.start()
    began = time.monotonic()
    with Load(rig, seed=42, writers=2):
        for _ in range(FLAPS):
            rig.kill("redis")
            _search_for(rig, FLAP_SECONDS)
            rig.revive("redis")
            _search_for(rig, FLAP_SECONDS)
    rig.wait_drained(DRAIN_SECONDS)
    seconds = time.monotonic() - began
    breakers: dict[str, Counter[str]] = {}
    for line in (rig.service.directory / BREAKERS).read_text().splitlines():
        breaker, _, event = line.rpartition(" ")
        breakers.setdefault(breaker, Counter())[event] += 1
    log.info("%d flaps in %.0f s: %s", FLAPS, seconds, list(breakers.values()))
    assert breakers, "no breaker has opened: the test shows nothing"
    for events in breakers.values():
        assert events["open"] <= seconds + 1, "opened before its cooldown of a second had passed"
        assert events["probe"] <= events["open"] + events["closed"] + 1
    rig.assert_sound()


def _search_for(rig: Rig, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert search(rig, "memory").status_code == 200
        time.sleep(0.05)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", DISK_MEBIBYTES) as disk:
        yield disk


type Fsync = Literal["always", "everysec"]


@pytest.fixture
def redis_on(disk: SmallDisk) -> Iterator[Callable[[Fsync], RedisServer]]:
    """Starts a Redis whose data is on the small disk."""
    with ExitStack() as stack:

        def start(appendfsync: Fsync) -> RedisServer:
            server = RedisServer(disk.path / "data", free_port(), appendfsync=appendfsync)
            return stack.enter_context(server)

        yield start


@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
def test_a_journal_without_room_refuses_honestly_and_resumes(
    make_rig: Callable[..., Rig],
    redis_on: Callable[[Fsync], RedisServer],
    disk: SmallDisk,
    appendfsync: Fsync,
) -> None:
    """Redis ends itself then if it has to fsync always: whoever supervises it starts it again."""
    durability = "fsync" if appendfsync == "always" else "everysec"
    rig = make_rig(journal=redis_on(appendfsync), env={"MEMRELAY_DURABILITY": durability}).start()
    with Load(rig, seed=43, writers=3) as load:
        time.sleep(1.5)
        disk.fill()
        wait_until("writes to be refused", lambda: load.statuses[503] > 0, 60)
        accepted = len(rig.ledger.lines)
        time.sleep(2)
        log.info("%d accepted, %d more without room", accepted, len(rig.ledger.lines) - accepted)
        disk.relieve()
        accepted = len(rig.ledger.lines)

        def resumed() -> bool:
            rig.supervise()
            return len(rig.ledger.lines) > accepted + 50

        took = wait_until("writes again", resumed, 60)
    log.info("%s: refused %s, resumed after %.1f s", appendfsync, dict(load.statuses), took)
    rig.wait_drained(DRAIN_SECONDS)
    assert set(load.statuses) == {503}
    assert load.broken == 0
    assert not rig.dead_letters()
    rig.assert_sound()


def test_a_store_without_room_gets_its_writes_when_there_is_some(
    make_rig: Callable[..., Rig],
    redis_on: Callable[[Fsync], RedisServer],
    redis_server_factory: Callable[..., RedisServer],
    disk: SmallDisk,
) -> None:
    stores = {"redis": redis_on("everysec"), "replica": redis_server_factory()}
    rig = make_rig(stores=stores).start()
    with Load(rig, seed=44, writers=3) as load:
        time.sleep(1.5)
        disk.fill()
        worker = rig.service.worker_log
        wait_until("the worker to notice", lambda: "MISCONF" in worker.read_text(), 60)
        time.sleep(1)
        disk.relieve()
    took = rig.wait_drained(DRAIN_SECONDS)
    log.info("%d writes, drained after %.1f s", len(rig.ledger.lines), took)
    assert not load.statuses
    assert not rig.dead_letters()
    rig.assert_sound()


def test_what_was_deleted_stays_hidden_when_weaviate_comes_back_from_a_crash(
    make_rig: Callable[..., Rig],
    redis_server_factory: Callable[..., RedisServer],
    weaviate_server_factory: Callable[[], WeaviateServer],
) -> None:
    """Deletes that it had applied, and deletes that were accepted while it was away."""
    stores = {"weaviate": weaviate_server_factory(), "replica": redis_server_factory()}
    rig = make_rig(stores=stores).start()
    writer = rig.writer()
    for first in range(0, 300, 100):
        texts = [memory(f"m{n}", f"a memory with a number: {n}") for n in range(first, first + 100)]
        writer.put(texts)
    writer.delete([f"m{n}" for n in range(100)])
    rig.wait_drained(DRAIN_SECONDS)
    rig.kill("weaviate")
    writer.delete([f"m{n}" for n in range(100, 200)])
    rig.revive("weaviate")
    served, until = Counter[str](), time.monotonic() + 120
    while (rig.due() or served["weaviate"] < 10) and time.monotonic() < until:
        answer = search(rig, "a memory with a number", mode="semantic", top_k=100).json()
        served.update(answer["served_by"])
        found = [int(hit["id"].removeprefix("m")) for hit in answer["hits"]]
        assert [n for n in found if n < 200] == [], answer["served_by"]
        time.sleep(0.1)
    log.info("served by %s", dict(served))
    assert served["weaviate"] >= 10
    assert len(hits(rig, "a memory with a number", top_k=100)) == 100
    rig.wait_drained(DRAIN_SECONDS)
    rig.assert_sound()
