"""PostgreSQL 17 with pgvector, of Debian."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from deploy.native.debian import DATA, chrooted, find_release
from deploy.native.server import Server, ServerError, wait_until_stopped

PACKAGES = ("postgresql-17", "postgresql-17-pgvector")
SUPERUSER = "postgres"
_PROGRAMS = "/usr/lib/postgresql/17/bin"
_CLUSTER = f"{DATA}/data"
_NAME = "memrelay"
_ANSWER_SECONDS = 1.0
_CHILDREN_SECONDS = 60.0
_STARTUP = 3 << 16  # version 3.0 of the protocol
_AUTHENTICATION = b"R"  # the first byte of what follows when it takes clients

# PostgreSQL refuses to run as root. A leash does not survive a change of user: setpriv ties it anew.
_AS_POSTGRES = "setpriv --reuid postgres --regid postgres --clear-groups --pdeathsig KILL"
# All or nothing: the cluster appears by a rename, with the role and its database in it.
_INIT = f"""
chown postgres {DATA}
if [ ! -e {_CLUSTER} ]; then
    rm -rf {_CLUSTER}.new
    {_AS_POSTGRES} {_PROGRAMS}/initdb --pgdata {_CLUSTER}.new --username {SUPERUSER} --auth trust \\
        --encoding UTF8 --locale C --no-sync || exit 1
    while read -r database statement; do
        echo "$statement" | \\
            {_AS_POSTGRES} {_PROGRAMS}/postgres --single -D {_CLUSTER}.new "$database" || exit 1
    done <<END
postgres CREATE ROLE {_NAME} LOGIN
postgres CREATE DATABASE {_NAME} OWNER {_NAME}
{_NAME} CREATE EXTENSION vector
END
    mv {_CLUSTER}.new {_CLUSTER}
fi
"""


class PostgresServer(Server):
    """What was committed stays over a ``kill``. It listens on loopback alone and asks for no password.

    ``url`` names the database ``memrelay`` and the ordinary role that owns it; pgvector is in it.
    """

    name: ClassVar[str] = "pgvector"
    start_seconds: ClassVar[float] = 120  # 2 to 3 for a new one on an idle machine
    stop_seconds: ClassVar[float] = 30
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # SIGTERM would wait for clients to go

    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(directory)
        self.port = port

    @property
    def url(self) -> str:
        return f"postgresql://{_NAME}@127.0.0.1:{self.port}/{_NAME}"

    @property
    def superuser_url(self) -> str:
        """The same database as ``SUPERUSER``, whom no policy binds."""
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{_NAME}"

    def stop(self) -> None:
        if self.running:
            self.thaw()
        super().stop()
        self._wait_for_children()

    def kill(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """The processes that serve connections end with it."""
        children = self._children() if self.running else []
        super().kill(sig)
        _signal(children, signal.SIGKILL)
        self._wait_for_children()

    def freeze(self) -> None:
        super().freeze()  # first, so that it forks no more of them
        children = self._children()
        _signal(children, signal.SIGSTOP)
        wait_until_stopped(children)

    def thaw(self) -> None:
        _signal(self._children(), signal.SIGCONT)
        super().thaw()

    def _ports(self) -> list[int]:
        return [self.port]

    def _command(self) -> list[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "dynamic_shared_memory_type": "mmap",  # in its directory, so that a kill leaves nothing
        }
        words = " ".join(f"-c {name}='{value}'" for name, value in options.items())
        serve = f"exec {_AS_POSTGRES} {_PROGRAMS}/postgres -D {_CLUSTER} {words}"
        return chrooted(find_release(PACKAGES), self.directory, f"{_INIT}{serve}")

    def _settings(self) -> dict[str, str]:
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": DATA, "LANG": "C.UTF-8"}

    def _answers(self, pid: int) -> bool:  # its port was free: nobody else answers there
        """It lets the role in: while it recovers it answers with an error."""
        words = b"\0".join([b"user", _NAME.encode(), b"database", _NAME.encode(), b"", b""])
        try:
            with socket.create_connection(("127.0.0.1", self.port), _ANSWER_SECONDS) as connection:
                connection.sendall(struct.pack("!ii", 8 + len(words), _STARTUP) + words)
                return connection.recv(1) == _AUTHENTICATION
        except OSError:
            return False

    def _children(self) -> list[int]:
        """All of its processes are its own children, each in a session of its own."""
        with suppress(OSError):
            path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
            return [int(child) for child in path.read_text().split()]
        return []

    def _wait_for_children(self) -> None:
        """Those that end by themselves do it moments later; until then they hold the lock on its data."""
        deadline = time.monotonic() + _CHILDREN_SECONDS
        while self.directory.exists():
            try:
                with self._directory_lock():
                    return
            except ServerError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.01)


def _signal(processes: list[int], sig: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, sig)


if __name__ == "__main__":
    find_release(PACKAGES)
