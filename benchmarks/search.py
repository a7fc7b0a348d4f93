"""One search over HTTP against the bare driver call with the same vector, filter and top_k."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

from backends.registry import create_embedder
from benchmarks.load import run_load
from benchmarks.stack import Stack
from benchmarks.texts import memories
from memrelay.driver import Driver, Query
from memrelay.filters import Compare, Filter
from memrelay.times import now_us
from memrelay.types import Scope
from tests.service import Service

TOP_K = 10
MODEL = "local/wordllama"


def of_user(user: str) -> Filter:
    return Compare("user_id", "$eq", user)


async def bare(driver: Driver, queries: Sequence[tuple[str, Filter]]) -> float:
    """The median of a driver call, in milliseconds: one at a time, vectors made before."""
    embedder = create_embedder(MODEL, {})
    await embedder.open()
    await driver.open()
    scope = Scope(namespace="default", source="default", space=embedder.space)
    vectors = await embedder.embed([text for text, _ in queries])
    times = []
    for (_, chosen), vector in zip(queries, vectors, strict=True):
        query = Query(mode="semantic", top_k=TOP_K, now=now_us(), vector=vector, filter=chosen)
        began = time.perf_counter()
        assert await driver.search(scope, query)
        times.append(time.perf_counter() - began)
    await driver.close()
    await embedder.close()
    return 1000 * sorted(times)[len(times) // 2]


def measure(stack: Stack, service: Service, kind: str, *, rounds: int) -> dict[str, Any]:
    """Medians in turn, over what the ingest benchmark left in the store; and of HTTP alone."""
    rows = memories(400, users=100, seed=100)
    queries = [(row["text"][:80], row["user_id"]) for row in rows]
    bodies = [
        json.dumps({"query": text, "user_id": user, "top_k": TOP_K, "mode": "semantic"})
        for text, user in queries
    ]
    chosen = [(text, of_user(user)) for text, user in queries]
    pairs, p99, http = [], [], []
    with stack.nothing() as nothing:
        for _ in range(rounds):
            theirs = asyncio.run(bare(stack.driver(kind), chosen))
            report = _asked(service.port, "/v1/search", bodies, "200")
            pairs.append((theirs, report["p50_ms"]))
            p99.append(report["p99_ms"])
            http.append(_asked(nothing, "/nothing", bodies, "202")["p50_ms"])
    return {
        "bare_p50_ms": [round(theirs, 3) for theirs, _ in pairs],
        "memrelay_p50_ms": [ours for _, ours in pairs],
        "memrelay_p99_ms": p99,
        "http_p50_ms": http,
        "ratio": _median(ours / theirs for theirs, ours in pairs),
        "p99_over_p50": _median(high / ours for high, (_, ours) in zip(p99, pairs, strict=True)),
    }


def _asked(port: int, path: str, bodies: Sequence[str], status: str) -> dict[str, Any]:
    report = run_load(port=port, path=path, bodies=bodies, clients=1, count=len(bodies))
    assert set(report["statuses"]) == {status}, report["statuses"]
    return report


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return round(ordered[len(ordered) // 2], 3)
