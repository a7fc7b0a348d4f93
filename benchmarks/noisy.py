"""A tenant that writes ten times its quota, and what another one feels of it through the same API.

``python -m benchmarks.noisy {port, key, rate, request}`` (one JSON) is the noisy one: it sends ``rate``
memories a second in requests of ``request`` until SIGTERM, and prints ``{seconds, statuses}``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

from backends.journal import Journal
from backends.journal.apikeys import create_key
from benchmarks.beside import beside, ending, until
from benchmarks.load import Load, at, percentiles, run_load
from benchmarks.stack import Stack
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
    loud: list[float] = []
    noise = []
    for _ in range(rounds):
        quiet += _written(service, other, samples)
        with beside(
            "benchmarks.noisy", json.dumps({"port": service.port} | order), nice=19
        ) as report:
            time.sleep(WARM_SECONDS)
            loud += _written(service, other, samples)
        noise.append(report)
    return {
        "samples": len(quiet),
        "quiet_ms": percentiles(quiet, digits=2),
        "beside_ms": percentiles(loud, digits=2),
        "p50_ratio": round(at(loud, 0.5) / at(quiet, 0.5), 2),
        "p99_ratio": round(at(loud, 0.99) / at(quiet, 0.99), 2),
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
    began, ended = time.perf_counter(), ending()
    await until(ended, load.run())
    return {"seconds": round(time.perf_counter() - began, 1), "statuses": load.statuses}


if __name__ == "__main__":
    json.dump(uvloop.run(noise(json.loads(sys.argv[1]))), sys.stdout)
