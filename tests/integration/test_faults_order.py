"""Faults of order and time: writes out of order, wrong clocks, jobs long gone, two releases at once."""

from __future__ import annotations

import io
import json
import logging
import random
import subprocess
import tarfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from memrelay.embedded.ports import free_port
from tests.drills import fake_clock, hits, set_clock
from tests.failpoints import through
from tests.oracle import SOUND, judge, read
from tests.rig import Load, Rig, Writer, memory, wait_until
from tests.service import Service

log = logging.getLogger(__name__)
DRAIN_SECONDS = 180.0
OPERATIONS = 10_000
IDS = 500
AT_ONCE = 25
ROOT = Path(__file__).parents[2]
EARLIER = "5386e56"
"""A commit whose journal must be understood: of the release before, as soon as there is one."""
BESIDE = "3909a8f"
"""A commit whose processes must get on with ours on the same servers: likewise."""


def test_ten_thousand_writes_out_of_order_end_at_the_highest_versions(unstarted: Rig) -> None:
    """Creates, updates and deletes of 500 memories, shuffled in the journal, by three workers."""
    rig = unstarted
    rig.service.start_api()
    writer = rig.writer()
    chance = random.Random(32)
    for number in range(OPERATIONS // AT_ONCE):
        ids = [f"m{n}" for n in chance.sample(range(IDS), AT_ONCE)]
        if chance.random() < 0.3:
            writer.delete(ids)
        else:
            writer.put([memory(id, f"{id}, version {number}") for id in ids])
    shuffled = rig.shuffle_waiting("deliver.interactive", chance)
    assert shuffled >= OPERATIONS // AT_ONCE
    rig.service.start_worker()
    rig.another_worker()
    rig.another_worker()
    took = rig.wait_drained(DRAIN_SECONDS)
    log.info("%d envelopes shuffled, drained after %.1f s", shuffled, took)
    rig.assert_sound()


def expiring(id: str, **after: float) -> dict[str, Any]:
    at = datetime.now(UTC) + timedelta(**after)
    return memory(id, f"{id} expires") | {"expires_at": at.isoformat()}


def test_a_worker_whose_clock_is_wrong_and_jumps_changes_no_order_and_expires_nothing_early(
    unstarted: Rig, tmp_path: Path
) -> None:
    """It is an hour ahead, alone, until it has turned to what has expired; then there is another."""
    rig = unstarted
    stamp = tmp_path / "clock"
    set_clock(stamp, "+1h")
    rig.service.start_api()
    rig.another_worker(**fake_clock(stamp))
    writer = rig.writer()
    writer.put([expiring("long", minutes=30), expiring("longer", hours=3)])
    writer.send("/v1/memories", {"memories": [expiring("brief", seconds=3)]})
    took = wait_until("what has expired to be deleted", lambda: buried(rig, "brief"), 120)
    log.info("a memory that lives 3 s was deleted after %.1f s", took)
    rig.service.start_worker()
    with Load(rig, seed=51, ids=60):
        for offset in ("+1h", "-1h", "+1h", "-2d"):
            set_clock(stamp, offset)
            time.sleep(1.5)
    rig.wait_drained(DRAIN_SECONDS)
    assert {"long", "longer"} <= set(hits(rig, "expires"))
    for store in rig.stores:
        assert judge(rig.ledger, rig.settings(store), rig.scope) == SOUND


def buried(rig: Rig, id: str) -> bool:
    """Whether both stores have a tombstone of it."""
    rows = [read(rig.settings(store), rig.scope)[0] for store in rig.stores]
    return all((id, None) in {(entry.id, entry.digest) for entry in row} for row in rows)


def test_a_job_that_is_forgotten_is_not_found_and_its_memories_are_there(unstarted: Rig) -> None:
    rig = unstarted
    rig.service.worker = through("workers", "keep_stored_ms=3000")
    rig.start()
    writer = rig.writer()
    memories = [memory(f"m{n}", f"what outlives its job, {n}") for n in range(5)]
    job = writer.put(memories, key="once")["job"]["id"]
    url = f"{rig.service.url}/v1/jobs/{job}"
    told: set[str | int] = set()

    def forgotten() -> bool:
        told.add(httpx.get(url).json()["status"])
        return 404 in told

    wait_until("the job to be forgotten", forgotten, DRAIN_SECONDS)
    assert {"stored"} <= told <= {"accepted", "processing", "stored", 404}
    assert httpx.get(f"{rig.service.url}/v1/jobs").json()["jobs"] == []
    for store in rig.stores:
        assert judge(rig.ledger, rig.settings(store), rig.scope) == SOUND
    again = writer.send("/v1/memories", {"memories": memories, "lane": "interactive"}, key="once")
    assert again["job"]["id"] == job, "its key is known for longer than the job"
    assert len(hits(rig, "what outlives its job")) == 5


def tree_of(commit: str, directory: Path) -> Path:
    """The sources of a commit."""
    archive = ["git", "-C", str(ROOT), "archive", commit]
    archived = subprocess.run(archive, capture_output=True, check=False)
    if archived.returncode != 0:
        pytest.skip(f"this clone has no history: {archived.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as tar:
        tar.extractall(directory, filter="data")
    return directory


def test_what_an_earlier_release_accepted_is_stored_by_this_one(
    unstarted: Rig, tmp_path: Path
) -> None:
    """Its journal alone: Redis stores that it has seen are of another layout, and refused."""
    rig = unstarted
    drivers = {name: rig.settings(name) for name in rig.stores}
    elsewhere = {n: settings | {"url": settings["url"] + "/5"} for n, settings in drivers.items()}
    env = rig.service.env | {"MEMRELAY_DRIVERS": json.dumps(elsewhere)}
    earlier = Service(env, tmp_path / "earlier", root=tree_of(EARLIER, tmp_path / "tree"))
    try:
        earlier.start_api()
        with Load(rig, seed=61, ids=200):
            time.sleep(2)
    finally:
        earlier.kill_api()
    accepted = len(rig.ledger.lines)
    rig.start()
    with Load(rig, seed=62, ids=200):
        time.sleep(2)
    took = rig.wait_drained(DRAIN_SECONDS)
    log.info("%d accepted before, %d after, drained %.1f s later", accepted, rig.entered(), took)
    rig.assert_sound()


def test_processes_of_two_releases_share_the_work_and_lose_nothing(
    unstarted: Rig, tmp_path: Path
) -> None:
    """A rolling upgrade: both APIs accept; the earlier worker alone, then both, then ours alone."""
    rig = unstarted
    env = rig.service.env | {"MEMRELAY_PORT": str(free_port())}
    earlier = Service(env, tmp_path / "earlier", root=tree_of(BESIDE, tmp_path / "tree"))
    writer = Writer([earlier.url], rig.ledger)
    accepted = 0

    def write(seconds: float) -> None:
        """Through the earlier API, besides what is written through ours."""
        nonlocal accepted
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            accepted += 1
            ids = [f"m{n}" for n in range(accepted % 200, accepted % 200 + 5)]
            if accepted % 5:
                writer.put([memory(id, f"{id} by the earlier release, {accepted}") for id in ids])
            else:
                writer.delete(ids)
            time.sleep(0.02)

    try:
        earlier.start()
        rig.service.start_api()
        with Load(rig, seed=71, ids=200):
            write(2)
            first = {stage for stage in rig.due() if stage.endswith(b"deliver.interactive")}
            wait_until("it to work alone", lambda: not first & rig.due(), DRAIN_SECONDS)
            rig.service.start_worker()
            write(2)
            rig.freeze("replica")  # what waits for it then was set down by either worker
            write(2)
            earlier.stop_worker()
            rig.thaw("replica")
            write(2)
        took = rig.wait_drained(DRAIN_SECONDS)
        log.info(
            "%d accepted by the earlier API, %d in all, drained %.1f s later",
            accepted,
            rig.entered(),
            took,
        )
        for url in (earlier.url, rig.service.url):
            answer = httpx.post(f"{url}/v1/search", json={"query": "memory", "top_k": 50})
            assert answer.json()["behind"] == 0
    finally:
        writer.close()
        earlier.kill_api()
        earlier.kill_worker()
    rig.assert_sound()
