"""The servers of a benchmark: Redis, Weaviate, PostgreSQL and memrelay itself, as they are run."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from backends.registry import create_driver
from deploy.native.postgres import PostgresServer
from deploy.native.redis import RedisServer
from deploy.native.weaviate import WeaviateServer
from memrelay.driver import Driver
from memrelay.embedded.ports import free_port
from tests.service import Service

ROOT = Path(__file__).parent.parent


class Stack:
    """A Redis for journal and broker, one for the driver, Weaviate and PostgreSQL when asked for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.queue = RedisServer(directory / "queue", free_port())
        self.redis = RedisServer(directory / "redis", free_port())
        self.weaviate = WeaviateServer(directory / "weaviate", free_port(), free_port())
        self.postgres = PostgresServer(directory / "postgres", free_port())

    def forget(self) -> None:
        """Nothing is left in journal and broker of what was measured before. No service runs meanwhile."""
        with redis.Redis.from_url(self.queue.url) as client:
            client.flushall()

    def driver_settings(self, kind: str) -> dict[str, Any]:
        if kind == "redis":
            return {"url": f"{self.redis.url}/0"}
        if kind == "pgvector":
            return {"url": self.postgres.url}
        return {"url": self.weaviate.url, "grpc_port": self.weaviate.grpc_port}

    def driver(self, kind: str) -> Driver:
        return create_driver(kind, self.driver_settings(kind))

    def service(self, kind: str, **more: str) -> Service:
        """memrelay with this one driver."""
        env = {
            "MEMRELAY_JOURNAL_URL": f"{self.queue.url}/0",
            "MEMRELAY_BROKER_URL": f"{self.queue.url}/1",
            "MEMRELAY_DRIVERS": json.dumps({kind: self.driver_settings(kind)}),
            "MEMRELAY_SOURCES": json.dumps({"default": {"drivers": [kind]}}),
        }
        return Service(env | more, self.directory / f"service-{kind}")

    @contextmanager
    def nothing(self) -> Iterator[int]:
        """The port of ``benchmarks.nothing``."""
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.nothing", str(port), f"{self.queue.url}/2"], cwd=ROOT
        )
        try:
            _wait(port)
            yield port
        finally:
            process.terminate()
            process.wait()


def call(service: Service, path: str, body: Any = None) -> Any:
    """One request to a service; its JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        service.url + path, data=data, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def wait_stored(service: Service, jobs: list[str]) -> None:
    """Returns when all have ended well."""
    for job in jobs:
        while True:
            status = call(service, f"/v1/jobs/{job}?wait=60")["status"]
            if status == "stored":
                break
            assert status in ("accepted", "processing"), f"job {job} ended as {status}"


def _wait(port: int) -> None:
    async def attempt() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

    deadline = time.monotonic() + 30
    while True:
        try:
            asyncio.run(attempt())
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
