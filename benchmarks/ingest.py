"""End to end: from the first byte of a bulk import over HTTP until every memory is searchable,
against a bare loop in one process with the same embedder and the same driver, without any queue."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from backends.registry import create_embedder
from benchmarks.load import run_load
from benchmarks.stack import Stack, wait_stored
from benchmarks.texts import memories
from memrelay.types import Memory, Scope, Upsert
from tests.service import Service

MODEL = "local/wordllama"
REQUEST = 500
CLIENTS = 4
BATCH = 512


async def bare(stack: Stack, kind: str, rows: list[dict[str, Any]], first: int) -> float:
    """Memories a second of the bare loop."""
    embedder = create_embedder(MODEL, {})
    await embedder.open()
    driver = stack.driver(kind)
    await driver.open()
    scope = Scope(namespace="bare", source="default", space=embedder.space)
    await driver.ensure(scope)
    await embedder.embed(["warm"])
    began = time.perf_counter()
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        vectors = await embedder.embed([row["text"] for row in part])
        ops = [
            Upsert(Memory(**row, created_at=first, version=first + start + i), vector)
            for i, (row, vector) in enumerate(zip(part, vectors, strict=True))
        ]
        outcomes = await driver.apply(scope, ops)
        assert all(outcome.status == "applied" for outcome in outcomes.values())
    took = time.perf_counter() - began
    await driver.purge(scope)
    await driver.close()
    await embedder.close()
    return len(rows) / took


def served(service: Service, rows: list[dict[str, Any]]) -> float:
    """Memories a second of the service: the clock stops when the last job says ``stored``."""
    bodies = [
        json.dumps({"memories": rows[start : start + REQUEST], "lane": "bulk"})
        for start in range(0, len(rows), REQUEST)
    ]
    began = time.perf_counter()
    report = run_load(
        port=service.port,
        path="/v1/memories",
        bodies=bodies,
        clients=CLIENTS,
        count=len(bodies),
        keep=True,
    )
    assert report["statuses"] == {"202": len(bodies)}, report["statuses"]
    wait_stored(service, report["jobs"])
    return len(rows) / (time.perf_counter() - began)


def measure(
    stack: Stack, service: Service, kind: str, *, count: int, rounds: int
) -> dict[str, Any]:
    """Rounds in turn: bare loop, service, bare loop, …"""
    pairs = []
    served(service, memories(2000, users=100, seed=1))
    for index in range(rounds):
        rows = memories(count, users=100, seed=100 + index)
        pairs.append(
            (asyncio.run(bare(stack, kind, rows, time.time_ns() // 1000)), served(service, rows))
        )
    ratios = sorted(ours / theirs for theirs, ours in pairs)
    return {
        "memories": count,
        "bare_per_s": [round(theirs) for theirs, _ in pairs],
        "memrelay_per_s": [round(ours) for _, ours in pairs],
        "ratio": round(ratios[len(ratios) // 2], 3),
    }
