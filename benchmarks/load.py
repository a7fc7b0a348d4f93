"""A load generator: keep-alive HTTP/1.1 over raw streams, in a process of its own.

Reads one JSON from standard input ``{port, path, bodies, clients, headers?, seconds?, count?, rate?, keep?}``
and prints one ``{requests, seconds, rate, p50_ms, p99_ms, statuses, times_ms, jobs}``; jobs and times with
``keep`` alone. ``rate``: at most so many requests a second, by all clients together.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import uvloop

ROOT = Path(__file__).parent.parent
HUNG_UP = 0
"""The status of a request that was not answered; it is sent again."""


def run_load(**order: Any) -> dict[str, Any]:
    """The report of a generator process that did ``order``."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=json.dumps(order).encode(),
        stdout=subprocess.PIPE,
        cwd=ROOT,
        check=True,
        timeout=300,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def percentiles(times: Sequence[float], *, digits: int = 1) -> dict[str, float]:
    """``p50``, ``p95`` and ``p99``."""
    return {f"p{part}": round(at(times, part / 100), digits) for part in (50, 95, 99)}


def at(times: Sequence[float], part: float) -> float:
    """What ``part`` (of 1) of them are below."""
    return sorted(times)[int(len(times) * part)]


class Load:
    """The clients of one order; each sends its next request when the answer to the last is there."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._port = order["port"]
        self._keep = bool(order.get("keep"))
        head = f"POST {order['path']} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in order.get("headers", {}).items())
        self._requests = cycle(
            f"{head}Content-Length: {len(body.encode())}\r\n\r\n{body}".encode()
            for body in order["bodies"]
        )
        self._clients = order["clients"]
        self._every = self._clients / order["rate"] if "rate" in order else 0.0
        self._left = order.get("count", 1 << 60)
        self._seconds = order.get("seconds", 300.0)
        self._times: list[float] = []
        self.statuses: Counter[int] = Counter()
        self._answers: list[str] = []

    async def run(self) -> dict[str, Any]:
        began = time.perf_counter()
        self._until = began + self._seconds
        first = (began + n * self._every / self._clients for n in range(self._clients))
        await asyncio.gather(*map(self._client, first))
        took = time.perf_counter() - began
        self._times.sort()
        count = len(self._times)
        return {
            "requests": count,
            "seconds": round(took, 3),
            "rate": round(count / took, 1),
            "p50_ms": round(1000 * self._times[count // 2], 3),
            "p99_ms": round(1000 * self._times[int(count * 0.99)], 3),
            "statuses": dict(self.statuses),
            "times_ms": [round(1000 * time, 3) for time in self._times] if self._keep else [],
            "answers": self._answers,
        }

    async def _client(self, due: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while self._left > 0 and time.perf_counter() < self._until:
            self._left -= 1
            if self._every:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                due += self._every
            request = next(self._requests)
            began = time.perf_counter()
            while True:
                try:
                    status, body = await _exchange(reader, writer, request)
                    break
                except (ConnectionError, asyncio.IncompleteReadError):
                    self.statuses[HUNG_UP] += 1
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            self._times.append(time.perf_counter() - began)
            self.statuses[status] += 1
            if self._keep:
                self._answers.append(body.decode())
        writer.close()
        await writer.wait_closed()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, bytes]:
    """Status and body."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head[9:12]), await reader.readexactly(length)


if __name__ == "__main__":
    report = uvloop.run(Load(json.load(sys.stdin)).run())
    report["jobs"] = [json.loads(answer)["job"]["id"] for answer in report.pop("answers")]
    json.dump(report, sys.stdout)
