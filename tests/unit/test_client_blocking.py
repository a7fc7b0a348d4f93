"""The blocking face: same signatures, usable from threads and after a fork, and interruptible."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from memrelay import AsyncMemrelay, Memrelay
from memrelay.client import AsyncSource, Source
from memrelay.compat.beam_me_prompty import AsyncMemoryTools, MemoryTools
from tests.unit.scripted import Reply, Scripted

COUNT = Reply(200, {"count": 7, "served_by": ["redis"], "fallback": False, "behind": 0})


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted() as server:
        yield server


def _methods(kind: type) -> set[str]:
    hidden = {"close", "url", "run", "arun"}
    return {name for name in vars(kind) if not name.startswith("_")} - hidden


def test_it_has_every_method_of_the_other_face() -> None:
    assert _methods(Memrelay) == _methods(AsyncMemrelay)
    assert _methods(Source) == _methods(AsyncSource)
    assert _methods(MemoryTools) == _methods(AsyncMemoryTools)


def test_methods_keep_their_signatures_and_docstrings(server: Scripted) -> None:
    with Memrelay(server.url) as client:
        ours = list(inspect.signature(client.search).parameters)
        assert ours == list(inspect.signature(AsyncMemrelay.search).parameters)
        assert client.search.__doc__ == AsyncMemrelay.search.__doc__
    assert Memrelay.search.__doc__ == AsyncMemrelay.search.__doc__


def test_many_threads_may_share_one(server: Scripted) -> None:
    server.script(*[COUNT] * 40)
    with Memrelay(server.url) as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.count().count, range(40)))
    assert answers == [7] * 40


def test_it_serves_several_event_loops(server: Scripted) -> None:
    server.script(*[COUNT] * 3)
    with Memrelay(server.url) as client:
        for _ in range(2):
            assert asyncio.run(client.arun(AsyncMemrelay.count, user_id="ana")).count == 7
        assert client.run(AsyncMemrelay.count).count == 7


def test_it_leaves_no_thread_behind(server: Scripted) -> None:
    before = threading.active_count()
    client = Memrelay(server.url)
    client.close()
    client.close()
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="closed"):
        client.count()


_FORKS = """
import os, sys
from memrelay import Memrelay
with Memrelay(sys.argv[1]) as client:
    assert client.count().count == 7
    child = os.fork()
    if child == 0:
        os._exit(0 if client.count().count == 7 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert client.count().count == 7
"""


def test_it_works_on_both_sides_of_a_fork(server: Scripted) -> None:
    server.script(COUNT, COUNT, COUNT)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FORKS, server.url],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_ctrl_c_ends_a_call_that_waits(server: Scripted) -> None:
    with Memrelay(server.url, patience=30) as client:  # every request fails: it would try for 30 s
        timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            client.count()
        timer.join()
        server.script(COUNT)
        assert client.count().count == 7
