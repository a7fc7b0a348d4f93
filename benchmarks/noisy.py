"""A tenant that writes ten times its quota, and what another one feels of it through the same API.

``python -m benchmarks.noisy`` is the noisy one: reads ``{port, key, rate, request}`` from standard input and
sends ``rate`` memories a second in requests of ``request``, until SIGTERM; it prints ``{seconds, statuses}``.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvloop

from backends.journal import Journal
from backends.journal.apikeys import create_key
from benchmarks.load import Load, run_load
from benchmarks.stack import ROOT, Stack
from benchmarks.texts import memories
from memrelay.apikeys import new_token
from tests.service import Service

QUOTA = 100
"""Memories a second."""
TIMES = 10
CLIENTS = 16
FOREVER = 3600.0
REQUESTS = (1, 50)
OTHER = 50
"""Memories a second of the other one, which stays within its own quota."""
WARM_SECONDS = 3.0
"""The quota allows for a burst; by now the noisy one has used it."""


def measure(stack: Stack, *, samples: int, rounds: int) -> dict[str, Any]:
    """By memories in a request of the noisy one. Rounds in turn; percentiles of all writes, until 202."""
    stack.forget()
    noisy, other = asyncio.run(_keys(f"{stack.queue.url}/0"))
    told: dict[str, Any] = {}
    with stack.service("redis", MEMRELAY_NAMESPACE_RATE=str(QUOTA)) as service:
        for request in REQUESTS:
            order = {"key": noisy, "rate": QUOTA * TIMES, "request": request}
            told[f"in_{request}s"] = _rounds(service, other, order, samples, rounds)
    return told


async def _keys(url: str) -> tuple[str, str]:
    """Of two namespaces."""
    journal = Journal(url)
    tokens = [new_token(), new_token()]
    for token, namespace in zip(tokens, ("noisy", "other"), strict=True):
        await create_key(journal, token, namespace, ["write"])
    await journal.close()
    return str(tokens[0]), str(tokens[1])


def _rounds(
    service: Service, other: str, order: dict[str, Any], samples: int, rounds: int
) -> dict[str, Any]:
    quiet: list[float] = []
    beside: list[float] = []
    noise = []
    for _ in range(rounds):
        quiet += _written(service, other, samples)
        with _noise({"port": service.port} | order) as report:
            time.sleep(WARM_SECONDS)
            beside += _written(service, other, samples)
        noise.append(report)
    return {
        "samples": len(quiet),
        "quiet_ms": _percentiles(quiet),
        "beside_ms": _percentiles(beside),
        "p50_ratio": round(_at(beside, 0.5) / _at(quiet, 0.5), 2),
        "p99_ratio": round(_at(beside, 0.99) / _at(quiet, 0.99), 2),
        "noise": noise,
    }


def _written(service: Service, key: str, samples: int) -> list[float]:
    """Milliseconds until each write was accepted, one after the other."""
    rows = memories(samples, users=20, seed=time.time_ns() % 2**32, prefix="other")
    report = run_load(
        port=service.port,
        path="/v1/memories",
        headers={"Authorization": f"Bearer {key}"},
        bodies=[json.dumps({"memories": [row]}) for row in rows],
        clients=1,
        count=samples,
        rate=OTHER,
        keep=True,
    )
    assert report["statuses"] == {"202": samples}, report["statuses"]
    times: list[float] = report["times_ms"]
    return times


def _percentiles(times: Sequence[float]) -> dict[str, float]:
    return {f"p{part}": round(_at(times, part / 100), 2) for part in (50, 95, 99)}


def _at(times: Sequence[float], part: float) -> float:
    return sorted(times)[int(len(times) * part)]


@contextmanager
def _noise(order: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The noisy one, as long as this lasts; its report is in the value afterwards."""
    report: dict[str, Any] = {}
    process = subprocess.Popen(
        ["nice", "-n", "19", sys.executable, "-m", "benchmarks.noisy"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(order).encode())
        process.stdin.close()
        assert process.stdout.readline() == b"begun\n"
        yield report
    finally:
        process.terminate()
        report |= json.loads(process.stdout.read())
        process.wait()


async def noise(order: dict[str, Any]) -> dict[str, Any]:
    rows = memories(2000, users=1000, seed=13)
    for row in rows:
        del row["id"]
    size = order["request"]
    load = Load(
        {
            "port": order["port"],
            "path": "/v1/memories",
            "headers": {"Authorization": f"Bearer {order['key']}"},
            "bodies": [
                json.dumps({"memories": rows[start : start + size], "lane": "bulk"})
                for start in range(0, len(rows), size)
            ],
            "clients": CLIENTS,
            "rate": order["rate"] / size,
            "seconds": FOREVER,
        }
    )
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    print("begun", flush=True)
    began = time.perf_counter()
    sending = asyncio.create_task(load.run())
    await ended.wait()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    return {"seconds": round(time.perf_counter() - began, 1), "statuses": load.statuses}


if __name__ == "__main__":
    json.dump(uvloop.run(noise(json.load(sys.stdin))), sys.stdout)
