"""Faults at one point: a process dies exactly between two steps (``tests/failpoints.py``)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from deploy.native.rabbitmq import RabbitMQServer
from tests.drills import memory_group, wait_in_hand
from tests.failpoints import CHILDREN, POISON, through
from tests.oracle import SOUND, judge
from tests.rig import Load, Rig, memory, wait_until

log = logging.getLogger(__name__)
DRAIN_SECONDS = 120.0
POISON_SECONDS = 180.0  # the bar is 30 s; what is asserted leaves room for a busy machine
LEASE_MS = 1500
"""Of the workers that are poisoned: each kill costs one lease, and eight find one in sixteen."""


def failed(rig: Rig, name: str) -> bool:
    """Whether somebody died of the failpoint."""
    return (rig.service.directory / name).exists()


def test_a_client_that_asks_again_after_the_api_died_with_its_answer_gets_the_same_job(
    unstarted: Rig,
) -> None:
    rig = unstarted
    rig.service.api = through("api", "killed_after_append")
    rig.start()
    key = {"Idempotency-Key": "of the write whose answer was lost"}
    memories = [memory(f"m{n}", f"written once, asked for twice: {n}") for n in range(3)]
    body = {"memories": memories, "lane": "interactive"}
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{rig.service.url}/v1/memories", json=body, headers=key)
    assert failed(rig, "killed_after_append")
    assert rig.entered() == 3
    rig.service.restart_api()
    job = httpx.get(f"{rig.service.url}/v1/jobs").json()["jobs"][0]["id"]
    writer = rig.writer()
    answers = [writer.put(memories, key=key["Idempotency-Key"]) for _ in range(2)]
    assert [answer["job"]["id"] for answer in answers] == [job, job]
    assert answers[0]["memories"] == answers[1]["memories"]
    rig.wait_drained(DRAIN_SECONDS)
    assert rig.entered() == 3
    for store in rig.stores:
        assert judge(rig.ledger, rig.settings(store), rig.scope) == SOUND


@pytest.mark.parametrize("point", ["killed_after_apply", "killed_in_a_batch"])
def test_a_child_killed_between_two_steps_of_a_batch_does_it_again_without_duplicates(
    unstarted: Rig, point: str
) -> None:
    rig = unstarted
    rig.service.worker = through("workers", point)
    rig.start()
    with Load(rig, seed=21):
        took = wait_until("the child to die", lambda: failed(rig, point), 60)
        in_flight = rig.due()
        wait_in_hand(rig)
        ended = wait_until("it to be done again", lambda: not in_flight & rig.due(), DRAIN_SECONDS)
    log.info("died after %.1f s, what was in flight ended after %.1f s", took, ended)
    rig.wait_drained(DRAIN_SECONDS)
    wait_until("all children", lambda: len(rig.service.worker_children) == 3, 60)
    rig.assert_sound()


@pytest.mark.parametrize(("point", "together"), [("poison_embed", True), ("poison_apply", False)])
def test_a_memory_that_kills_its_worker_is_given_up_alone(
    unstarted: Rig, point: str, together: bool
) -> None:
    """Fifteen others are stored, whether they came with it (``together``) or were taken along."""
    rig = unstarted
    rig.service.worker = through("workers", point, f"lease_ms={LEASE_MS}")
    rig.service.start_api()
    writer = rig.writer()
    memories = [memory("m0", f"this one {POISON}")]
    memories += [memory(f"m{n}", f"harmless text {n}") for n in range(1, 16)]
    groups = [memories] if together else [[one] for one in memories]
    guilty, *others = [writer.put(group)["job"]["id"] for group in groups]
    rig.service.start_worker()
    took = rig.wait_drained(POISON_SECONDS)
    log.info("%s: the other fifteen stored, and it given up, after %.1f s", point, took)
    [(version, letter)] = rig.dead_letters().items()
    assert (letter["id"], letter["code"]) == ("m0", "killed_worker")
    assert letter["drivers"] == "redis,replica"
    for store in rig.stores:
        assert judge(rig.ledger, rig.settings(store), rig.scope, {("m0", version)}) == SOUND
    job = read_job(rig, guilty)
    assert job["status"] == ("partial" if together else "failed")
    assert {(error["id"], error["code"]) for error in job["errors"]} == {("m0", "killed_worker")}
    assert {read_job(rig, other)["status"] for other in others} <= {"stored"}


def test_a_memory_that_uses_up_all_memory_is_given_up_alone(make_rig: Callable[..., Rig]) -> None:
    """The kernel ends the child that takes the last of it, out of a control group of the worker's own."""
    with memory_group(mebibytes=1024) as group:
        rig = make_rig()
        rig.service.worker = through(
            "workers", "poison_memory", "count_children", f"within={group}", f"lease_ms={LEASE_MS}"
        )
        rig.start()
        writer = rig.writer()
        memories = [memory("m0", f"this one {POISON}")]
        memories += [memory(f"m{n}", f"harmless text {n}") for n in range(1, 100)]
        job = writer.put(memories)["job"]["id"]
        took = rig.wait_drained(POISON_SECONDS)
        children = len((rig.service.directory / CHILDREN).read_text().splitlines())
        rig.service.stop()
    log.info("99 stored, and it given up, after %.1f s and %d children", took, children)
    [(version, letter)] = rig.dead_letters().items()
    assert (letter["id"], letter["code"]) == ("m0", "killed_worker")
    for store in rig.stores:
        assert judge(rig.ledger, rig.settings(store), rig.scope, {("m0", version)}) == SOUND
    rig.service.start_api()
    assert read_job(rig, job)["counts"]["redis"]["stored"] == 99


def test_what_kills_its_worker_more_often_than_rabbitmq_delivers_is_a_dead_letter(
    make_rig: Callable[..., Rig], rabbitmq_server_factory: Callable[[], RabbitMQServer]
) -> None:
    """RabbitMQ drops a message after ten deliveries; the journal knows what it was about."""
    rig = make_rig(broker=rabbitmq_server_factory())
    rig.service.worker = through(
        "workers", "poison_embed", "count_children", f"lease_ms={LEASE_MS}"
    )
    rig.start()
    writer = rig.writer()
    poisons = {f"m{n}" for n in range(0, 30, 10)}
    memories = [
        memory(f"m{n}", f"{n}: {POISON if f'm{n}' in poisons else 'harmless'}") for n in range(30)
    ]
    job = writer.put(memories)["job"]["id"]
    took = rig.wait_drained(3 * POISON_SECONDS)
    children = len((rig.service.directory / CHILDREN).read_text().splitlines())
    log.info("three given up and 27 stored after %.1f s and %d children", took, children)
    assert children > 21
    letters = rig.dead_letters()
    assert {letter["id"] for letter in letters.values()} == poisons
    dead = {(letter["id"], version) for version, letter in letters.items()}
    for store in rig.stores:
        assert judge(rig.ledger, rig.settings(store), rig.scope, dead) == SOUND
    told = read_job(rig, job)
    assert (told["status"], told["counts"]["redis"]["failed"]) == ("partial", 3)


def read_job(rig: Rig, id: str) -> dict[str, Any]:
    job: dict[str, Any] = httpx.get(f"{rig.service.url}/v1/jobs/{id}").json()
    return job
