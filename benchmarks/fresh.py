"""How long until a memory is found, while the service stores half of what it can.

``python -m benchmarks.fresh PORT RATE`` is that load: ``RATE`` memories a second in requests of
``REQUEST``, until SIGTERM; it prints one JSON ``{seconds, memories, late}`` at its end.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import httpx
import uvloop

from benchmarks.beside import beside, ending
from benchmarks.ingest import served
from benchmarks.load import percentiles
from benchmarks.stack import Stack
from benchmarks.texts import memories
from tests.service import Service

REQUEST = 50
PROBES = 200
WARM_SECONDS = 2.0
LOOK_SECONDS = 0.003
LATE_SECONDS = 0.05


def measure(stack: Stack, service: Service, *, count: int, rounds: int) -> dict[str, Any]:
    """Milliseconds from sending a single write until a search finds it; quiet, and at half load."""
    times: dict[str, list[float]] = {"quiet": [], "half": []}
    loads: list[dict[str, Any]] = []
    full = served(service, memories(count, users=100, seed=300))
    for index in range(rounds):
        times["quiet"] += asyncio.run(_probe(service, f"quiet{index}"))
        with beside("benchmarks.fresh", service.port, full / 2) as report:
            time.sleep(WARM_SECONDS)
            times["half"] += asyncio.run(_probe(service, f"half{index}"))
        loads.append(report)
    return {
        "full_per_s": round(full),
        "loads": loads,
        **{f"{name}_ms": percentiles(values) for name, values in times.items()},
    }


async def _probe(service: Service, name: str) -> list[float]:
    """One memory after the other, each of a user of its own."""
    times = []
    async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:
        for row in memories(PROBES, users=1, seed=400, prefix=name):
            row["user_id"] = row["id"]
            query = {"query": row["text"][:80], "user_id": row["user_id"], "top_k": 1}
            began = time.perf_counter()
            answer = await client.post("/v1/memories", json={"memories": [row]})
            assert answer.status_code == 202, answer.text
            while not (await client.post("/v1/search", json=query)).json()["hits"]:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_SECONDS)
            times.append(1000 * (time.perf_counter() - began))
    return times


async def load(port: int, rate: float) -> dict[str, Any]:
    """Requests go out when they are due, whether or not the last is answered, except those that are late."""
    rows = memories(2000, users=1000, seed=12)
    for row in rows:
        del row["id"]
    bodies = [
        json.dumps({"memories": rows[start : start + REQUEST], "lane": "bulk"}).encode()
        for start in range(0, len(rows), REQUEST)
    ]
    headers = {"Content-Type": "application/json"}
    sent = late = 0
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
        asyncio.TaskGroup() as group,
    ):
        began, ended = time.perf_counter(), ending()
        while not ended.is_set():
            due = began + sent * REQUEST / rate
            wait = due - time.perf_counter()
            late += wait < -LATE_SECONDS
            await asyncio.sleep(max(0.0, wait))
            body = bodies[sent % len(bodies)]
            group.create_task(client.post("/v1/memories", content=body, headers=headers))
            sent += 1
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "memories": sent * REQUEST,
        "late": late,
    }


if __name__ == "__main__":
    json.dump(uvloop.run(load(int(sys.argv[1]), float(sys.argv[2]))), sys.stdout)
