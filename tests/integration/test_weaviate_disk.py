"""Weaviate without room: an apply says so of each memory, and goes on by itself when there is room."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from backends.weaviate import create
from backends.weaviate.driver import WeaviateDriver
from deploy.native.server import ServerError
from deploy.native.weaviate import WeaviateServer
from memrelay.embedded.ports import free_ports
from memrelay.errors import Transient
from memrelay.testing.conformance.harness import apply_all, assert_holds
from memrelay.testing.samples import SPACE, upserts
from memrelay.types import Delete, Op, Scope
from tests.servers import cannot_be_had

SCOPE = Scope(namespace="acme", source="default", space=SPACE)
DISK_MIB = 100
FULL = 0.95
"""Weaviate stops at 0.9 of the disk."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 100 MiB."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@pytest.fixture
async def driver(disk: Path) -> AsyncIterator[WeaviateDriver]:
    """On a server that is read-only above 90 %, as Weaviate is by default."""
    server = WeaviateServer(disk / "server", *free_ports(2), readonly_percentage=90)
    try:
        server.start()
    except ServerError as error:
        cannot_be_had(str(error))
    driver = create("wv", {"url": server.url, "grpc_port": server.grpc_port})
    await driver.open()
    await driver.ensure(SCOPE)
    yield driver
    await driver.close()
    server.kill()


async def test_a_full_disk_fails_memories_for_now_and_applying_goes_on_when_there_is_room(
    disk: Path, driver: WeaviateDriver
) -> None:
    old: list[Op] = [*upserts(40), Delete("gone", 41)]
    new: list[Op] = [*upserts(30, first_version=100), Delete("m00035", 200)]
    model = await apply_all(driver, SCOPE, old)
    ballast = _fill(disk)
    await _until(driver, old, "failed")
    for ops in (new, old, new[-1:]):
        await _assert_refused_for_now(driver, ops)
    with pytest.raises(Transient):
        await driver.purge(SCOPE)
    with pytest.raises(Transient):
        await driver.collect(SCOPE, before=100)
    await driver.ping()
    await assert_holds(driver, SCOPE, model)
    ballast.unlink()
    await _until(driver, new, "applied")
    model.apply(new)
    await assert_holds(driver, SCOPE, model)
    assert await driver.collect(SCOPE, before=100) == 1


async def _assert_refused_for_now(driver: WeaviateDriver, ops: Sequence[Op]) -> None:
    outcomes = await driver.apply(SCOPE, ops)
    assert outcomes.keys() == {op.id for op in ops}
    for outcome in outcomes.values():
        assert outcome.status == "failed"
        assert isinstance(outcome.error, Transient)


def _fill(disk: Path) -> Path:
    usage = shutil.disk_usage(disk)
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, int(FULL * usage.total) - usage.used)
    return ballast


async def _until(driver: WeaviateDriver, ops: Sequence[Op], status: str) -> None:
    """Apply until each outcome is ``status``: Weaviate looks at its disk twice a second."""
    for _ in range(600):
        outcomes = await driver.apply(SCOPE, ops)
        if {outcome.status for outcome in outcomes.values()} == {status}:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"not {status} after 60 s")
