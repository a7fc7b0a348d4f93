"""Lanes: no import delays a single write, no namespace another. A worker is one thing to start and stop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from backends.journal import Journal, Put, Unit, encode_write
from backends.journal.journal import PREFIX
from deploy.native.redis import RedisServer
from deploy.native.server import wait_until_stopped
from memrelay.batching import MAX_MEMORIES, pack
from memrelay.jobs import deliver_queue
from tests.bench import Bench
from tests.rig import wait_until
from tests.service import Service, children, settings_on
from workers.apply import AT_A_TURN

BULK = deliver_queue("bulk")
INTERACTIVE = deliver_queue("interactive")
WAIT = 0.008
HURRY = 100
IMPORTED = 10_000
AT_ONCE = 500
NICENESS = 7
_ROOT = Path(__file__).parents[2]


@pytest.fixture
async def journal(journal_url: str) -> AsyncIterator[Journal]:
    journal = Journal(journal_url)
    await journal.client.flushdb()
    yield journal
    await journal.client.flushdb()
    await journal.close()


async def enter(journal: Journal, namespace: str, count: int, *, queue: str = BULK) -> None:
    """Envelopes of one memory each."""
    units = [
        Unit(
            namespace=namespace,
            source="default",
            queue=queue,
            drivers=("redis",),
            drafts=pack([([encode_write(_put(f"{namespace}-{number}"))], (), ())]),
        )
        for number in range(count)
    ]
    for start in range(0, count, AT_ONCE):
        await journal.append(units[start : start + AT_ONCE])


def _put(id: str) -> Put:
    return Put(id, "a text", None, None, (), {}, 1, None, None)


async def claimed(journal: Journal) -> tuple[str, int]:
    """The namespace that the next claim serves, and how many envelopes of it."""
    claim = await journal.claim(BULK, "token")
    assert claim is not None
    return claim.namespace, len(claim.envelopes)


async def test_ten_thousand_waiting_envelopes_delay_another_namespace_by_one_claim_each(
    journal: Journal,
) -> None:
    for namespace in ("flood-a", "flood-b"):
        await enter(journal, namespace, IMPORTED)
    assert await claimed(journal) == ("flood-a", MAX_MEMORIES)
    served = []
    for _ in range(3):
        await enter(journal, "agent", 1)
        served += [await claimed(journal) for _ in range(3)]
    turns = [index for index, (namespace, _) in enumerate(served) if namespace == "agent"]
    assert len(turns) == 3, served
    assert turns[0] <= 2
    assert max(after - before for before, after in pairwise(turns)) <= 3
    assert {count for namespace, count in served if namespace != "agent"} == {MAX_MEMORIES}


async def hurry(journal: Journal, queue: str, *, late: bool) -> bool:
    """Whether bulk work is paced once an envelope of ``queue`` has been claimed, late or in time."""
    in_time = int(
        (time.time() + 60) * 1e6
    )  # a version of the next minute, and nothing waits for less
    await journal.client.set(f"{PREFIX}ver", 0 if late else in_time)
    await enter(journal, "ns", 1, queue=queue)
    if late:
        await asyncio.sleep(2 * WAIT)
    claim = await journal.claim(queue, "token")
    assert claim is not None
    assert claim.hurried == journal.hurried
    return claim.hurried


async def test_a_single_write_that_waits_for_a_worker_paces_bulk_work_for_the_next_hundred(
    journal: Journal,
) -> None:
    assert not await hurry(journal, INTERACTIVE, late=False)
    assert await hurry(journal, INTERACTIVE, late=True)
    paced = [await hurry(journal, INTERACTIVE, late=False) for _ in range(HURRY)]
    assert paced == [True] * (HURRY - 1) + [False]


async def test_what_waits_in_the_bulk_lane_paces_nothing(journal: Journal) -> None:
    assert not await hurry(journal, BULK, late=True)


async def test_an_api_hears_with_what_it_accepts_that_bulk_work_is_paced(
    journal: Journal, journal_url: str
) -> None:
    api = Journal(journal_url)
    await enter(api, "ns", 1)
    assert not api.hurried
    await hurry(journal, INTERACTIVE, late=True)
    await enter(api, "ns", 1)
    assert api.hurried
    await api.close()


@pytest.mark.parametrize("queue", [BULK, INTERACTIVE])
@pytest.mark.parametrize("hurried", [True, False])
def test_bulk_work_goes_to_the_stores_in_short_turns_while_it_is_paced(
    journal_url: str, tmp_path: Path, queue: str, hurried: bool
) -> None:
    bench = Bench(journal_url, tmp_path, queue=queue)
    try:
        if hurried:
            bench.run(bench.journal.client.set(f"{PREFIX}hurry", HURRY))
        count = 2 * AT_A_TURN + 1
        first = bench.put(*(f"memory-{number}" for number in range(count)))
        bench.deliver(queue)
        assert bench.job(first, count).status == "stored"
        turns = 3 if hurried and queue == BULK else 1
        assert [driver.calls["apply"] for driver in bench.drivers.values()] == [turns] * 2
    finally:
        bench.close()


@pytest.fixture
def env(tmp_path: Path, redis_server_factory: Callable[..., RedisServer]) -> dict[str, str]:
    url = redis_server_factory().url
    return settings_on(url, tmp_path)


@pytest.fixture
def service(env: dict[str, str], tmp_path: Path) -> Iterator[Service]:
    with Service(env | {"MEMRELAY_BULK_NICENESS": str(NICENESS)}, tmp_path / "service") as service:
        wait_until("the children of both lanes", lambda: len(service.worker_children) == 3, 60)
        yield service


def write(service: Service, lane: str, timeout: float) -> httpx.Response:
    return httpx.post(
        f"{service.url}/v1/memories?wait=stored&timeout={timeout}s",
        json={"memories": [{"text": f"of the {lane} lane"}], "lane": lane},
        timeout=90,
    )


def stop(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)


def test_a_single_write_is_stored_while_everything_of_the_bulk_lane_stands_still(
    service: Service,
) -> None:
    assert write(service, "bulk", 60).status_code == 200
    _, bulk = service.worker_lanes
    frozen = [bulk, *children(bulk)]
    stop(frozen, signal.SIGSTOP)
    wait_until_stopped(frozen)
    try:
        delayed = write(service, "bulk", 0.5)
        assert delayed.status_code == 202
        assert write(service, "interactive", 60).status_code == 200
    finally:
        stop(frozen, signal.SIGCONT)
    job = httpx.get(f"{service.url}{delayed.headers['Location']}?wait=60", timeout=90).json()
    assert job["status"] == "stored"


def test_the_bulk_lane_alone_gives_way_to_others(service: Service) -> None:
    interactive, bulk = service.worker_lanes
    ours = os.getpriority(os.PRIO_PROCESS, service.worker_pid)
    for lane, niceness in ((interactive, ours), (bulk, ours + NICENESS)):
        for pid in (lane, *children(lane)):
            assert os.getpriority(os.PRIO_PROCESS, pid) == niceness


def running(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and not _zombie(pid)]


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_worker_ends_both_lanes_in_order(
    service: Service, number: signal.Signals
) -> None:
    everything = [*service.worker_lanes, *service.worker_children]
    os.kill(service.worker_pid, number)
    wait_until("the worker to end", lambda: not service.worker_running, 60)
    assert running(everything) == []
    assert service.worker_status == 0
    assert "Traceback" not in service.worker_log.read_text()


@pytest.mark.parametrize("ends", [0, 1], ids=["interactive", "bulk"])
def test_a_lane_that_is_killed_ends_the_other_and_tells_its_status(
    service: Service, ends: int
) -> None:
    lanes, everything = service.worker_lanes, service.worker_children
    os.kill(lanes[ends], signal.SIGKILL)
    wait_until("the worker to end", lambda: not service.worker_running, 60)
    assert service.worker_status == 128 + signal.SIGKILL
    wait_until("its children to end", lambda: running([*lanes, *everything]) == [], 60)


def test_lanes_end_when_the_process_that_watches_them_is_killed(service: Service) -> None:
    everything = [*service.worker_lanes, *service.worker_children]
    os.kill(service.worker_pid, signal.SIGKILL)
    wait_until("all to end", lambda: running(everything) == [], 60)


def test_a_worker_of_one_lane_leaves_the_other_alone(env: dict[str, str], tmp_path: Path) -> None:
    service = Service(env, tmp_path / "service")
    service.worker = ("workers", "--lane", "interactive")
    with service:
        assert write(service, "interactive", 60).status_code == 200
        assert write(service, "bulk", 0.5).status_code == 202


def test_a_worker_of_some_queues_leaves_the_others_alone(
    env: dict[str, str], tmp_path: Path
) -> None:
    service = Service(env, tmp_path / "service")
    service.worker = ("workers", "--queues", "deliver.bulk,store.redis")
    with service:
        assert write(service, "bulk", 60).status_code == 200
        assert write(service, "interactive", 0.5).status_code == 202


def test_a_queue_that_is_none_is_named_with_those_that_are(
    env: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "workers", "--queues", "deliver.bulk,store.nowhere"],
        cwd=tmp_path,
        env=os.environ | env | {"PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "memrelay worker: --queues: there is no queue 'store.nowhere'; there are: "
        "deliver.interactive, deliver.bulk, store.redis, store.sqlite, maintenance"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_api_that_is_stopped_ends_in_order(
    env: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    service = Service(env, tmp_path / "service")
    service.start_api()
    os.kill(service.api_pid, number)
    wait_until("its end", lambda: not service.api_running, 60)
    assert service.api_status == 0


def test_two_namespaces_share_a_journal_and_workers_and_see_nothing_of_each_other(
    service: Service, env: dict[str, str], tmp_path: Path
) -> None:
    other = Service(env | {"MEMRELAY_NAMESPACE": "other"}, tmp_path / "other")
    other.start_api()
    try:
        added = write(other, "interactive", 60)
        assert added.status_code == 200
        path = f"/v1/memories/{added.json()['memories'][0]['id']}"
        assert httpx.get(other.url + path).status_code == 200
        assert httpx.get(service.url + path).status_code == 404
        job = f"/v1/jobs/{added.json()['job']['id']}"
        assert httpx.get(service.url + job).status_code == 404
        client: Any = redis.Redis.from_url(env["MEMRELAY_JOURNAL_URL"])
        with client:
            assert client.zcard(f"{PREFIX}envs:other") == 1
    finally:
        other.stop_api()
