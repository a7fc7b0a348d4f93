"""The native RabbitMQ: two at once, killed without traces and without loss; and the release it comes from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from kombu import Connection, Queue

from deploy.native import debian
from deploy.native.rabbitmq import PACKAGES, RabbitMQServer
from deploy.native.server import ServerError
from memrelay.embedded.ports import free_port, is_free
from tests.rig import wait_until
from tests.servers import cannot_be_had

type Start = Callable[[], RabbitMQServer]

_KEPT = Queue("kept", durable=True, queue_arguments={"x-queue-type": "quorum"})
_STARTS_ONE_AND_DIES = """
import os, pathlib, signal, sys
from deploy.native.rabbitmq import RabbitMQServer
server = RabbitMQServer(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
server.start()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    with ExitStack() as stack:

        def started() -> RabbitMQServer:
            server = RabbitMQServer(tmp_path_factory.mktemp("rabbitmq"), free_port())
            try:
                return stack.enter_context(server)
            except ServerError as error:
                cannot_be_had(str(error))

        yield started


def _publish(server: RabbitMQServer) -> None:
    options = {"confirm_publish": True}
    with Connection(server.url, transport_options=options) as connection:
        _KEPT(connection.default_channel).declare()
        connection.Producer().publish("kept", exchange="", routing_key="kept", confirm_timeout=60)


def _get(server: RabbitMQServer) -> object:
    with Connection(server.url, transport_options={"read_timeout": 60}) as connection:
        message = _KEPT(connection.default_channel).get(no_ack=True)
        return message and message.payload


def _descendants(pid: int) -> list[int]:
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return children + [below for child in children for below in _descendants(child)]


def _ended(pid: int) -> bool:
    """It is gone, or a zombie that nobody has asked for its status."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.slow
def test_what_rabbitmq_confirmed_survives_a_kill_that_leaves_no_process(start: Start) -> None:
    server, other = start(), start()
    _publish(server)
    server.restart()  # a queue that is seconds old may be forgotten by a kill
    children = _descendants(server.pid)
    assert len(children) > 2

    server.kill()

    # Erlang's helper for child processes holds no lock on the data: it ends as soon as it is scheduled.
    wait_until("the children to end", lambda: all(_ended(pid) for pid in children), 60)
    assert other.running
    server.start()
    assert _get(server) == "kept"
    with pytest.raises(other_errors(other)):
        _get(other)


def other_errors(server: RabbitMQServer) -> tuple[type[Exception], ...]:
    with Connection(server.url) as connection:
        errors: tuple[type[Exception], ...] = connection.channel_errors
        return errors


@pytest.mark.slow
def test_an_alarm_can_be_raised_and_a_frozen_rabbitmq_stopped_in_order(start: Start) -> None:
    server = start()
    server.raise_alarm()
    server.lift_alarm()
    for told in ("memory resource limit alarm set", "memory resource limit alarm cleared"):
        wait_until("it to say so", lambda told=told: told in server.log.read_text(), 60)
    server.freeze()
    server.stop()
    assert not server.running


@pytest.mark.slow
def test_a_rabbitmq_ends_when_its_parent_is_killed(start: Start, tmp_path: Path) -> None:
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
    with pytest.raises(ServerError, match=r"rabbitmq-server cannot be had: .* needs root"):
        debian.find_release(PACKAGES)


def test_without_debootstrap_the_reason_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerError, match="debootstrap is not installed"):
        debian.find_release(PACKAGES)


def test_a_failed_build_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, script in {
        "unshare": 'shift; exec "$@"',
        "debootstrap": 'mkdir -p "$4"; echo "no route to the mirror"; exit 1',
    }.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ServerError, match=r"could not be had(?s:.*)no route to the mirror"):
        debian.find_release(PACKAGES)
    root = debian.cached_release(PACKAGES)
    assert [path.name for path in root.parent.iterdir()] == [f"{root.name}.lock"]
