"""Faults: processes are killed and frozen under load, and nothing that was acknowledged is lost.

Each test has a service with a journal, a broker and two stores of its own. Clients note every 202 in a
ledger (``tests/oracle.py``); at the end both stores are read without memrelay and compared with it.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from functools import partial

import httpx
import pytest

from tests.drills import (
    freeze_in_hand,
    hits,
    on_both_brokers,
    search,
    seconds_to_end,
    wait_in_hand,
)
from tests.rig import Load, Rig, memory, wait_until, wipe

log = logging.getLogger(__name__)
# The bar is 10 s, and a quiet machine takes 7; what is asserted leaves room for a busy one.
WORKER_KILLED_SECONDS = 60.0
# The bar is 30 s; see above.
BROKER_BACK_SECONDS = 120.0
ANSWER_SECONDS = 4.0  # the bar is 1 s; see above
STORE_BACK_SECONDS = 120.0
DRAIN_SECONDS = 180.0
FREEZE_SECONDS = 12.0
KILLS = 5
CHILDREN = 3
"""Of a worker: one for the interactive lane, two for the bulk lane."""


@on_both_brokers
def test_a_worker_killed_in_the_middle_of_batches_loses_nothing(rig: Rig) -> None:
    took = []
    with Load(rig, seed=1):
        for _ in range(KILLS):
            wait_in_hand(rig)
            rig.service.kill_worker()
            in_flight = rig.due()
            rig.service.start_worker()
            took.append(seconds_to_end(rig, in_flight, WORKER_KILLED_SECONDS))
    rig.wait_drained(DRAIN_SECONDS)
    log.info("killed %d times, what was in flight ended after %s s", KILLS, took)
    rig.assert_sound()


def replaced(rig: Rig, killed: int) -> bool:
    after = rig.service.worker_children
    return len(after) == CHILDREN and killed not in after


@on_both_brokers
def test_a_child_killed_in_the_middle_of_a_batch_is_replaced_and_loses_nothing(rig: Rig) -> None:
    with Load(rig, seed=2):
        for _ in range(2):
            wait_in_hand(rig)
            wait_until("all children", lambda: len(rig.service.worker_children) == CHILDREN, 60)
            before = rig.service.worker_children
            os.kill(before[0], signal.SIGKILL)
            in_flight = rig.due()
            took = seconds_to_end(rig, in_flight, WORKER_KILLED_SECONDS)
            log.info("a child killed, what was in flight ended after %.1f s", took)
            wait_until("another child", partial(replaced, rig, before[0]), 60)
    rig.wait_drained(DRAIN_SECONDS)
    rig.assert_sound()


@on_both_brokers
def test_a_frozen_worker_that_wakes_up_settles_nothing_and_overwrites_nothing(rig: Rig) -> None:
    with Load(rig, seed=3, ids=100):
        frozen = freeze_in_hand(rig)
        rig.another_worker()
        time.sleep(FREEZE_SECONDS)
        os.killpg(frozen, signal.SIGCONT)
        taken_over = "were taken over by another worker"
        wait_until("it to notice", lambda: taken_over in rig.service.worker_log.read_text(), 60)
    rig.wait_drained(DRAIN_SECONDS)
    rig.assert_sound()


@on_both_brokers
@pytest.mark.parametrize("wiped", [False, True], ids=["data kept", "data lost"])
def test_accepting_goes_on_without_the_broker_and_all_is_stored_once_it_is_back(
    rig: Rig, wiped: bool
) -> None:
    worker = rig.service.worker_pid
    with Load(rig, seed=4) as load:
        time.sleep(1)
        rig.kill("broker")
        accepted = len(rig.ledger.lines)
        time.sleep(4)
        wait_until("more to be accepted", lambda: len(rig.ledger.lines) > accepted + 100, 60)
        if wiped:
            wipe(rig.broker)
        rig.revive("broker")
        took = seconds_to_end(rig, rig.due(), BROKER_BACK_SECONDS)
        log.info("accepted without the broker, ended after %.1f s", took)
    rig.wait_drained(DRAIN_SECONDS)
    assert not load.statuses
    assert load.broken == 0
    assert rig.service.worker_pid == worker
    rig.assert_sound()


@on_both_brokers
def test_no_broker_at_all_refuses_no_write(rig: Rig) -> None:
    """What is accepted while it is frozen, rather than gone, is answered as fast."""
    writer = rig.writer()
    rig.broker.freeze()
    slowest = 0.0
    for number in range(100):
        began = time.monotonic()
        writer.put([memory(f"m{number}", f"written beside a frozen broker, {number}")])
        slowest = max(slowest, time.monotonic() - began)
    rig.broker.thaw()
    assert not writer.refusals
    assert slowest < ANSWER_SECONDS
    rig.wait_drained(BROKER_BACK_SECONDS)
    rig.assert_sound()


def test_without_the_journal_writes_are_an_honest_503_and_searches_go_on(rig: Rig) -> None:
    """Unless the stores were last known to lag on deletes: nothing is deleted here."""
    api, worker = rig.service.api_pid, rig.service.worker_pid
    with Load(rig, seed=5, deletes=0) as load:
        for _ in range(3):
            time.sleep(1)
            rig.kill("journal")
            time.sleep(1)
            search = httpx.post(f"{rig.service.url}/v1/search", json={"query": "memory"})
            rig.revive("journal")
            assert (search.status_code, search.json()["behind"]) == (200, None)
    took = rig.wait_drained(DRAIN_SECONDS)
    refusals = [refusal for writer in load.writers for refusal in writer.refusals]
    assert refusals
    slowest = max(seconds for _, seconds, _ in refusals)
    log.info("%d refusals in at most %.2f s, drained after %.1f s", len(refusals), slowest, took)
    for status, seconds, headers in refusals:
        assert status == 503
        assert seconds < ANSWER_SECONDS
        assert headers["content-type"] == "application/problem+json"
        assert int(headers["retry-after"]) >= 1
    assert (rig.service.api_pid, rig.service.worker_pid) == (api, worker)
    rig.assert_sound()


def test_an_api_killed_under_load_accepts_each_write_once(rig: Rig) -> None:
    once = [memory("once", "written before the crash, repeated after it")]
    key = {"Idempotency-Key": "a key of the client's"}
    with Load(rig, seed=6) as load:
        first = rig.writer().put(once, key=key["Idempotency-Key"])
        for _ in range(3):
            time.sleep(1)
            rig.service.restart_api()
            again = httpx.post(
                f"{rig.service.url}/v1/memories",
                json={"memories": once, "lane": "interactive"},
                headers=key,
            ).json()
            assert (again["job"]["id"], again["memories"]) == (
                first["job"]["id"],
                first["memories"],
            )
    assert load.broken > 0
    rig.wait_drained(DRAIN_SECONDS)
    rig.assert_sound()


def test_a_replica_that_is_down_from_the_start_delays_nobody_and_converges(unstarted: Rig) -> None:
    rig = unstarted
    rig.kill("replica")
    rig.start()
    writer = rig.writer()
    stored = writer.put([memory("first", "the primary takes this")], wait="stored", timeout="5s")
    assert stored["job"]["status"] in ("accepted", "processing")
    url = f"{rig.service.url}/v1/jobs/{stored['job']['id']}"

    def taken() -> bool:
        return bool(httpx.get(url).json()["counts"]["redis"]["stored"] == 1)

    wait_until("the primary to have it", taken, STORE_BACK_SECONDS)
    job = httpx.get(url).json()
    assert job["status"] == "processing"
    assert job["counts"]["redis"] == {
        "total": 1,
        "stored": 1,
        "failed": 0,
        "needs_sync": 0,
        "canceled": 0,
    }
    assert job["counts"]["replica"]["stored"] == 0
    found = search(rig, "the primary takes this").json()
    assert [hit["id"] for hit in found["hits"]] == ["first"]
    assert (found["served_by"], found["fallback"], found["behind"]) == (["redis"], False, 0)
    with Load(rig, seed=7, ids=200):
        time.sleep(5)
    rig.revive("replica")
    took = rig.wait_drained(STORE_BACK_SECONDS)
    log.info("%d writes behind, converged after %.1f s", len(rig.ledger.lines), took)
    rig.assert_sound()


def test_without_any_store_searches_are_503_and_writes_wait(rig: Rig) -> None:
    writer = rig.writer()
    writer.put([memory("before", "stored before the fault")], wait="stored", timeout="5s")
    for store in rig.stores:
        rig.kill(store)
    for number in range(5):
        answer = search(rig, "stored before the fault")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
        writer.put([memory(f"m{number}", "accepted without any store")])
    with Load(rig, seed=8) as load:
        time.sleep(3)
    assert not load.statuses
    for store in rig.stores:
        rig.revive(store)
    took = rig.wait_drained(STORE_BACK_SECONDS)
    log.info("%d writes behind, converged after %.1f s", len(rig.ledger.lines), took)
    assert search(rig, "stored before the fault").status_code == 200
    rig.assert_sound()


def test_a_primary_that_is_down_is_replaced_in_searches_and_converges(rig: Rig) -> None:
    writer = rig.writer()
    rig.kill("redis")
    accepted = writer.put([memory("while", "written while the primary is down")])
    wait_until("the replica to have it", lambda: bool(hits(rig, "written while")), 60)
    found = search(rig, "written while the primary is down").json()
    assert (found["served_by"], found["fallback"]) == (["replica"], True)
    url = f"{rig.service.url}/v1/jobs/{accepted['job']['id']}"
    wait_until(
        "the job to say so", lambda: httpx.get(url).json()["counts"]["replica"]["stored"] == 1, 60
    )
    assert httpx.get(url).json()["status"] == "processing"
    rig.revive("redis")
    rig.wait_drained(STORE_BACK_SECONDS)
    rig.assert_sound()


@on_both_brokers
def test_a_warm_shutdown_under_load_leaves_nothing_in_hand(rig: Rig) -> None:
    with Load(rig, seed=9):
        for _ in range(2):
            wait_in_hand(rig)
            began = time.monotonic()
            rig.service.stop_worker()
            log.info("the worker ended after %.1f s", time.monotonic() - began)
            assert rig.leased() == 0
            rig.service.start_worker()
            wait_in_hand(rig)
    rig.wait_drained(DRAIN_SECONDS)
    rig.assert_sound()


def test_a_shutdown_with_a_store_that_hangs_ends_within_its_deadline(rig: Rig) -> None:
    """The replica's deadline is 10 s; the primary has its outcome, the replica's share is kept."""
    writer = rig.writer()
    rig.stores["replica"].freeze()
    accepted = writer.put([memory("while", "written while the replica hangs")])
    wait_in_hand(rig)
    began = time.monotonic()
    rig.service.stop_worker()
    assert time.monotonic() - began < 40
    assert rig.leased() == 0
    job = httpx.get(f"{rig.service.url}/v1/jobs/{accepted['job']['id']}").json()
    assert (job["status"], job["counts"]["redis"]["stored"]) == ("processing", 1)
    rig.stores["replica"].thaw()
    rig.service.start_worker()
    rig.wait_drained(DRAIN_SECONDS)
    rig.assert_sound()
