"""The sweeper makes good for messages that were lost or never sent, and never breeds a storm of them.

A queue's length is read from the broker's Redis, past memrelay and Celery.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from api.announce import CAPACITY, ENOUGH, Announcer
from backends.broker import Publisher, create_app
from backends.journal import Journal, Put, ThreadJournal, Unit, encode_write
from backends.journal.journal import PREFIX
from deploy.native.redis import RedisServer
from deploy.native.server import wait_until_stopped
from memrelay.batching import pack
from memrelay.jobs import deliver_queue
from memrelay.settings import Settings, SourceSettings
from tests.rig import Rig, memory, wait_until
from tests.service import Service, children
from workers.sweep import MESSAGES, sweep

URGENT, BULK = deliver_queue("interactive"), deliver_queue("bulk")
BROKER_PREFIX = "mrb:"
SWEEPS = 600
"""Ten stalled minutes."""


class Bench:
    """A journal, a broker and a publisher without any worker; ``sweep`` is a sweeper's next pass."""

    def __init__(self, journal: RedisServer, broker: RedisServer) -> None:
        self.broker = broker
        self.publisher = Publisher(create_app(_settings(journal.url, broker.url)))
        self._journal_url = journal.url
        self._journal = ThreadJournal(journal.url)
        self._clients: list[Any] = [redis.Redis.from_url(s.url) for s in (journal, broker)]

    def close(self) -> None:
        self._journal.close()
        self.publisher.reset()
        for client in self._clients:
            client.close()

    def sweep(self, *, token: str = "one", at_once: bool = True) -> int:
        """``at_once``: as if the time in which another sweeper keeps away were over."""
        if at_once:
            self._clients[0].delete(f"{PREFIX}sweeping")
        return sweep(self._journal, self.publisher, token)

    def length(self, queue: str) -> int:
        length: int = self._clients[1].llen(BROKER_PREFIX + queue)
        return length

    def purge(self, queue: str) -> None:
        self._clients[1].delete(BROKER_PREFIX + queue)

    def enter(self, envelopes: int, queue: str = URGENT) -> None:
        """Envelopes are accepted, and no message is sent for any."""
        asyncio.run(_enter(self._journal_url, [_unit(f"m{i}", queue) for i in range(envelopes)]))

    def work(self, queue: str = URGENT) -> None:
        """A worker claims what waits, and dies."""
        asyncio.run(_claim(self._journal_url, queue))


def _settings(journal: str, broker: str) -> Settings:
    return Settings(
        journal_url=journal,
        broker_url=broker,
        drivers={"redis": {"url": broker}},
        sources={"default": SourceSettings(drivers=["redis"])},
    )


def _unit(id: str, queue: str) -> Unit:
    put = encode_write(Put(id, "text", None, None, (), {}, 1, None, None))
    return Unit(
        namespace="ns",
        source="default",
        queue=queue,
        drivers=["redis"],
        drafts=pack([([put], (), ())]),
    )


async def _enter(url: str, units: Sequence[Unit]) -> None:
    journal = Journal(url)
    await journal.append(units)
    await journal.close()


async def _claim(url: str, queue: str) -> None:
    journal = Journal(url, lease_ms=1)
    assert await journal.claim(queue, "dead") is not None
    await journal.close()


@pytest.fixture
def bench(redis_server_factory: Callable[..., RedisServer]) -> Iterator[Bench]:
    bench = Bench(redis_server_factory(), redis_server_factory())
    yield bench
    bench.close()


def test_ten_stalled_minutes_breed_no_more_messages_than_one_sweep_sends(bench: Bench) -> None:
    bench.enter(1000)
    sent = [bench.sweep() for _ in range(SWEEPS)]
    assert sent == [MESSAGES] + [0] * (SWEEPS - 1)
    assert bench.length(URGENT) == MESSAGES


def test_nothing_is_published_while_the_queue_has_a_message(bench: Bench) -> None:
    bench.enter(10, URGENT)
    bench.enter(3, BULK)
    bench.publisher.publish(URGENT, 0)
    assert bench.sweep() == 3
    assert (bench.length(URGENT), bench.length(BULK)) == (1, 3)
    assert bench.sweep() == 0


def test_announcements_without_workers_end_when_there_are_enough(bench: Bench) -> None:
    for number in range(4):
        announcer = Announcer(bench.publisher)
        for envelope in range(CAPACITY - 1):
            announcer.announce(URGENT, envelope)
        announcer.announce(BULK, number)
        announcer.close()
    assert ENOUGH <= bench.length(URGENT) < 2 * ENOUGH
    assert bench.length(BULK) == 4


def test_an_empty_journal_publishes_nothing(bench: Bench) -> None:
    assert [bench.sweep() for _ in range(3)] == [0, 0, 0]
    assert bench.length(URGENT) == 0


def test_work_for_a_driver_that_is_not_configured_keeps_no_other_from_its_messages(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.enter(2, "store.taken-out")
    bench.enter(3, URGENT)
    bench.enter(4, BULK)
    assert [bench.sweep(), bench.sweep()] == [7, 0]
    assert (bench.length(URGENT), bench.length(BULK)) == (3, 4)
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "store.taken-out" in warning


def test_messages_that_the_broker_lost_are_sent_again(bench: Bench) -> None:
    bench.enter(5)
    assert bench.sweep() == 5
    bench.purge(URGENT)
    assert bench.sweep() == 5
    assert bench.length(URGENT) == 5


def test_a_publish_that_failed_is_made_good_when_the_broker_is_back(bench: Bench) -> None:
    bench.enter(5)
    bench.broker.kill()
    for _ in range(2):
        with pytest.raises(bench.publisher.errors):
            bench.sweep()
        bench.publisher.reset()
    bench.broker.start()
    assert bench.sweep() == 5
    assert bench.length(URGENT) == 5


def test_of_many_sweepers_one_sweeps_at_a_time(bench: Bench) -> None:
    bench.enter(5)
    assert bench.sweep(token="one") == 5
    bench.purge(URGENT)
    assert bench.sweep(token="two", at_once=False) == 0
    assert bench.length(URGENT) == 0


def test_a_lease_that_ran_out_is_announced_only_where_nothing_else_is(bench: Bench) -> None:
    bench.enter(2)
    bench.work()
    time.sleep(0.01)
    bench.publisher.publish(URGENT, 0)
    assert bench.sweep() == 0
    bench.purge(URGENT)
    assert bench.sweep() == 2


def test_frozen_children_are_sent_no_storm_and_lost_messages_still_come(
    tmp_path: Path, redis_server_factory: Callable[..., RedisServer]
) -> None:
    """The real worker: its parent, with the sweeper, lives on while its children do not move."""
    rig = Rig(tmp_path, redis_server_factory)
    broker: Any = redis.Redis.from_url(rig.broker.url)

    def fetched() -> int:
        """Messages of the frozen lane that its parent has; the maintenance that the other does is not."""
        unacked = map(json.loads, broker.hvals(BROKER_PREFIX + "unacked"))
        return sum(queue == URGENT for _message, _exchange, queue in unacked)

    def messages() -> int:
        return int(broker.llen(BROKER_PREFIX + URGENT)) + fetched()

    try:
        rig.start()
        frozen = _frozen_children(rig.service)
        writer = rig.writer()
        for number in range(30):
            writer.put([memory(f"m{number}", "written while the children are frozen")])
        wait_until("the messages", lambda: messages() == 30, 60)
        time.sleep(4)
        assert messages() == 30, "sent again while the queue had messages"
        prefetched = fetched()
        broker.delete(BROKER_PREFIX + URGENT)
        wait_until("the sweeper to make it good", lambda: messages() > prefetched, 60)
        time.sleep(4)
        assert messages() <= prefetched + 30
        for child in frozen:
            os.kill(child, signal.SIGCONT)
        rig.wait_drained(120)
        rig.assert_sound()
    finally:
        broker.close()
        rig.close()


def _frozen_children(service: Service) -> list[int]:
    """Those of the interactive lane; the bulk lane goes on with upkeep."""
    wait_until("the worker's children", lambda: len(service.worker_children) == 3, 60)
    frozen = children(service.worker_lanes[0])
    for child in frozen:
        os.kill(child, signal.SIGSTOP)
    wait_until_stopped(frozen)
    return frozen
