"""What is wrong when a process starts: one line that says what, and an exit status that is not 0."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from deploy.native.redis import RedisServer
from memrelay import exits
from memrelay.embedded.ports import free_port
from memrelay.testing.model_server import Behaviour, ModelServer
from tests.service import settings_env

ROOT = Path(__file__).parent.parent.parent
SECONDS = 120  # of which importing LiteLLM takes 5 on a small machine
PASSED_ON = ("HOME", "LANG", "PATH", "TMPDIR")
MODULES = {"api": "memrelay api: ", "workers": "memrelay worker: "}

type Refuses = Callable[..., str]


@pytest.fixture
def env(_redis: str, tmp_path: Path) -> dict[str, str]:
    """Settings with which both processes start."""
    urls = settings_env(
        broker_url=f"{_redis}/6",
        journal_url=f"{_redis}/7",
        redis_url=f"{_redis}/8",
        directory=tmp_path,
    )
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return passed_on | urls | {"PYTHONPATH": str(ROOT), "MEMRELAY_PORT": str(free_port())}


@pytest.fixture
def refuses(env: dict[str, str], tmp_path: Path) -> Refuses:
    """Starts processes with settings that are wrong; gives the line that all of them end with."""

    def start(status: int, *modules: str, **changes: str) -> str:
        running = {
            module: subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=tmp_path,
                env=env | changes,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for module in modules or MODULES
        }
        said = {module: _ended(process, status) for module, process in running.items()}
        for module, text in said.items():
            assert text.startswith(MODULES[module]), text
            assert text.count("\n") == 1 and text.endswith("\n"), text
        return {text.removeprefix(MODULES[module]) for module, text in said.items()}.pop()

    return start


def _ended(process: subprocess.Popen[str], status: int) -> str:
    try:
        said, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        pytest.fail(f"it started, or hung: {said}")
    assert process.returncode == status, said
    return said


def source(**settings: Any) -> str:
    return json.dumps({"default": {"drivers": ["redis"], **settings}})


def test_driver_that_is_not_there_is_named(refuses: Refuses) -> None:
    line = refuses(exits.FAILED, MEMRELAY_SOURCES=source(drivers=["oracle"]))
    assert "sources.default.drivers names 'oracle'" in line
    assert "(there: redis, sqlite)" in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"MEMRELAY_SOURCES": "{canary"}, ["sources"]),
        ({"MEMRELAY_DRIVERS__REDIS__TYPE": "oracle"}, ["drivers.redis", "oracle", "weaviate"]),
        ({"MEMRELAY_DRIVERS__REDIS__URL": "http://u:canary@h"}, ["drivers.redis.url", "redis://"]),
        ({"MEMRELAY_DRIVERS__REDIS__URL": "redis://h:canary"}, ["drivers.redis.url", "redis://"]),
        (
            {"MEMRELAY_SOURCES": source(dimensions=100)},
            ["sources.default.dimensions", "100", "256"],
        ),
        ({"MEMRELAY_SOURCES": source(embedding="local/x")}, ["sources.default", "local/wordllama"]),
    ],
)
def test_wrong_setting_is_named(
    refuses: Refuses, changes: dict[str, str], words: list[str]
) -> None:
    line = refuses(exits.FAILED, "workers", **changes)
    assert all(word in line for word in words), line
    assert "canary" not in line


def test_missing_package_of_a_driver_is_named_with_its_cure(
    refuses: Refuses, tmp_path: Path
) -> None:
    """As if it were not installed: a package that is found first and is not there."""
    missing = tmp_path / "missing" / "apsw"
    missing.mkdir(parents=True)
    (missing / "__init__.py").write_text("raise ModuleNotFoundError('gone', name='apsw')\n")
    line = refuses(exits.FAILED, "workers", PYTHONPATH=f"{missing.parent}{os.pathsep}{ROOT}")
    assert "drivers.sqlite" in line
    assert "pip install 'memrelay[sqlite]'" in line


def test_journal_that_cannot_be_reached_is_named(refuses: Refuses) -> None:
    port = free_port()
    line = refuses(
        exits.UNAVAILABLE, MEMRELAY_JOURNAL_URL=f"redis://user:canary@127.0.0.1:{port}/0"
    )
    assert "journal" in line
    assert str(port) in line
    assert "canary" not in line


def test_journal_that_could_lose_what_it_is_given_is_refused(
    refuses: Refuses, redis_server_factory: Callable[..., RedisServer]
) -> None:
    url = redis_server_factory().url
    line = refuses(exits.FAILED, MEMRELAY_JOURNAL_URL=url, MEMRELAY_DURABILITY="fsync")
    assert "journal_url" in line
    assert "appendfsync always" in line
    with redis.Redis.from_url(url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        line = refuses(exits.FAILED, "workers", MEMRELAY_JOURNAL_URL=url)
        assert "maxmemory-policy noeviction" in line
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("appendonly", "no")
        line = refuses(exits.FAILED, "workers", MEMRELAY_JOURNAL_URL=url)
        assert "appendonly yes" in line


def test_broker_of_an_unknown_kind_is_refused(refuses: Refuses) -> None:
    line = refuses(exits.FAILED, MEMRELAY_BROKER_URL="kafka://user:canary@127.0.0.1:1")
    assert "broker_url" in line
    assert "amqp://" in line
    assert "canary" not in line


def test_port_that_is_taken_is_named(refuses: Refuses) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refuses(exits.FAILED, "api", MEMRELAY_PORT=str(port))
    assert f"127.0.0.1:{port}" in line
    assert "MEMRELAY_PORT" in line


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_host_that_others_reach_needs_keys(refuses: Refuses, host: str) -> None:
    line = refuses(exits.FAILED, "api", MEMRELAY_HOST=host)
    assert host in line
    assert "API key" in line


async def test_model_that_its_server_does_not_know_is_named(refuses: Refuses) -> None:
    async with ModelServer(Behaviour(fault="not_found")) as server:
        model = {"api_base": server.url, "api_key": "canary"}
        line = await asyncio.to_thread(
            refuses,
            exits.FAILED,
            "api",
            MEMRELAY_SOURCES=source(embedding="openai/some-model"),
            MEMRELAY_MODELS=json.dumps({"openai/some-model": model}),
        )
        assert server.stats.calls == 1
    assert "sources.default.embedding 'openai/some-model'" in line
    assert "The model does not exist" in line
    assert "canary" not in line


async def test_model_of_another_size_than_the_source_says_is_refused(refuses: Refuses) -> None:
    async with ModelServer(Behaviour(dimensions=64)) as server:
        sources = json.loads(source(embedding="openai/some-model"))
        sources["other"] = {**sources["default"], "dimensions": 32}
        line = await asyncio.to_thread(
            refuses,
            exits.FAILED,
            "workers",
            MEMRELAY_SOURCES=json.dumps(sources),
            MEMRELAY_MODELS=json.dumps(
                {"openai/some-model": {"api_base": server.url, "api_key": "k"}}
            ),
        )
    assert all(word in line for word in ("sources.other.dimensions", "32", "64")), line


def test_model_server_that_cannot_be_reached_is_named(refuses: Refuses) -> None:
    port = free_port()
    model = {"api_base": f"http://user:canary@127.0.0.1:{port}/v1", "api_key": "canary"}
    line = refuses(
        exits.UNAVAILABLE,
        "workers",
        MEMRELAY_SOURCES=source(embedding="openai/some-model"),
        MEMRELAY_MODELS=json.dumps({"openai/some-model": model}),
    )
    assert "sources.default.embedding 'openai/some-model'" in line
    assert f"127.0.0.1:{port}" in line
    assert "canary" not in line
