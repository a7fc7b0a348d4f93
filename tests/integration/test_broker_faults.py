"""Faults of the broker, Redis and RabbitMQ alike: writes are accepted meanwhile, and all of them are stored.

One service for each broker, whose connections to it pass a proxy; journal and stores are not harmed.
"""

from __future__ import annotations

import json
import logging
import pickle
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.native.rabbitmq import Alarm, RabbitMQServer
from deploy.native.toxiproxy import Kind as Toxic
from memrelay.jobs import DELIVER, STORE, deliver_queue
from tests.brokers import KINDS, Broker, broker_of
from tests.rig import Load, Rig, memory, redis_servers, wait_until

log = logging.getLogger(__name__)
QUEUE = deliver_queue("interactive")
RESTARTS = {"redis": 20, "rabbitmq": 10}
"""RabbitMQ takes 2 to 3 s of CPU to start."""
# The bars are 30 s after a restart, and 1 s for an answer. What is asserted has room for a busy machine.
BACK_SECONDS = 120.0
ANSWER_SECONDS = 4.0
DRAIN_SECONDS = 120.0
HEARTBEATS_SECONDS = 120.0
"""Two heartbeats are 20 s on RabbitMQ; on Redis it is a poll, an interval and a reply that never comes."""


class Bench:
    """A service on a broker of its own, and its one client."""

    def __init__(self, rig: Rig, broker: Broker) -> None:
        self.rig = rig
        self.broker = broker
        self.complaints_before = 0
        self._writer = rig.writer()
        self._written = 0

    def write(self) -> None:
        """One more, accepted."""
        self._written += 1
        self._writer.put([memory(f"m{self._written % 50}", f"write {self._written}")])

    def store(self) -> float:
        """How long one more write takes to be stored."""
        began = time.monotonic()
        self.write()
        self.rig.wait_drained(BACK_SECONDS)
        return time.monotonic() - began

    def seconds_to_end(self, stages: set[bytes]) -> float:
        return wait_until(
            "what was in flight to end", lambda: not stages & self.rig.due(), BACK_SECONDS
        )

    def accept(self, seconds: float) -> float:
        """Writes for that long; how long the slowest took to be accepted."""
        slowest = 0.0
        until = time.monotonic() + seconds
        while (began := time.monotonic()) < until:
            self.write()
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.05)
        assert not self._writer.refusals
        return slowest

    def said(self, what: str) -> int:
        """How often the worker's log says it."""
        return self.rig.service.worker_log.read_text(errors="replace").count(what)

    def dead(self) -> int:
        """RabbitMQ's dead letters of the queue; on Redis there are none."""
        return self.broker.dead(QUEUE) if self.broker.kind == "rabbitmq" else 0

    def complaints(self) -> int:
        """Warnings and worse in the worker's log, by its size."""
        return self.rig.service.worker_log.stat().st_size

    def lost(self) -> int:
        """How often the worker found itself without a connection."""
        return self.said("Cannot connect to") + self.said("Connection to broker lost")


@pytest.fixture(scope="module", params=KINDS)
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    directory = tmp_path_factory.mktemp(request.param)
    with broker_of(request.param, directory) as broker, redis_servers(directory) as start:
        env = {"MEMRELAY_BROKER_URL": broker.url}
        rig = Rig(directory, start, broker=broker.server, env=env)
        try:
            yield Bench(rig.start(), broker)
            rig.assert_sound()
        finally:
            rig.close()


@pytest.fixture
def bench(shared: Bench) -> Iterator[Bench]:
    """At rest before the test and after it, with the same API and worker; sound at the end of all tests."""
    shared.store()
    shared.complaints_before = shared.complaints()
    yield shared
    shared.rig.wait_drained(DRAIN_SECONDS)
    assert shared.rig.service.api_running
    assert shared.rig.service.worker_running


@pytest.fixture
def rabbitmq(bench: Bench) -> RabbitMQServer:
    if not isinstance(bench.broker.server, RabbitMQServer):
        pytest.skip("of RabbitMQ alone")
    return bench.broker.server


def test_a_write_is_stored(bench: Bench) -> None:
    log.info("%s: stored after %.2f s", bench.broker.kind, bench.store())


@pytest.mark.slow
def test_after_every_restart_of_the_broker_consuming_goes_on(bench: Bench) -> None:
    took = []
    with Load(bench.rig, seed=12, writers=2, pause=0.3):
        for _ in range(RESTARTS[bench.broker.kind]):
            bench.rig.kill("broker")
            bench.write()
            in_flight = bench.rig.due()
            bench.rig.revive("broker")
            took.append(bench.seconds_to_end(in_flight))
    log.info("%s: %d restarts, back after %s s", bench.broker.kind, len(took), _rounded(took))


def test_a_frozen_broker_delays_no_answer(bench: Bench) -> None:
    bench.rig.freeze("broker")
    try:
        slowest = bench.accept(8)
    finally:
        bench.rig.thaw("broker")
    _log(bench, "frozen", slowest)


def test_a_queue_that_is_deleted_comes_back(bench: Bench) -> None:
    bench.broker.delete(QUEUE)
    took = [bench.store()]
    bench.broker.delete(QUEUE)
    took.append(bench.store())
    log.info("%s: queue deleted, stored after %s s", bench.broker.kind, _rounded(took))


def test_confirmations_later_than_the_deadline_delay_no_answer(bench: Bench) -> None:
    with bench.broker.proxy.toxic("latency", latency=7000):
        slowest = bench.accept(9)
    _log(bench, "late by 7 s", slowest)


TOXICS: dict[Toxic, dict[str, int]] = {
    "reset_peer": {"timeout": 50},
    "slicer": {"average_size": 8, "size_variation": 4, "delay": 2000},
    "limit_data": {"bytes": 2000},
}


@pytest.mark.parametrize("toxic", TOXICS)
def test_connections_that_break_are_made_again(bench: Bench, toxic: Toxic) -> None:
    with bench.broker.proxy.toxic(toxic, stream="downstream", **TOXICS[toxic]):
        slowest = bench.accept(4)
    _log(bench, toxic, slowest)


def test_a_connection_that_swallows_everything_is_given_up(bench: Bench) -> None:
    """A worker notices by itself: the connection is neither closed nor refused meanwhile."""
    lost = bench.lost()
    with bench.broker.proxy.toxic("timeout", timeout=0):
        slowest = bench.accept(2)
        took = wait_until(
            "the worker to notice",
            lambda: bench.lost() > lost,
            HEARTBEATS_SECONDS,
        )
    log.info("%s: a black hole, noticed after %.1f s", bench.broker.kind, took + 2)
    _log(bench, "black hole", slowest)


@pytest.mark.parametrize("of", ["memory", "disk"])
def test_an_alarm_of_the_broker_delays_no_answer(
    bench: Bench, rabbitmq: RabbitMQServer, of: Alarm
) -> None:
    rabbitmq.raise_alarm(of)
    try:
        slowest = bench.accept(6)
    finally:
        rabbitmq.lift_alarm(of)
    told = f"{of} resource limit alarm set"
    wait_until("the broker to say so", lambda: told in rabbitmq.log.read_text(), 60)
    _log(bench, f"{of} alarm", slowest)


def test_a_message_that_redis_popped_for_a_worker_that_is_killed_is_made_good(
    bench: Bench,
) -> None:
    """It is neither in the queue nor among what is not acknowledged: the worker never read the reply."""
    if bench.broker.kind != "redis":
        pytest.skip("of Redis alone: RabbitMQ keeps what it delivers until it is acknowledged")

    wait_until("a message to be popped", lambda: _popped_unread(bench), 300)
    in_flight = bench.rig.due()
    assert in_flight
    bench.rig.service.kill_worker()
    bench.rig.service.start_worker()
    took = bench.seconds_to_end(in_flight)
    log.info("popped, never received, stored after %.1f s", took)


def _popped_unread(bench: Bench) -> bool:
    """Whether Redis popped one more write for the worker, which is frozen then; else it goes on.

    Its poll lasts a second, and may have ended before the message came.
    """

    def settled() -> bool:
        """What is done is acknowledged; what a broken connection left may not be for minutes."""
        held = bench.broker.held(QUEUE)
        time.sleep(2)
        return bench.broker.held(QUEUE) == held

    wait_until("the queue to move no more", settled, 120)
    before, pushed = bench.broker.held(QUEUE), bench.broker.pushed()
    bench.rig.service.freeze_worker()
    bench.write()
    wait_until("it to be published", lambda: bench.broker.pushed() > pushed, 60)
    if bench.broker.held(QUEUE) == before:
        return True
    bench.rig.service.thaw_worker()
    bench.rig.wait_drained(BACK_SECONDS)
    return False


class Planted:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self._path,)


def test_a_pickled_message_is_refused_unread(bench: Bench, tmp_path: Path) -> None:
    trace = tmp_path / "unpickled"
    body = pickle.dumps(((Planted(trace), 0), {}, {}))
    dead = bench.dead()
    bench.broker.send(QUEUE, body, _headers(DELIVER), "application/x-python-serialize")
    _come_but_once(bench, dead + 1)
    assert not trace.exists()


def test_what_is_no_json_is_dropped(bench: Bench) -> None:
    dead = bench.dead()
    bench.broker.send(QUEUE, b"\xff\x00 no JSON", _headers(DELIVER), "application/json")
    _come_but_once(bench, dead)


FORGED: dict[str, tuple[str, Any]] = {
    "no task of ours": ("os.system", ["true"]),
    "no arguments": (DELIVER, []),
    "too many arguments": (DELIVER, [QUEUE, 1, 2]),
    "a queue that is none": (DELIVER, ["deliver.nobody", 1]),
    "another task's queue": (STORE, [QUEUE, 1]),
    "a queue that is no string": (DELIVER, [{"$gt": ""}, 1]),
    "an envelope that is no number": (DELIVER, [QUEUE, "x" * 1000]),
}


def test_forged_messages_are_refused(bench: Bench) -> None:
    dead = bench.dead()
    for task, args in FORGED.values():
        body = json.dumps([args, {}, {}]).encode()
        bench.broker.send(QUEUE, body, _headers(task), "application/json")
    _come_but_once(bench, dead + len(FORGED))


def _come_but_once(bench: Bench, dead: int) -> None:
    """What was sent is complained of and not delivered again; RabbitMQ has ``dead`` dead letters."""
    wait_until("the complaint", lambda: bench.complaints() > bench.complaints_before, 60)
    if bench.broker.kind == "rabbitmq":
        wait_until("the dead letters", lambda: bench.dead() == dead, 60)
    bench.store()
    time.sleep(2)
    wait_until("the complaints to end", lambda: _is_quiet(bench), 60)
    assert bench.broker.kind == "redis" or bench.dead() == dead


def _is_quiet(bench: Bench) -> bool:
    complaints = bench.complaints()
    time.sleep(2)
    return bench.complaints() == complaints


def _headers(task: str) -> dict[str, Any]:
    return {"task": task, "id": "forged", "lang": "py", "argsrepr": "", "kwargsrepr": ""}


def _log(bench: Bench, fault: str, slowest: float) -> None:
    took = bench.rig.wait_drained(BACK_SECONDS)
    log.info(
        "%s, %s: the slowest answer took %.2f s, drained %.1f s later",
        *(bench.broker.kind, fault, slowest, took),
    )
    assert slowest < ANSWER_SECONDS


def _rounded(seconds: list[float]) -> list[float]:
    return [round(value, 1) for value in seconds]
