"""A loop in a thread of its own: opened once, closed when its work has ended, made anew afterwards."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from memrelay.compat.memory_driver.room import Room


class Guest:
    """Counts; fails to open while ``fails`` is set."""

    fails = False
    opened = 0
    closed = 0

    async def open(self) -> None:
        if Guest.fails:
            raise ConnectionError("not now")
        Guest.opened += 1

    async def close(self) -> None:
        Guest.closed += 1

    async def work(self, seconds: float = 0.0) -> int:
        await asyncio.sleep(seconds)
        return threading.get_ident()


@pytest.fixture
def room() -> Iterator[Room[Guest]]:
    Guest.fails, Guest.opened, Guest.closed = False, 0, 0
    before = threading.active_count()
    room = Room(Guest)
    yield room
    room.close()
    assert threading.active_count() == before


def test_all_work_is_done_on_one_thread(room: Room[Guest]) -> None:
    with ThreadPoolExecutor(8) as pool:
        threads = set(pool.map(lambda _: room.run(Guest.work), range(40)))
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    assert Guest.opened == 1


def test_what_fails_to_open_is_opened_by_the_next_call(room: Room[Guest]) -> None:
    Guest.fails = True
    for _ in range(2):
        with pytest.raises(ConnectionError):
            room.run(Guest.work)
    Guest.fails = False
    assert room.run(Guest.work)
    assert Guest.opened == 1


def test_closing_waits_for_work_that_is_under_way(room: Room[Guest]) -> None:
    working = threading.Event()

    async def work(guest: Guest) -> int:
        working.set()
        return await guest.work(0.3)

    with ThreadPoolExecutor(8) as pool:
        results = [pool.submit(room.run, work) for _ in range(8)]
        assert working.wait(10)
        room.close()
        assert Guest.closed == 1
        assert all(result.result(timeout=10) for result in results)


def test_it_opens_again_after_it_was_closed(room: Room[Guest]) -> None:
    room.close()
    room.run(Guest.work)
    room.close()
    room.close()
    assert room.run(Guest.work)
    assert (Guest.opened, Guest.closed) == (2, 1)


_FORKS = """
import os, threading, time
from memrelay.compat.memory_driver.forks import at_work

inside, ended = threading.Event(), []

def work():
    with at_work:
        with at_work:
            inside.set()
            time.sleep(0.3)
        ended.append(True)

thread = threading.Thread(target=work)
thread.start()
inside.wait()
child = os.fork()
with at_work:
    pass
if child == 0:
    os._exit(0 if ended else 1)
assert os.waitpid(child, 0)[1] == 0
thread.join()
with at_work:
    child = os.fork()
    if child == 0:
        with at_work:
            os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_fork_waits_for_work_that_is_under_way() -> None:
    """But not for the work of the thread that forks."""
    path = str(Path(__file__).parent.parent.parent)
    command = [sys.executable, "-W", "ignore", "-c", _FORKS]
    subprocess.run(command, check=True, timeout=30, env={"PYTHONPATH": path})
