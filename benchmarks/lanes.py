"""A chat agent's single write, until it is stored: alone, and while the bulk lane is flooded.

Twice: the flood is another namespace's, through an API process of its own (``apart``), or the same
namespace's through the same API process (``together``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import redis

from backends.journal.journal import PREFIX
from benchmarks.beside import beside
from benchmarks.load import at, percentiles, run_load
from benchmarks.stack import Stack
from benchmarks.texts import memories
from tests.service import Service

WARM = 50
WARM_SECONDS = 2.0
PATH = "/v1/memories?wait=stored&timeout=60s"


def measure(stack: Stack, *, samples: int, rounds: int) -> dict[str, Any]:
    """Rounds in turn: quiet, flooded, quiet, … with ``samples`` writes in each; percentiles of all."""
    with stack.service("redis", MEMRELAY_NAMESPACE="quiet") as quiet:
        other = stack.service("redis", MEMRELAY_NAMESPACE="flood")
        other.directory = stack.directory / "service-flood"
        other.start_api()
        try:
            return {
                "apart": _rounds(stack, quiet, other, samples=samples, rounds=rounds),
                "together": _rounds(stack, quiet, quiet, samples=samples, rounds=rounds),
            }
        finally:
            other.stop_api()


def _rounds(
    stack: Stack, service: Service, flooded: Service, *, samples: int, rounds: int
) -> dict[str, Any]:
    bodies = [
        json.dumps({"memories": [row]})
        for row in memories(samples, users=20, seed=int(time.time()), prefix="agent")
    ]
    quiet: list[float] = []
    flood: list[float] = []
    floods = []
    for _ in range(rounds):
        _emptied(stack, service)
        _written(service, bodies[:WARM])
        quiet += _written(service, bodies)
        with beside("benchmarks.flood", flooded.port, nice=19) as report:
            time.sleep(WARM_SECONDS)
            flood += _written(service, bodies)
            report["stored"] = _stored(stack)
        floods.append(report)
    return {
        "samples": len(quiet),
        "quiet_ms": percentiles(quiet),
        "flooded_ms": percentiles(flood),
        "p50_ratio": round(at(flood, 0.5) / at(quiet, 0.5), 2),
        "p95_ratio": round(at(flood, 0.95) / at(quiet, 0.95), 2),
        "floods": floods,
    }


def _written(service: Service, bodies: Sequence[str]) -> list[float]:
    """Milliseconds until each memory was stored, one after the other."""
    report = run_load(
        port=service.port, path=PATH, bodies=bodies, clients=1, count=len(bodies), keep=True
    )
    assert report["statuses"] == {"200": len(bodies)}, report["statuses"]
    times: list[float] = report["times_ms"]
    return times


def _stored(stack: Stack) -> int:
    """How many memories the driver has taken of all namespaces since the journal was emptied."""
    with redis.Redis.from_url(f"{stack.queue.url}/0") as client:
        counts: dict[bytes, bytes] = client.hgetall(f"{PREFIX}acct")
    return sum(int(count) for field, count in counts.items() if field.endswith(b"|a"))


def _emptied(stack: Stack, service: Service) -> None:
    """What an earlier flood left would take minutes to be stored: all of it is dropped instead."""
    service.kill_worker()
    for server in (stack.queue, stack.redis):
        with redis.Redis.from_url(f"{server.url}/0") as client:
            client.flushall()
    service.start_worker()
