"""The native Redis: what it promises to the journal, and how it can be made to fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from redis import exceptions as redis_errors
from redis.backoff import NoBackoff
from redis.retry import Retry

from deploy.native.redis import RedisServer
from deploy.native.server import ServerError
from memrelay.embedded.ports import free_port, is_free

type RedisFactory = Callable[..., RedisServer]

_STARTS_ONE_AND_DIES = """
import os, pathlib, signal, sys
from deploy.native.redis import RedisServer
server = RedisServer(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
server.start()
os.kill(os.getpid(), signal.SIGKILL)
"""


def _client(server: RedisServer, timeout: float = 60) -> Redis:
    no_retry = Retry(NoBackoff(), 0)
    return Redis(host="127.0.0.1", port=server.port, socket_timeout=timeout, retry=no_retry)


def test_a_started_redis_is_durable_and_knows_vector_sets(
    redis_server_factory: RedisFactory,
) -> None:
    with _client(redis_server_factory(appendfsync="always")) as client:
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("appendfsync") == {"appendfsync": "always"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
        assert client.execute_command("VADD", "v", "VALUES", 2, 1.0, 0.0, "a") == 1


def test_what_was_acknowledged_survives_a_kill(redis_server_factory: RedisFactory) -> None:
    server = redis_server_factory()
    with _client(server) as client:
        client.set("kept", "yes")
    killed = server.pid
    server.kill()
    assert not server.running
    assert is_free(server.port)

    server.start()

    assert server.pid != killed
    with _client(server) as client:
        assert client.get("kept") == b"yes"


def test_a_frozen_redis_stays_silent_until_thawed(redis_server_factory: RedisFactory) -> None:
    server = redis_server_factory()
    server.freeze()
    with _client(server, timeout=0.2) as client, pytest.raises(redis_errors.TimeoutError):
        client.ping()

    server.thaw()

    with _client(server) as client:
        assert client.ping()


def test_a_frozen_redis_can_be_stopped_in_order(redis_server_factory: RedisFactory) -> None:
    server = redis_server_factory()
    server.freeze()
    server.stop()
    assert not server.running
    assert "ready to exit, bye bye" in server.log.read_text()


def test_a_taken_port_is_one_clear_line(redis_server_factory: RedisFactory, tmp_path: Path) -> None:
    taken = redis_server_factory().port
    with pytest.raises(ServerError, match=f"^redis cannot start: port {taken} is taken$"):
        RedisServer(tmp_path, taken).start()


def test_two_servers_never_share_a_directory(redis_server_factory: RedisFactory) -> None:
    first = redis_server_factory()
    with pytest.raises(ServerError, match="another redis runs in"):
        RedisServer(first.directory, free_port()).start()


def test_a_failed_start_shows_the_end_of_the_log(tmp_path: Path) -> None:
    manifest = tmp_path / "appendonlydir" / "appendonly.aof.manifest"
    manifest.parent.mkdir()
    manifest.write_text("not a manifest\n")
    server = RedisServer(tmp_path, free_port())
    with pytest.raises(ServerError, match=r"exited with status 1(?s:.*)manifest"):
        server.start()
    assert not server.running


def test_a_redis_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    port = free_port()
    parent = subprocess.run(
        [sys.executable, "-c", _STARTS_ONE_AND_DIES, str(tmp_path), str(port)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    deadline = time.monotonic() + 60
    while not is_free(port) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert is_free(port)


def test_a_redis_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, free_port())
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()
    try:
        with _client(server) as client:
            assert all(client.ping() for _ in range(20))
        assert os.getsid(server.pid) != os.getsid(0)
    finally:
        server.stop()
