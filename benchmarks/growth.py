"""What grows with what is stored: rate, search, bytes in store and journal, memory of the processes.

One namespace of ``USERS`` users is filled over HTTP; at each mark the last stretches before it are told.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis

from benchmarks.ingest import served
from benchmarks.load import run_load
from benchmarks.search import TOP_K, bare
from benchmarks.stack import Stack
from benchmarks.texts import memories
from tests.service import Service, children

USERS = 10_000
STRETCH = 10_000
TOLD = 5
SEARCHES = 200
MIB = 2**20


def measure(stack: Stack, service: Service, *, marks: Sequence[int]) -> dict[str, Any]:
    """By mark. Medians of the last ``TOLD`` stretches; memory is resident, of API and worker as a whole."""
    rates: list[float] = []
    empty = _used(stack)
    told: dict[str, Any] = {}
    for stretch in range(max(marks) // STRETCH):
        rows = memories(STRETCH, users=USERS, seed=1000 + stretch, prefix="grown")
        rates.append(served(service, rows))
        count = (stretch + 1) * STRETCH
        if count in marks:
            used = _used(stack)
            told[str(count)] = {
                "per_s": round(_median(rates[-TOLD:])),
                "store_bytes": round((used["redis"] - empty["redis"]) / count),
                "journal_mib": round(used["queue"] / MIB, 1),
                "resident_mib": _resident(service),
                **_searched(stack, service, rows),
            }
    return told


def _searched(stack: Stack, service: Service, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    queries = [(row["text"][:80], row["user_id"]) for row in rows[:SEARCHES]]
    bodies = [
        json.dumps({"query": text, "user_id": user, "top_k": TOP_K, "mode": "semantic"})
        for text, user in queries
    ]
    report = run_load(
        port=service.port, path="/v1/search", bodies=bodies, clients=1, count=len(bodies)
    )
    assert set(report["statuses"]) == {"200"}, report["statuses"]
    theirs = asyncio.run(bare(stack, "redis", queries))
    return {"search_p50_ms": report["p50_ms"], "bare_search_p50_ms": round(theirs, 3)}


def _used(stack: Stack) -> dict[str, int]:
    """Bytes that each Redis has allocated."""
    used = {}
    for name, server in (("queue", stack.queue), ("redis", stack.redis)):
        with redis.Redis.from_url(server.url) as client:
            used[name] = int(client.info("memory")["used_memory"])
    return used


def _resident(service: Service) -> dict[str, int]:
    """MiB; what processes share is counted once for each."""
    trees = {
        "api": [service.api_pid, *children(service.api_pid)],
        "worker": [service.worker_pid, *service.worker_lanes, *service.worker_children],
    }
    return {name: sum(map(_rss, pids)) // 1024 for name, pids in trees.items()}


def _rss(pid: int) -> int:
    """KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
