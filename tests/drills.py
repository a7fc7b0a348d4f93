"""What fault tests do to a rig besides killing and freezing, and what they look at."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.rig import Rig, wait_until
from tests.servers import cannot_be_had

log = logging.getLogger(__name__)
FAKETIME = "/usr/lib/*-linux-gnu/faketime/libfaketimeMT.so.1"
SEARCH_SECONDS = 30.0
CGROUPS = Path("/sys/fs/cgroup")

on_both_brokers = pytest.mark.parametrize("broker", ["redis", "rabbitmq"], indirect=True)


def wait_in_hand(rig: Rig) -> None:
    wait_until("a worker to have envelopes in hand", lambda: rig.leased() > 0, 60)


def seconds_to_end(rig: Rig, stages: set[bytes], seconds: float) -> float:
    return wait_until("what was in flight to end", lambda: not stages & rig.due(), seconds)


def freeze_in_hand(rig: Rig) -> int:
    """The process group of the worker, frozen in the middle of a batch.

    Its stores hang first: it has been told what it leased, and is at work on it when it is frozen.
    """
    group = rig.service.worker_pid
    for store in rig.stores:
        rig.freeze(store)
    wait_in_hand(rig)
    time.sleep(0.5)
    rig.service.freeze_worker()
    for store in rig.stores:
        rig.thaw(store)
    assert rig.leased() > 0
    return group


def search(rig: Rig, query: str, **body: object) -> httpx.Response:
    return httpx.post(
        f"{rig.service.url}/v1/search", json={"query": query, **body}, timeout=SEARCH_SECONDS
    )


def hits(rig: Rig, query: str, **body: object) -> list[str]:
    answer = search(rig, query, **body)
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["hits"]]


class SmallDisk:
    """A disk of its own that can be filled to the last byte."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """No byte is left for anybody else, whatever they free meanwhile."""
        with self._ballast.open("wb", buffering=0) as ballast:
            size = 1 << 20
            while size:
                try:
                    ballast.write(bytes(size))
                except OSError:
                    size //= 2

    def relieve(self) -> None:
        self._ballast.unlink()


@contextmanager
def small_disk(path: Path, mebibytes: int) -> Iterator[SmallDisk]:
    """A tmpfs at ``path``; the servers on it are killed by whoever started them, before the end."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(path)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        cannot_be_had(f"a small disk cannot be had: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        # Lazily: a server that was asked to end may still be writing its last words.
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextmanager
def memory_group(mebibytes: int) -> Iterator[Path]:
    """The directory of a control group whose processes may use so much memory together; of either version."""
    most = str(mebibytes << 20)
    parent, limits = CGROUPS, {"memory.max": most, "memory.swap.max": "0"}
    if (CGROUPS / "memory").exists():
        parent = CGROUPS / "memory"
        limits = {"memory.limit_in_bytes": most, "memory.memsw.limit_in_bytes": most}
    group = parent / f"memrelay-test-{uuid4().hex}"
    try:
        group.mkdir()
        for name, value in limits.items():
            (group / name).write_text(value)
    except OSError as error:
        cannot_be_had(f"a limit on memory cannot be had: {error}")
    try:
        yield group
    finally:
        wait_until("its processes to end", lambda: not (group / "cgroup.procs").read_text(), 60)
        group.rmdir()


def fake_clock(stamp: Path) -> dict[str, str]:
    """The environment of a process whose wall clock is what ``set_clock`` says of ``stamp``.

    Its monotonic clock is the machine's, as it is when somebody sets the time.
    """
    found = sorted(Path("/").glob(FAKETIME.removeprefix("/")))
    if not found:
        cannot_be_had("libfaketime is not installed (on Debian: apt-get install libfaketime)")
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(stamp),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def set_clock(stamp: Path, offset: str) -> None:
    """``offset`` from the machine's clock, as ``+1h``; at once in all processes of ``stamp``."""
    new = stamp.with_suffix(".new")
    new.write_text(offset + "\n")
    new.replace(stamp)
