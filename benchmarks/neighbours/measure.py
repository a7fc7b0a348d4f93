"""All neighbours, or one: what ``python -m benchmarks.neighbours`` prints as ``results``."""

from __future__ import annotations

from typing import Any

import redis

from benchmarks.neighbours import agent_memory_server, stores, tasks
from benchmarks.stack import Stack
from memrelay.embedded.ports import free_port
from tests.agent_memory_server import ModuleRedis

NAMES = ("redis", "pgvector", "agent-memory-server", "celery")
"""The first two are stores: mem0 and LangChain over them."""
TARGETS = {"mem0": 10.0, "agent-memory-server, accepted": 10.0, "one task a memory": 5.0}
"""What memrelay's rate is to be over theirs, at least."""


def measure(stack: Stack, *, quick: bool, only: str | None = None) -> dict[str, Any]:
    """``stack.queue`` runs. Its Redis is one with RediSearch, which mem0 and LangChain need."""
    rounds = 1 if quick else 3
    scale = 1 if quick else 2
    stack.redis = modules = ModuleRedis(stack.directory / "modules", free_port())
    results: dict[str, Any] = {}
    if only in (None, "redis"):
        counts = {"mem0": 150, stores.BARE_MEM0: 500, "langchain": 3_000, "memrelay": 6_000}
        stack.forget()
        with modules:
            results["redis"] = stores.measure(
                stack, "redis", modules.url, counts=_scaled(counts, scale), rounds=rounds
            )
    if only in (None, "pgvector"):
        counts = {"mem0": 150, stores.BARE_MEM0: 300, "langchain": 1_500, "memrelay": 4_000}
        stack.forget()
        with stack.postgres:
            results["pgvector"] = stores.measure(
                stack, "pgvector", stack.postgres.url, counts=_scaled(counts, scale), rounds=rounds
            )
    if only in (None, "celery"):
        counts = {tasks.ONE_TASK: 1_000, "memrelay": 6_000}
        with modules:
            results["celery"] = tasks.measure(stack, counts=_scaled(counts, scale), rounds=rounds)
    if only in (None, "agent-memory-server"):
        counts = {
            agent_memory_server.DOCKET: 300,
            agent_memory_server.IN_PROCESS: 300,
            "memrelay": 4_000,
        }
        with modules, redis.Redis.from_url(modules.url) as client:
            client.flushall()
            results["agent-memory-server"] = agent_memory_server.measure(
                stack, modules, counts=_scaled(counts, scale), rounds=rounds
            )
    return results


def _scaled(counts: dict[str, int], scale: int) -> dict[str, int]:
    return {name: scale * count for name, count in counts.items()}
