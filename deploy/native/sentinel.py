"""A Redis Sentinel: it watches a master and makes one of its replicas the master when that is gone."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import ClassVar

from deploy.native.redis import RedisServer
from deploy.native.server import Server, ServerError
from memrelay.embedded.redis import find_redis_server
from memrelay.errors import ConfigError

MASTER = "journal"
_ANSWER_SECONDS = 1.0
_DOWN_MS = 1000
_FAILOVER_MS = 20_000


class SentinelServer(Server):
    """One that decides alone, and answers who has ``password`` if there is one.

    It writes what it learns into its configuration, so a restart knows it.
    """

    name: ClassVar[str] = "sentinel"
    start_seconds: ClassVar[float] = 120
    stop_seconds: ClassVar[float] = 30

    def __init__(
        self, directory: Path, port: int, master: RedisServer, *, password: str = ""
    ) -> None:
        super().__init__(directory)
        self.port = port
        self.password = password
        self._master_port = master.port

    @property
    def url(self) -> str:
        """For the settings: of database 0."""
        return self.database(0)

    def database(self, number: int) -> str:
        """The address of another one."""
        secret = f"?sentinel_password={self.password}" if self.password else ""
        return f"redis+sentinel://127.0.0.1:{self.port}/{MASTER}/{number}{secret}"

    def _ports(self) -> list[int]:
        return [self.port]

    def _command(self) -> list[str]:
        try:
            server = find_redis_server()
        except ConfigError as error:
            raise ServerError(str(error)) from None
        return [str(server), str(self._configuration()), "--sentinel"]

    def _configuration(self) -> Path:
        path = self.directory / "sentinel.conf"
        if path.exists():
            return path
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f'dir "{self.directory}"',
            f"sentinel monitor {MASTER} 127.0.0.1 {self._master_port} 1",
            f"sentinel down-after-milliseconds {MASTER} {_DOWN_MS}",
            f"sentinel failover-timeout {MASTER} {_FAILOVER_MS}",
        ]
        if self.password:
            lines.append(f"requirepass {self.password}")
        path.write_text("\n".join(lines) + "\n")
        return path

    def _settings(self) -> dict[str, str]:
        return {}

    def _answers(self, pid: int) -> bool:
        """Its port was free: nobody else answers there. It may ask for the password first."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), _ANSWER_SECONDS) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) in (b"+PONG\r\n", b"-NOAUTH")
        except OSError:
            return False
