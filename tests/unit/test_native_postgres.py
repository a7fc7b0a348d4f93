"""The native PostgreSQL: two at once, killed without traces and without loss, frozen as a whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from deploy.native import debian
from deploy.native.postgres import PACKAGES, PostgresServer
from deploy.native.server import ServerError
from memrelay.embedded.ports import free_port, is_free
from tests.rig import wait_until
from tests.servers import cannot_be_had

type Start = Callable[[], PostgresServer]

_STARTS_ONE_AND_DIES = """
import os, pathlib, signal, sys
from deploy.native.postgres import PostgresServer
server = PostgresServer(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
server.start()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    with ExitStack() as stack:

        def started() -> PostgresServer:
            server = PostgresServer(tmp_path_factory.mktemp("postgres"), free_port())
            try:
                return stack.enter_context(server)
            except ServerError as error:
                cannot_be_had(str(error))

        yield started


def _ask(url: str, *statements: str) -> object:
    """The first value of the last one's answer."""
    with psycopg.connect(url, connect_timeout=60, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row and row[0]


def _ended(pid: int) -> bool:
    """It is gone, or a zombie that nobody has asked for its status."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def _children(pid: int) -> list[int]:
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_what_was_committed_survives_a_kill_that_leaves_no_process(start: Start) -> None:
    server, other = start(), start()
    _ask(server.url, "CREATE TABLE kept AS SELECT '[1,2]'::vector AS v")
    children = _children(server.pid)
    assert len(children) > 2

    server.kill()

    wait_until("the children to end", lambda: all(_ended(pid) for pid in children), 60)
    assert other.running
    server.start()
    assert _ask(server.url, "SELECT v::text FROM kept") == "[1,2]"
    with pytest.raises(psycopg.errors.UndefinedTable):
        _ask(other.url, "SELECT * FROM kept")


def test_a_frozen_postgres_answers_on_no_connection_until_it_is_thawed(start: Start) -> None:
    server = start()
    with psycopg.connect(server.url) as connection:
        connection.pgconn.send_query(b"SELECT 1")
        wait_until("an answer", lambda: _answered(connection), 60)
        server.freeze()
        connection.pgconn.send_query(b"SELECT 1")
        with pytest.raises(AssertionError, match="waited"):
            wait_until("an answer", lambda: _answered(connection), 0.5)
        server.thaw()
        wait_until("an answer", lambda: _answered(connection), 60)
    server.freeze()
    server.stop()
    assert not server.running


def _answered(connection: psycopg.Connection) -> bool:
    """Whether the result of what was sent is complete; takes it if so."""
    pgconn = connection.pgconn
    pgconn.flush()
    pgconn.consume_input()
    if pgconn.is_busy():
        return False
    while pgconn.get_result() is not None:
        pass
    return True


def test_the_role_of_its_url_is_an_ordinary_one(start: Start) -> None:
    server = start()
    superuser = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
    assert _ask(server.url, superuser) is False
    assert _ask(server.superuser_url, superuser) is True
    assert _ask(server.url, "SHOW server_encoding") == "UTF8"
    assert _ask(server.url, "SHOW listen_addresses") == "127.0.0.1"


def test_a_postgres_ends_when_its_parent_is_killed(start: Start, tmp_path: Path) -> None:
    start().stop()  # it can be had
    port = free_port()
    parent = subprocess.run(
        [sys.executable, "-c", _STARTS_ONE_AND_DIES, str(tmp_path), str(port)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    wait_until("it to end", lambda: is_free(port), 60)


def test_without_root_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ServerError, match=r"postgresql-17-pgvector cannot be had: .* needs root"):
        debian.find_release(PACKAGES)
