"""Ports on loopback for servers that live as long as their parent."""

from __future__ import annotations

import random
import socket

# Below the range that outgoing connections take (32768 and up on Linux, 49152 elsewhere): a client
# that keeps trying to reach a stopped server could else be given that server's port as its own.
CANDIDATES = range(20_000, 32_000)


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether nobody listens on the port; a connection that is still closing does not count."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """As many distinct ports that are free now, in random order; OSError when there are not."""
    found: list[int] = []
    for port in random.sample(CANDIDATES, len(CANDIDATES)):
        if len(found) == count:
            break
        if is_free(port):
            found.append(port)
    if len(found) < count:
        raise OSError(f"fewer than {count} free ports on loopback")
    return found


def free_port() -> int:
    """A port that is free now."""
    return free_ports(1)[0]
