"""PostgreSQL as a store of a running memrelay: killed and frozen under load it converges; verify says so."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.native.postgres import PostgresServer
from deploy.native.redis import RedisServer
from memrelay import exits
from tests.drills import hits, search
from tests.rig import Load, Rig, memory, wait_until

log = logging.getLogger(__name__)
DRAIN_SECONDS = 120.0


@pytest.fixture
def rig(
    make_rig: Callable[..., Rig],
    redis_server_factory: Callable[..., RedisServer],
    postgres_server_factory: Callable[[], PostgresServer],
) -> Rig:
    """Redis is the primary, PostgreSQL the second copy and the one that knows keywords."""
    stores = {"redis": redis_server_factory(), "pgvector": postgres_server_factory()}
    started: Rig = make_rig(stores=stores).start()
    return started


def _assert_verified(rig: Rig) -> None:
    """``memrelay verify`` reads every record of both stores, and says that all is sound."""
    done = subprocess.run(
        [sys.executable, "-m", "memrelay.cli", "verify", "--json"],
        env=os.environ | rig.service.env,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exits.OK, done.stdout + done.stderr
    assert "pgvector" in done.stdout


def _found(rig: Rig) -> list[str]:
    return hits(rig, "a memory with a number", mode="semantic", top_k=200)


def test_what_is_written_while_postgres_is_dead_is_in_it_when_it_is_back(rig: Rig) -> None:
    writer = rig.writer()
    writer.put([memory(f"m{n}", f"a memory with a number: {n}") for n in range(100)])
    rig.wait_drained(DRAIN_SECONDS)
    answer = search(rig, "number 7", mode="hybrid").json()
    assert set(answer["served_by"]) == {"redis", "pgvector"}
    rig.kill("pgvector")
    writer.put([memory(f"m{n}", f"a memory with a number: {n}") for n in range(100, 200)])
    writer.delete([f"m{n}" for n in range(50)])
    gone = {f"m{n}" for n in range(50)}
    assert not gone & set(_found(rig))
    wait_until("what was written to be found", lambda: len(_found(rig)) == 150, DRAIN_SECONDS)
    rig.revive("pgvector")
    rig.wait_drained(DRAIN_SECONDS)
    rig.assert_sound()
    _assert_verified(rig)


def test_postgres_killed_and_frozen_under_load_loses_nothing_and_delays_nobody(rig: Rig) -> None:
    with Load(rig, seed=51) as load:
        time.sleep(1)
        for _ in range(3):
            rig.kill("pgvector")
            time.sleep(1)
            rig.revive("pgvector")
            time.sleep(1)
        rig.freeze("pgvector")
        time.sleep(3)
        rig.thaw("pgvector")
    took = rig.wait_drained(DRAIN_SECONDS)
    log.info("%d writes, drained after %.1f s", len(rig.ledger.lines), took)
    assert not load.statuses
    assert not rig.dead_letters()
    rig.assert_sound()
    _assert_verified(rig)
