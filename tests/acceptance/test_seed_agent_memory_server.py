"""agent-memory-server 0.15.2 with memrelay as its long-term memory: its own tests, ours, and its server.

Its package does not live beside ours, so it has an environment of its own, in which the tests in
``tests/frameworks/agent_memory_server`` run; its server is a process. Embeddings are WordLlama's over HTTP,
so that they mean something.
"""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deploy.native.redis import RedisServer
from deploy.native.server import ServerError
from memrelay import Memrelay
from memrelay.embedded.ports import free_port
from memrelay.errors import NotFound
from memrelay.settings import SourceSettings
from tests.agent_memory_server import (
    NAME,
    AgentMemoryServer,
    ModuleRedis,
    run_tests,
    settings_env,
)
from tests.frameworks import ROOT, python_of
from tests.models import DIMENSIONS, LanguageModels
from tests.rig import wait_until
from tests.servers import cannot_be_had
from tests.service import Service
from tests.service import settings_env as service_env

FACTORY = "memrelay.compat.agent_memory_server.create"
PACKAGE = ROOT / "memrelay" / "compat" / "agent_memory_server" / "__init__.py"


def shown_source() -> dict[str, Any]:
    """The source that the package's docstring shows, as settings read it."""
    docstring = ast.get_docstring(ast.parse(PACKAGE.read_text())) or ""
    _, _, example = docstring.partition("\n    [sources")
    source = tomllib.loads(f"[sources{example}")["sources"]["agent-memory"]
    return SourceSettings.model_validate(source).model_dump()


BROUGHT = {"drivers": ["redis", "sqlite"], "embedding": "external"}
SOURCES = {
    "default": shown_source() | {"dimensions": DIMENSIONS},
    "plain": BROUGHT | {"dimensions": DIMENSIONS},
    "narrow": BROUGHT | {"dimensions": 8},
    "own": {"drivers": ["redis", "sqlite"]},
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agent-memory-server")


@pytest.fixture(scope="module")
def service(directory: Path) -> Iterator[Service]:
    with RedisServer(directory / "redis", free_port()) as redis:
        env = service_env(
            broker_url=f"{redis.url}/1",
            journal_url=f"{redis.url}/0",
            redis_url=f"{redis.url}/2",
            directory=directory,
        )
        with Service(env | {"MEMRELAY_SOURCES": json.dumps(SOURCES)}, directory) as service:
            yield service


@pytest.fixture(scope="module")
def models() -> Iterator[LanguageModels]:
    with LanguageModels() as models:
        yield models


@pytest.fixture(scope="module")
def env(directory: Path, service: Service, models: LanguageModels) -> Iterator[dict[str, str]]:
    """The settings of agent-memory-server, with its Redis running."""
    try:
        python_of(NAME)
    except ServerError as error:
        cannot_be_had(str(error))
    with ModuleRedis(directory / "sessions", free_port()) as redis:
        settings = settings_env(redis_url=redis.url, models_url=models.url, factory=FACTORY)
        yield settings | {"MEMRELAY_URL": service.url}


@pytest.fixture(scope="module")
def server(directory: Path, env: Mapping[str, str]) -> Iterator[httpx.Client]:
    """A client of the real server, as a process."""
    with (
        AgentMemoryServer(directory / "server", free_port(), env) as server,
        httpx.Client(base_url=server.url, timeout=90) as client,
    ):
        yield client


@pytest.mark.parametrize("suite", ["long_term_memory", "database", "seed"])
def test_in_its_own_environment(env: Mapping[str, str], suite: str) -> None:
    run_tests(suite, env)


def remember(server: httpx.Client, user: str, texts: Mapping[str, str]) -> None:
    """Creates memories through the server, and waits until its background task has indexed them."""
    memories = [
        {"id": id, "text": text, "user_id": user, "namespace": user, "memory_type": "semantic"}
        for id, text in texts.items()
    ]
    answer = server.post("/v1/long-term-memory/", json={"memories": memories, "deduplicate": False})
    assert answer.json() == {"status": "ok"}
    wait_until("its background task", lambda: len(found(server, user, "")) == len(texts), 120)


def found(server: httpx.Client, user: str, text: str, **options: Any) -> list[dict[str, Any]]:
    wanted = {"text": text, "user_id": {"eq": user}, "namespace": {"eq": user}, **options}
    answer = server.post("/v1/long-term-memory/search", json=wanted)
    assert answer.status_code == 200, answer.text
    memories: list[dict[str, Any]] = answer.json()["memories"]
    return memories


def test_its_deletes_really_delete(server: httpx.Client, service: Service) -> None:
    user = f"user-{uuid4().hex}"
    ids = [f"{user}-{index}" for index in range(3)]
    remember(server, user, {id: f"Test memory {index}" for index, id in enumerate(ids)})
    gone = [*ids[:2], "no-such-memory"]
    answer = server.delete("/v1/long-term-memory", params={"memory_ids": gone})
    assert answer.json() == {"status": "ok, deleted 2 memories"}
    for text in ("Test memory", ""):
        assert [memory["id"] for memory in found(server, user, text)] == ids[2:]
    assert server.get(f"/v1/long-term-memory/{ids[0]}").status_code == 404
    assert server.get(f"/v1/long-term-memory/{ids[2]}").json()["text"] == "Test memory 2"
    with Memrelay(service.url) as relay:
        for id in ids[:2]:
            with pytest.raises(NotFound):
                relay.get(id)
        for driver in ("redis", "sqlite"):
            hits = relay.search(vector=[1.0] * DIMENSIONS, user_id=user, drivers=[driver]).hits
            assert [hit.id for hit in hits] == ids[2:]


def test_deleting_nothing_deletes_nothing(server: httpx.Client) -> None:
    answer = server.delete("/v1/long-term-memory", params={"memory_ids": []})
    assert answer.json() == {"status": "ok, deleted 0 memories"}
    answer = server.delete("/v1/long-term-memory", params={"memory_ids": ["no-such-memory"]})
    assert answer.json() == {"status": "ok, deleted 0 memories"}


def test_its_modes_find_and_an_edit_is_found(server: httpx.Client) -> None:
    user = f"user-{uuid4().hex}"
    remember(
        server,
        user,
        {f"{user}-city": "Paris is the capital of France", f"{user}-tea": "Ana drinks green tea"},
    )
    for mode in ("semantic", "keyword", "hybrid"):
        best = found(server, user, "capital of France", search_mode=mode)[0]
        assert (best["id"], best["score_type"]) == (f"{user}-city", mode)
    edited = server.patch(f"/v1/long-term-memory/{user}-tea", json={"text": "Ana drinks coffee"})
    assert edited.status_code == 200, edited.text
    (best, *_) = found(server, user, "What does Ana drink?")
    assert best["text"] == "Ana drinks coffee"


def test_the_exact_text_is_what_is_embedded(server: httpx.Client, models: LanguageModels) -> None:
    user = f"user-{uuid4().hex}"
    text = f"  {user} likes spaces, and <tags> & 😀  "
    remember(server, user, {user: text})
    assert models.texts.count(text) == 1
