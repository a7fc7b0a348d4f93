"""weaviate-server, built by the Go toolchain."""

from __future__ import annotations

import http.client
import os
import secrets
import socket
from pathlib import Path
from typing import ClassVar

from deploy.native.golang import GoProgram
from deploy.native.server import Server
from memrelay.embedded.ports import free_ports

VERSION = "1.39.0"
PROGRAM = GoProgram(
    "Weaviate",
    "github.com/weaviate/weaviate/cmd/weaviate-server",
    VERSION,
    takes="about 5 minutes",
)
_ANSWER_SECONDS = 1.0


class WeaviateServer(Server):
    """A single node. REST, gossip and raft listen on loopback.

    Weaviate has no setting that binds its gRPC port and its cluster data port to one address: both
    listen on all. The data port asks for a random password; the gRPC port is open to the network
    that the machine is in, so this is for machines behind a firewall, and for tests.
    """

    name: ClassVar[str] = "weaviate"
    start_seconds: ClassVar[float] = 120
    stop_seconds: ClassVar[float] = 30

    def __init__(
        self, directory: Path, port: int, grpc_port: int, *, readonly_percentage: int = 0
    ) -> None:
        """Writes are refused above ``readonly_percentage`` of the disk, or never at 0: a laptop's disk
        is often more than 90 % full."""
        super().__init__(directory)
        self.port = port
        self.grpc_port = grpc_port
        self._readonly_percentage = readonly_percentage

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _ports(self) -> list[int]:
        return [self.port, self.grpc_port]

    def _command(self) -> list[str]:
        options = ["--scheme", "http", "--host", "127.0.0.1", "--port", str(self.port)]
        return [str(PROGRAM.find()), *options]

    def _settings(self) -> dict[str, str]:
        gossip, data, raft, raft_rpc = free_ports(4)
        return {
            "PERSISTENCE_DATA_PATH": str(self.directory / "data"),
            "DEFAULT_VECTORIZER_MODULE": "none",
            "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "true",
            "AUTOSCHEMA_ENABLED": "false",
            "DISABLE_TELEMETRY": "true",
            "GO_PROFILING_DISABLE": "true",
            "LOG_LEVEL": "error",
            "GOMAXPROCS": str(min(4, os.cpu_count() or 1)),
            "DISK_USE_READONLY_PERCENTAGE": str(self._readonly_percentage),
            "GRPC_PORT": str(self.grpc_port),
            "CLUSTER_HOSTNAME": "node1",
            "CLUSTER_BIND_ADDR": "127.0.0.1",
            "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
            "CLUSTER_GOSSIP_BIND_PORT": str(gossip),
            "CLUSTER_DATA_BIND_PORT": str(data),
            "CLUSTER_BASIC_AUTH_USERNAME": "memrelay",
            "CLUSTER_BASIC_AUTH_PASSWORD": secrets.token_urlsafe(),
            "RAFT_PORT": str(raft),
            "RAFT_INTERNAL_RPC_PORT": str(raft_rpc),
            "RAFT_TIMEOUTS_MULTIPLIER": "1",  # one node elects itself in 1 s instead of 5 to 10
            "API_BASED_MODULES_DISABLED": "true",
        }

    def _answers(self, pid: int) -> bool:  # its ports were free: nobody else answers there
        """REST says ready, and gRPC accepts connections."""
        rest = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_SECONDS)
        try:
            rest.request("GET", "/v1/.well-known/ready")
            if rest.getresponse().status != http.HTTPStatus.OK:
                return False
            socket.create_connection(("127.0.0.1", self.grpc_port), _ANSWER_SECONDS).close()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            rest.close()
        return True


if __name__ == "__main__":
    PROGRAM.find()
