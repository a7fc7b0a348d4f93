"""Journal and broker under Redis Sentinel: a master dies among writes, and replicas stay away."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
import redis

from backends.broker import create_app
from backends.journal import Journal
from backends.journal.apikeys import revoke_key
from backends.journal.cancel import cancel
from deploy.native.redis import RedisServer
from deploy.native.sentinel import MASTER, SentinelServer
from memrelay.embedded.ports import free_port
from memrelay.errors import Unavailable
from memrelay.jobs import JobId
from tests.brokers import broker_settings
from tests.rig import redis_servers, wait_until
from tests.service import Service, settings_env

SECONDS = 120
WRITERS = 4
PASSWORD = f"canary{uuid4().hex}"


@dataclass(frozen=True, slots=True)
class Watched:
    """A journal that is also the broker: one master and two replicas, watched by a Sentinel."""

    servers: dict[int, RedisServer]
    sentinel: SentinelServer
    service: Service

    @property
    def master(self) -> int:
        """The port of the one that the Sentinel names."""
        with redis.Redis(port=self.sentinel.port, password=PASSWORD) as asked:
            _, port = asked.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        return int(port)

    @property
    def others(self) -> list[RedisServer]:
        master = self.master
        return [server for port, server in self.servers.items() if port != master]

    def replicas(self, port: int) -> int:
        """How many are in step with the server on ``port``."""
        with redis.Redis(port=port) as server:
            return int(server.info("replication")["connected_slaves"])


@pytest.fixture(scope="module")
def start_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RedisServer]]:
    with redis_servers(tmp_path_factory.mktemp("redis")) as start:
        yield start


@pytest.fixture(scope="module")
def watched(
    start_redis: Callable[..., RedisServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    master, *replicas = (start_redis(appendfsync="always") for _ in range(3))
    for replica in replicas:
        with redis.Redis(port=replica.port) as client:
            client.replicaof("127.0.0.1", str(master.port))
    directory = tmp_path_factory.mktemp("sentinel")
    with SentinelServer(directory, free_port(), master, password=PASSWORD) as sentinel:
        env = settings_env(
            broker_url=sentinel.database(1),
            journal_url=sentinel.url,
            redis_url=f"{start_redis().url}/0",
            directory=directory,
        )
        service = Service({**env, "MEMRELAY_JOURNAL_REPLICAS": "1"}, directory / "service")
        servers = {server.port: server for server in (master, *replicas)}
        watched = Watched(servers, sentinel, service)
        wait_until("the replicas", lambda: watched.replicas(master.port) == 2, SECONDS)
        wait_until("the Sentinel to know them", lambda: _known(sentinel) == 2, SECONDS)
        with service:
            yield watched


def _known(sentinel: SentinelServer) -> int:
    with redis.Redis(port=sentinel.port, password=PASSWORD) as asked:
        return len(asked.execute_command("SENTINEL", "REPLICAS", MASTER))


def test_no_worker_tells_the_password_of_the_sentinels(watched: Watched) -> None:
    """Flower shows what workers tell, and whoever reaches the broker can ask for it."""
    app = create_app(broker_settings(watched.sentinel.database(1)))
    told: list[dict[str, Any]] = []

    def answered() -> bool:
        told[:] = app.control.broadcast("stats", reply=True, timeout=2)
        return bool(told)

    wait_until("a worker's answer", answered, SECONDS)
    assert "prefetch_count" in str(told)

    def configured() -> bool:
        told.extend(
            app.control.broadcast("conf", reply=True, timeout=2, arguments={"with_defaults": True})
        )
        return "master_name" in str(told)

    wait_until("a worker's settings", configured, SECONDS)
    assert PASSWORD not in str(told)
    assert PASSWORD not in watched.service.worker_log.read_text()


class Writers:
    """Threads that write one memory after another until they are stopped."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(WRITERS)]
        self.accepted: list[str] = []
        self.statuses: Counter[int] = Counter()

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not self._stopped.is_set():
                id = uuid4().hex
                answer = client.post(
                    "/v1/memories", json={"memories": [{"id": id, "text": f"note {id}"}]}
                )
                self.statuses[answer.status_code] += 1
                if answer.status_code == 202:
                    self.accepted.append(id)


def _stored(client: httpx.Client, id: str) -> bool:
    return client.get(f"/v1/memories/{id}").status_code == 200


def test_what_was_accepted_is_stored_when_the_master_dies_before_its_replicas_have_all(
    watched: Watched,
) -> None:
    first, replicas = watched.master, watched.others
    with Writers(watched.service.url) as writers:
        wait_until("the first writes", lambda: len(writers.accepted) > 100, SECONDS)
        for replica in replicas:
            replica.freeze()
        answers = writers.statuses.total()
        wait_until("answers", lambda: writers.statuses.total() > answers + WRITERS, SECONDS)
        watched.servers[first].kill()
        for replica in replicas:
            replica.thaw()
        _wait_for_failover(watched, writers, first)
    _assert_all_stored(watched.service.url, writers)
    watched.servers[first].start()  # comes back, and learns that it is a replica now
    wait_until("its return", lambda: watched.replicas(watched.master) == 2, SECONDS)


def test_what_was_accepted_is_stored_when_a_frozen_master_wakes_up_as_one_of_two(
    watched: Watched,
) -> None:
    first = watched.master
    with Writers(watched.service.url) as writers:
        wait_until("the first writes", lambda: len(writers.accepted) > 100, SECONDS)
        watched.servers[first].freeze()
        wait_until("another master", lambda: watched.master != first, SECONDS)
        watched.servers[first].thaw()
        _wait_for_failover(watched, writers, first)
    _assert_all_stored(watched.service.url, writers)
    wait_until("the first as a replica", lambda: watched.replicas(watched.master) == 2, SECONDS)


def _wait_for_failover(watched: Watched, writers: Writers, first: int) -> None:
    wait_until("another master", lambda: watched.master != first, SECONDS)
    before = len(writers.accepted)
    wait_until("writes after it", lambda: len(writers.accepted) > before + 100, SECONDS)


def _assert_all_stored(url: str, writers: Writers) -> None:
    assert set(writers.statuses) <= {202, 503}, writers.statuses
    missing = set(writers.accepted)
    with httpx.Client(base_url=url, timeout=30) as client:

        def all_stored() -> bool:
            some = list(missing)[:200]
            missing.difference_update([id for id in some if _stored(client, id)])
            return not missing

        wait_until("all that was accepted to be stored", all_stored, SECONDS)


def test_a_write_that_no_replica_holds_is_refused_until_one_does(watched: Watched) -> None:
    url, replicas = watched.service.url, watched.others
    for replica in replicas:
        replica.freeze()
    try:
        answer = httpx.post(
            f"{url}/v1/memories", json={"memories": [{"text": "alone"}]}, timeout=60
        )
        assert answer.status_code == 503
        assert "0 of 1 replicas" in answer.json()["detail"]
        assert int(answer.headers["retry-after"]) > 0
    finally:
        for replica in replicas:
            replica.thaw()

    def accepted() -> bool:
        body = {"memories": [{"text": "held"}]}
        return httpx.post(f"{url}/v1/memories", json=body, timeout=60).status_code == 202

    wait_until("a write to be held", accepted, SECONDS)


async def test_what_must_not_come_back_is_held_by_a_replica_too(watched: Watched) -> None:
    """A failover would store what was canceled, and take a key that was revoked."""
    journal = Journal(watched.sentinel.url, replicas=1)
    replicas = watched.others
    for replica in replicas:
        replica.freeze()
    try:
        with pytest.raises(Unavailable, match="0 of 1 replicas"):
            await cancel(journal, "nobody", [JobId(1, 1)])
        with pytest.raises(Unavailable, match="0 of 1 replicas"):
            await revoke_key(journal, "0" * 16)
    finally:
        for replica in replicas:
            replica.thaw()
        await journal.close()
