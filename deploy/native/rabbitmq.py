"""RabbitMQ 4 of Debian, a single node."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import ClassVar, Literal

from deploy.native.debian import DATA, chrooted, find_release
from deploy.native.server import Server, ServerError
from memrelay.embedded.ports import free_ports

PACKAGES = ("rabbitmq-server",)
_PROGRAMS = "/usr/lib/rabbitmq/bin"
_NODE = "memrelay@localhost"
_TMP = "/tmp"  # nosec B108 # inside the chroot
# epmd, the directory of nodes that Erlang needs, is the node's own and dies with it.
_SERVE = f"setpriv --pdeathsig KILL epmd & exec {_PROGRAMS}/rabbitmq-server"
_ANSWER_SECONDS = 1.0
_CTL_SECONDS = 60.0
_CHILDREN_SECONDS = 60.0
type Alarm = Literal["memory", "disk"]
_ALARMS: dict[Alarm, tuple[list[str], list[str]]] = {
    "memory": (
        ["set_vm_memory_high_watermark", "absolute", "1"],
        ["set_vm_memory_high_watermark", "0.6"],
    ),
    "disk": (["set_disk_free_limit", "1000000GB"], ["set_disk_free_limit", "50MB"]),
}
_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME = b"\x01"  # the first byte of connection.start


class RabbitMQServer(Server):
    """Durable queues and what is in them stay over a ``kill``. All ports listen on loopback alone.

    The user is ``guest``. ``url`` names the root virtual host.
    """

    name: ClassVar[str] = "rabbitmq"
    start_seconds: ClassVar[float] = 120  # 3 to 4 on an idle machine, 2 to 3 for a restart
    stop_seconds: ClassVar[float] = 60

    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(directory)
        self.port = port
        self._between_nodes: list[int] = []

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def stop(self) -> None:
        super().stop()
        self._wait_for_children()

    def kill(self, sig: signal.Signals = signal.SIGKILL) -> None:
        super().kill(sig)
        self._wait_for_children()

    def raise_alarm(self, of: Alarm = "memory") -> None:
        """As if that had run out: whoever publishes is blocked, until ``lift_alarm`` or a restart."""
        self._ctl(*_ALARMS[of][0])

    def lift_alarm(self, of: Alarm = "memory") -> None:
        self._ctl(*_ALARMS[of][1])

    def _ports(self) -> list[int]:
        return [self.port]

    def _command(self) -> list[str]:
        return chrooted(find_release(PACKAGES), self.directory, _SERVE)

    def _settings(self) -> dict[str, str]:
        self._between_nodes = free_ports(2)
        return self._node_settings() | {
            "RUNNING_UNDER_SYSTEMD": "1",  # exec, so that the process we know is the node
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_BASE": DATA,
            "RABBITMQ_MNESIA_BASE": f"{DATA}/data",
            "RABBITMQ_CONFIG_FILE": f"{DATA}/rabbitmq",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{DATA}/enabled_plugins",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG": "warning",
            "RABBITMQ_SERVER_START_ARGS": f"+S {min(4, os.cpu_count() or 1)}",
            "ERL_AFLAGS": "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_CRASH_DUMP_BYTES": "0",
        }

    def _node_settings(self) -> dict[str, str]:
        """What the node and its tools have to agree on; the cookie is in HOME."""
        dist, epmd = self._between_nodes
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": DATA,
            "TMPDIR": _TMP,
            "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": _NODE,
            "RABBITMQ_DIST_PORT": str(dist),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(epmd),
        }

    def _answers(self, pid: int) -> bool:  # its port was free: nobody else answers there
        """It greets: RabbitMQ listens last of all, when its queues are recovered."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), _ANSWER_SECONDS) as connection:
                connection.sendall(_PROTOCOL_HEADER)
                return connection.recv(1) == _METHOD_FRAME
        except OSError:
            return False

    def _wait_for_children(self) -> None:
        """They end by themselves, moments after the node; until then they hold the lock on its data."""
        deadline = time.monotonic() + _CHILDREN_SECONDS
        while self.directory.exists():
            try:
                with self._directory_lock():
                    return
            except ServerError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.01)

    def _ctl(self, *words: str) -> None:
        """rabbitmqctl, 1 to 2 seconds; ServerError when it refuses or the node does not answer."""
        script = f"exec {_PROGRAMS}/rabbitmqctl {' '.join(words)}"
        done = subprocess.run(
            chrooted(find_release(PACKAGES), self.directory, script),
            env=self._node_settings(),
            capture_output=True,
            text=True,
            check=False,
            timeout=_CTL_SECONDS,
        )
        if done.returncode != 0:
            raise ServerError(f"rabbitmqctl {words[0]}: {(done.stdout + done.stderr)[-2000:]}")


if __name__ == "__main__":
    find_release(PACKAGES)
