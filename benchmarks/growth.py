"""What grows with what is stored: rate, searches, bytes in store and journal, memory of the processes.

One namespace of ``USERS`` users is filled over HTTP; at each mark the last stretches before it are told.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backends.registry import create_driver
from benchmarks.ingest import served
from benchmarks.load import run_load
from benchmarks.search import TOP_K, bare, of_user
from benchmarks.sizes import PLACES, Measured, allocated
from benchmarks.stack import Stack
from benchmarks.texts import memories
from memrelay.errors import Unsupported
from memrelay.filters import Compare, Filter
from tests.service import Service, children

USERS = 10_000
DIMENSIONS = 256
STRETCH = 10_000
TOLD = 9
SEARCHES = 200
THIRDS = 20
A_THIRD = Compare("metadata.category", "$eq", "a")
"""What a third of all memories passes."""
MIB = 2**20


def measure(stack: Stack, kind: str, *, marks: Sequence[int]) -> dict[str, Any]:
    """By mark. Medians of the last ``TOLD`` stretches; memory is resident, of API and worker as a whole.

    ``last_over_first`` is the rate at the last mark over that at the one before.
    """
    with PLACES[kind](stack, DIMENSIONS) as store:
        drivers = json.dumps({kind: store.settings})
        with stack.service(kind, MEMRELAY_DRIVERS=drivers) as service:
            told = _filled(stack, service, kind, store, marks)
    first, last = (told[str(mark)]["per_s"] for mark in marks[-2:])
    return {"marks": told, "last_over_first": round(last / first, 3)}


def _filled(
    stack: Stack, service: Service, kind: str, store: Measured, marks: Sequence[int]
) -> dict[str, Any]:
    rates: list[float] = []
    empty = store.size()
    told: dict[str, Any] = {}
    for stretch in range(max(marks) // STRETCH):
        rows = memories(STRETCH, users=USERS, seed=1000 + stretch, prefix="grown")
        rates.append(served(service, rows))
        count = (stretch + 1) * STRETCH
        if count in marks:
            told[str(count)] = {
                "per_s": round(_median(rates[-TOLD:])),
                "searches": _searched(service, kind, store, rows),
                "store_bytes": {
                    name: round((used - empty[name]) / count) for name, used in store.size().items()
                },
                "journal_mib": round(allocated(stack.queue.url) / MIB, 1),
                "resident_mib": _resident(service),
            }
            print(f"{kind} {count}: {told[str(count)]}", file=sys.stderr)
    return told


def _searched(
    service: Service, kind: str, store: Measured, rows: Sequence[dict[str, Any]]
) -> dict[str, float | None]:
    """Milliseconds, medians; None for what the driver does not serve."""
    queries = [(row["text"][:80], row["user_id"]) for row in rows[:SEARCHES]]
    bodies = [
        json.dumps({"query": text, "user_id": user, "top_k": TOP_K, "mode": "semantic"})
        for text, user in queries
    ]
    report = run_load(
        port=service.port, path="/v1/search", bodies=bodies, clients=1, count=len(bodies)
    )
    assert set(report["statuses"]) == {"200"}, report["statuses"]

    def called(chosen: Sequence[tuple[str, Filter]]) -> float | None:
        try:
            return round(asyncio.run(bare(create_driver(kind, store.settings), chosen)), 3)
        except Unsupported:  # Redis, of more users than it goes through
            return None

    return {
        "p50_ms": report["p50_ms"],
        "bare_p50_ms": called([(text, of_user(user)) for text, user in queries]),
        "bare_third_p50_ms": called([(text, A_THIRD) for text, _ in queries[:THIRDS]]),
    }


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
