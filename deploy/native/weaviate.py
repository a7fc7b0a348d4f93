"""weaviate-server, built once by the Go toolchain and kept in the user's cache."""

from __future__ import annotations

import fcntl
import http.client
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

from deploy.native.server import Server, ServerError
from memrelay.embedded.ports import free_ports

VERSION = "1.39.0"
_MODULE = f"github.com/weaviate/weaviate/cmd/weaviate-server@v{VERSION}"
_ANSWER_SECONDS = 1.0


def cached_binary() -> Path:
    """Where the binary is, or will be once it is built."""
    return Path.home() / f".cache/memrelay/native/weaviate-{VERSION}/bin/weaviate-server"


def find_weaviate_server() -> Path:
    """The cached binary, built first when it is missing (minutes); ServerError when it cannot be."""
    binary = cached_binary()
    if binary.exists():
        return binary
    go = shutil.which("go")
    if go is None:
        raise ServerError("no Weaviate: without Docker it is built here, and Go is not installed")
    binary.parent.mkdir(parents=True, exist_ok=True)
    with (binary.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever waited here finds it built
        if not binary.exists():
            _build(go, binary)
    return binary


def _build(go: str, binary: Path) -> None:
    """All or nothing: the binary appears by a rename, on the same file system."""
    sys.stderr.write(f"building Weaviate {VERSION}, once: about 5 minutes on 2 cores\n")
    with tempfile.TemporaryDirectory(dir=binary.parent) as scratch:
        built = subprocess.run(
            [go, "install", _MODULE],
            cwd=scratch,
            env=os.environ | {"GOBIN": scratch},
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode != 0:
            raise ServerError(f"Weaviate {VERSION} could not be built:\n{built.stderr[-2000:]}")
        (Path(scratch) / binary.name).replace(binary)


class WeaviateServer(Server):
    """A single node. REST, gossip and raft listen on loopback.

    Weaviate has no setting that binds its gRPC port and its cluster data port to one address: both
    listen on all. The data port asks for a random password; the gRPC port is open to the network
    that the machine is in, so this is for machines behind a firewall, and for tests.
    """

    name: ClassVar[str] = "weaviate"
    start_seconds: ClassVar[float] = 120
    stop_seconds: ClassVar[float] = 30

    def __init__(self, directory: Path, port: int, grpc_port: int) -> None:
        super().__init__(directory)
        self.port = port
        self.grpc_port = grpc_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _ports(self) -> list[int]:
        return [self.port, self.grpc_port]

    def _command(self) -> list[str]:
        options = ["--scheme", "http", "--host", "127.0.0.1", "--port", str(self.port)]
        return [str(find_weaviate_server()), *options]

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
            "DISK_USE_READONLY_PERCENTAGE": "0",  # a laptop's disk is often more than 90% full
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
    find_weaviate_server()
