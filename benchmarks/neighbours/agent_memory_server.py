"""agent-memory-server: what one process takes from 64 clients, a memory a request, and what it stores.

It answers before it embeds, and FastAPI gives its endpoint a plain ``BackgroundTasks``, so the API's process
embeds and stores after the answer, whichever backend its tasks are set to (its own class, which hands
them to Docket, is used further on: by default, a Docket task for each stored memory). memrelay's worker
runs meanwhile, so both sides do all of their work.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter as Counts
from collections.abc import Callable
from functools import partial
from typing import Any

import redis

from benchmarks.accept import CLIENTS
from benchmarks.load import HUNG_UP, run_load
from benchmarks.neighbours.rounds import US, Counter, Rates
from benchmarks.stack import Stack
from benchmarks.texts import memories
from memrelay.embedded.ports import free_port
from tests.agent_memory_server import WORKER, AgentMemoryServer, ModuleRedis, settings_env
from tests.frameworks import python_of

DOCKET = "agent-memory-server"
GIVEN_UP_SECONDS = 15.0
"""Without one more that is stored."""
IN_PROCESS = "agent-memory-server, no docket"
VERSIONS = (
    "import importlib.metadata as m, json; "
    f"print(json.dumps({{n: m.version(n) for n in ('{DOCKET}', 'pydocket', 'redisvl')}}))"
)
# As its ``api`` command does it. Its loop is blocked for longer than the default keeps a connection.
PROGRAM = """
import sys, uvicorn
from agent_memory_server.logging import configure_logging
configure_logging()
uvicorn.run("agent_memory_server.main:app", host="127.0.0.1", port=int(sys.argv[1]),
    access_log=False, timeout_keep_alive=60)
"""
FACTORY = "benchmarks.neighbours.agent_memory_store.create"
PATH = "/v1/long-term-memory/"


class Server(AgentMemoryServer):
    """In the environment that has memrelay's model beside it; without an access log."""

    def _command(self) -> list[str]:
        return [str(python_of(WORKER)), "-c", PROGRAM, str(self.port)]


def _server(stack: Stack, modules: ModuleRedis, backend: str) -> Server:
    settings = settings_env(redis_url=modules.url, models_url="http://127.0.0.1:9", factory=FACTORY)
    settings |= {"LOG_LEVEL": "WARNING", "USE_DOCKET": str(backend == "docket")}
    return Server(stack.directory / f"agent-memory-server-{backend}", free_port(), settings)


def their_bodies(rows: list[dict[str, Any]]) -> list[str]:
    """The same memories in its terms."""
    return [
        json.dumps(
            {
                "memories": [
                    {
                        "id": row["id"],
                        "text": row["text"],
                        "user_id": row["user_id"],
                        "topics": row["tags"],
                        "memory_type": "semantic",
                    }
                ],
                "deduplicate": False,
            }
        )
        for row in rows
    ]


def our_bodies(rows: list[dict[str, Any]]) -> list[str]:
    return [json.dumps({"memories": [row]}) for row in rows]


def measure(
    stack: Stack, modules: ModuleRedis, *, counts: dict[str, int], rounds: int
) -> dict[str, Any]:
    """Requests a second, and memories a second until all are in the store; in turn."""
    accepted, stored, never = Rates(), Rates(), Counts[str]()
    stack.forget()
    with (
        stack.service("redis") as service,
        Counter(stack.driver("redis")) as counter,
        redis.Redis.from_url(modules.url) as client,
        _server(stack, modules, "docket") as docket,
        _server(stack, modules, "asyncio") as in_process,
    ):
        seed = 500
        for round in range(-1, rounds):
            for name, server, count in (
                (DOCKET, docket, partial(_indexed, client)),
                (IN_PROCESS, in_process, partial(_indexed, client)),
                (US, service, counter.count),
            ):
                seed += 1
                size = counts[name] if round >= 0 else 100
                rows = memories(size, users=100, seed=seed, prefix="single")
                path, bodies = (
                    ("/v1/memories", our_bodies) if server is service else (PATH, their_bodies)
                )
                accept, store, missing = _rates(server.port, path, bodies(rows), count)
                if server is service:
                    assert missing == 0
                if round >= 0:
                    accepted.add(name, accept)
                    stored.add(name, store)
                    never[name] += missing
    return {
        "clients": CLIENTS,
        "memories": counts,
        "versions": versions(),
        "accepted": accepted.report(),
        "stored": stored.report(),
        "answered_and_not_stored": dict(never),
    }


def versions() -> dict[str, str]:
    done = subprocess.run([python_of(WORKER), "-c", VERSIONS], capture_output=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _rates(
    port: int, path: str, bodies: list[str], count: Callable[[], int]
) -> tuple[float, float, int]:
    """Requests a second, memories a second until no more are stored, and how many never were."""
    before = count()
    began = time.perf_counter()
    report = run_load(port=port, path=path, bodies=bodies, clients=CLIENTS, count=len(bodies))
    assert set(report["statuses"]) <= {str(HUNG_UP), "200", "202"}, report["statuses"]
    stored, last = 0, began
    while stored < len(bodies) and time.perf_counter() - last < GIVEN_UP_SECONDS:
        found = count() - before
        if found > stored:
            stored, last = found, time.perf_counter()
        time.sleep(0.02)
    return report["rate"], stored / (last - began), len(bodies) - stored


def _indexed(client: redis.Redis) -> int:
    """Of its one index, which its first memory makes."""
    for name in client.execute_command("FT._LIST"):  # type: ignore[no-untyped-call]
        return int(client.ft(name).info()["num_docs"])  # type: ignore[no-untyped-call]
    return 0
