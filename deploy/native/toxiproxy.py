"""toxiproxy: a TCP proxy that delays, cuts, slices and swallows what passes through it, on request."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from deploy.native.golang import GoProgram
from deploy.native.server import Server, ServerError
from memrelay.embedded.ports import free_port

VERSION = "2.12.0"
PROGRAM = GoProgram(
    "Toxiproxy", "github.com/Shopify/toxiproxy/v2/cmd/server", VERSION, takes="about 20 seconds"
)
_ANSWER_SECONDS = 30.0  # what a slow toxic holds is passed on before it is removed

Kind = Literal[
    "latency", "timeout", "reset_peer", "slicer", "limit_data", "bandwidth", "slow_close"
]
Stream = Literal["upstream", "downstream"]
"""From the client to the server, and back."""


class ToxiproxyServer(Server):
    """Its proxies are gone when it stops. Everything listens on loopback."""

    name: ClassVar[str] = "toxiproxy"
    start_seconds: ClassVar[float] = 30
    stop_seconds: ClassVar[float] = 10

    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(directory)
        self.port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def proxy(self, name: str, upstream_port: int) -> Proxy:
        """A new proxy before a port on loopback; ``name`` must be new to this server."""
        port = free_port()
        body = {
            "name": name,
            "listen": f"127.0.0.1:{port}",
            "upstream": f"127.0.0.1:{upstream_port}",
            "enabled": True,
        }
        _request(self.port, "POST", "/proxies", body)
        return Proxy(self.port, name, port)

    def _ports(self) -> list[int]:
        return [self.port]

    def _command(self) -> list[str]:
        return [str(PROGRAM.find()), "-host", "127.0.0.1", "-port", str(self.port)]

    def _settings(self) -> dict[str, str]:
        return {"LOG_LEVEL": "warn"}

    def _answers(self, pid: int) -> bool:  # its port was free: nobody else answers there
        try:
            _request(self.port, "GET", "/version")
        except (OSError, http.client.HTTPException):
            return False
        return True


@dataclass(frozen=True, slots=True)
class Proxy:
    """``port`` is where clients connect to instead of the upstream's."""

    server_port: int
    name: str
    port: int

    @contextmanager
    def toxic(
        self, kind: Kind, *, stream: Stream = "downstream", **attributes: int
    ) -> Iterator[None]:
        """It is at work, on connections that exist and on new ones, until the end of the ``with``."""
        toxic = self.add(kind, stream=stream, **attributes)
        try:
            yield
        finally:
            self.remove(toxic)

    def add(self, kind: Kind, *, stream: Stream = "downstream", **attributes: int) -> str:
        """The new toxic's name. ``attributes`` are in milliseconds, bytes and kB/s, as toxiproxy says."""
        name = f"{kind}_{stream}"
        body = {"name": name, "type": kind, "stream": stream, "attributes": attributes}
        _request(self.server_port, "POST", f"/proxies/{self.name}/toxics", body)
        return name

    def remove(self, toxic: str) -> None:
        """Connections that a ``timeout`` toxic held are closed by its removal."""
        _request(self.server_port, "DELETE", f"/proxies/{self.name}/toxics/{toxic}")

    def disable(self) -> None:
        """As if nobody listened: what is connected is cut, new connections are refused."""
        self._enable(False)

    def enable(self) -> None:
        self._enable(True)

    def _enable(self, enabled: bool) -> None:
        _request(self.server_port, "POST", f"/proxies/{self.name}", {"enabled": enabled})


def _request(port: int, method: str, path: str, body: Any = None) -> None:
    """Raises ServerError for an answer that is no success, OSError for none."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    try:
        client.request(method, path, None if body is None else json.dumps(body))
        answer = client.getresponse()
        said = answer.read()
    finally:
        client.close()
    if answer.status >= http.HTTPStatus.BAD_REQUEST:
        raise ServerError(f"toxiproxy, {method} {path}: {said.decode(errors='replace')}")


if __name__ == "__main__":
    PROGRAM.find()
