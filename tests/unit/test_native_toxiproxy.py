"""toxiproxy, native: what its toxics do to a connection, and that they can be taken back."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.native.server import ServerError
from deploy.native.toxiproxy import PROGRAM, Proxy, ToxiproxyServer
from memrelay.embedded.ports import free_port
from tests.servers import cannot_be_had


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1024):
            self.request.sendall(data)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Before a server that echoes."""
    echo = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo)
    echo.daemon_threads = True
    threading.Thread(target=echo.serve_forever, daemon=True).start()
    server = ToxiproxyServer(tmp_path_factory.mktemp("toxiproxy"), free_port())
    try:
        server.start()
    except ServerError as error:
        cannot_be_had(str(error))
    yield server.proxy("echo", echo.server_address[1])
    server.stop()
    echo.shutdown()
    echo.server_close()


def _echoed(connection: socket.socket, seconds: float = 60) -> bytes:
    connection.settimeout(seconds)
    connection.sendall(b"hello")
    return connection.recv(1024)


def _connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), 60)


def test_latency_delays_a_connection_that_exists_until_it_is_removed(proxy: Proxy) -> None:
    with _connected(proxy) as connection:
        assert _echoed(connection) == b"hello"
        with proxy.toxic("latency", latency=1500):
            began = time.monotonic()
            assert _echoed(connection) == b"hello"
            assert time.monotonic() - began >= 1.5
        began = time.monotonic()
        assert _echoed(connection) == b"hello"
        assert time.monotonic() - began < 1.5


def test_a_black_hole_neither_answers_nor_closes(proxy: Proxy) -> None:
    with _connected(proxy) as connection:
        with proxy.toxic("timeout", timeout=0), pytest.raises(TimeoutError):
            _echoed(connection, 0.3)
        assert connection.recv(1024) == b""  # closed by the removal


def test_limited_data_and_resets_end_a_connection(proxy: Proxy) -> None:
    with proxy.toxic("limit_data", bytes=3), _connected(proxy) as connection:
        assert _echoed(connection) == b"hel"
        assert connection.recv(1024) == b""
    reset = proxy.toxic("reset_peer", timeout=0)
    with reset, _connected(proxy) as connection, pytest.raises(ConnectionError):
        _echoed(connection)


def test_a_disabled_proxy_refuses_and_an_enabled_one_serves(proxy: Proxy) -> None:
    proxy.disable()
    with pytest.raises(ConnectionRefusedError):
        _connected(proxy).close()
    proxy.enable()
    with _connected(proxy) as connection:
        assert _echoed(connection) == b"hello"


def test_what_toxiproxy_refuses_is_an_error(proxy: Proxy) -> None:
    with pytest.raises(ServerError, match="toxics"):
        proxy.remove("nothing")


def test_without_go_and_binary_the_reason_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerError, match="Go is not installed"):
        PROGRAM.find()
