"""Flower as docker-compose.yml starts it: it asks for a password, shows no secrets, changes nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import flower.api.control
import flower.api.tasks
import flower.urls
import httpx
import pytest
import redis
import yaml  # type: ignore[import-untyped]

from memrelay.embedded.leash import leashed
from memrelay.embedded.ports import free_port
from tests.rig import redis_servers, wait_until
from tests.service import Service, settings_on

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
SECONDS = 120
PASSWORD = f"canary{uuid4().hex}"
TEXT = f"canary{uuid4().hex}"
CHANGES = [
    pattern
    for pattern, handler, *_ in (
        route for route in flower.urls.handlers if isinstance(route, tuple)
    )
    if handler.__module__ == flower.api.control.__name__
    or (handler.__module__ == flower.api.tasks.__name__ and "post" in vars(handler))
]


@dataclass(frozen=True)
class Shown:
    service: Service
    url: str
    flower: httpx.Client


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis of our own: the workers of others would show in Flower, and take its memory."""
    with redis_servers(tmp_path_factory.mktemp("redis")) as start:
        yield start().url


@pytest.fixture(scope="module")
def shown(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A service that reaches its servers with a password and has stored one memory, and Flower."""
    directory = tmp_path_factory.mktemp("flower")
    admin: Any = redis.Redis.from_url(server)
    admin.execute_command("ACL", "SETUSER", "shown", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    url = server.replace("://", f"://shown:{PASSWORD}@")
    env = settings_on(url, directory)
    with Service(env, directory) as service:
        port = free_port()
        with (directory / "flower.log").open("wb") as log:
            process = subprocess.Popen(
                leashed([sys.executable, "-m", *_command(port)]),
                cwd=directory,
                env=service.env | {"FLOWER_BASIC_AUTH": f"operator:{PASSWORD}"},
                stdout=log,
                stderr=log,
            )
        auth = ("operator", PASSWORD)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=auth, timeout=60) as client:
                wait_until("Flower", lambda: _answers(client), SECONDS)
                body = {"memories": [{"text": TEXT, "id": TEXT, "tags": [TEXT]}]}
                stored = httpx.post(
                    f"{service.url}/v1/memories",
                    json=body,
                    params={"wait": "stored", "timeout": "60s"},
                    timeout=90,
                )
                assert stored.status_code == 200
                wait_until("its task", lambda: bool(client.get("/api/tasks").json()), SECONDS)
                yield Shown(service, f"http://127.0.0.1:{port}", client)
        finally:
            process.terminate()
            process.wait()
    admin.execute_command("ACL", "DELUSER", "shown")
    admin.close()


def _command(port: int) -> list[str]:
    """That of the container, at another port of this machine."""
    script = yaml.safe_load(COMPOSE.read_text())["services"]["flower"]["command"][-1]
    words = script.partition("exec ")[2].split()
    changed = {"--address=0.0.0.0": "--address=127.0.0.1", "--port=5555": f"--port={port}"}
    assert changed.keys() <= set(words)
    return [changed.get(word, word) for word in words]


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthcheck").status_code == 200
    except httpx.TransportError:
        return False


def _workers(shown: Shown) -> list[str]:
    names: list[str] = []

    def known() -> bool:
        names[:] = shown.flower.get("/api/workers", params={"refresh": 1}).json()
        return len(names) == 2

    wait_until("both lanes", known, SECONDS)
    return names


def test_flower_asks_for_a_password(shown: Shown) -> None:
    for page in ("/", "/workers", "/tasks", "/broker", "/api/tasks", "/api/workers"):
        assert httpx.get(f"{shown.url}{page}").status_code == 401
        assert httpx.get(f"{shown.url}{page}", auth=("operator", "guess")).status_code == 401


def test_flower_shows_no_text_and_no_password(shown: Shown) -> None:
    tasks = shown.flower.get("/api/tasks").json()
    pages = ["/", "/workers", "/tasks", "/broker", "/metrics", "/api/tasks", "/api/task/types"]
    pages += [f"/task/{task}" for task in tasks]
    pages += [f"/api/task/info/{task}" for task in tasks]
    pages += ["/api/workers?refresh=1", "/api/queues/length"]
    pages += [f"/worker/{name}" for name in _workers(shown)]
    told = {page: shown.flower.get(page).raise_for_status().text for page in pages}
    assert "memrelay.deliver" in told["/api/tasks"]
    assert [page for page, text in told.items() if "canary" in text] == []
    assert "canary" not in (shown.service.directory / "flower.log").read_text()


def test_flower_changes_nothing(shown: Shown) -> None:
    assert len(CHANGES) > 10
    names = {*_workers(shown), "memrelay.deliver", *shown.flower.get("/api/tasks").json()}
    for pattern in CHANGES:
        for name in names:
            path = re.sub(r"\(.+?\)", name, pattern)
            assert shown.flower.post(path, json={"args": []}).status_code == 403, path
    assert shown.service.worker_running
    assert len(_workers(shown)) == 2
