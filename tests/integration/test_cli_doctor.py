"""``memrelay doctor`` against servers that are as they should not be."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import redis

from backends.doctor import machine
from backends.doctor.journal import clock, judged
from backends.journal import Journal
from backends.journal.journal import PREFIX
from backends.journal.pulse import Beat, Pulse
from deploy.native.postgres import PostgresServer
from deploy.native.rabbitmq import RabbitMQServer
from deploy.native.redis import RedisServer
from memrelay import __version__, exits
from memrelay.embedded.ports import free_port
from memrelay.testing.model_server import Behaviour, ModelServer
from tests.cli import COMMAND, environment_in
from tests.service import Service, settings_env
from tests.unit.scripted import Reply, Scripted

GOOD = ("ok", "warning")
SILENT = ("MEMRELAY_",)


@dataclass(frozen=True, slots=True)
class Report:
    status: int
    checks: Mapping[str, Mapping[str, str]]
    text: str

    def bad(self) -> set[str]:
        return {name for name, found in self.checks.items() if found["status"] not in GOOD}


type Doctor = Callable[..., Report]


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    """Runs it with this environment, in an empty directory."""

    def run(env: Mapping[str, str], **more: str) -> Report:
        done = subprocess.run(
            [*COMMAND, "doctor", "--json"],
            env={**env, **more},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stderr == ""
        checks = {finding["check"]: finding for finding in json.loads(done.stdout)["checks"]}
        return Report(done.returncode, checks, done.stdout)

    return run


def test_a_file_that_is_no_toml_is_a_finding_where_up_has_run_as_well(
    doctor: Doctor, tmp_path: Path
) -> None:
    (tmp_path / ".memrelay").mkdir()
    (tmp_path / ".memrelay" / "redis-port").write_text("6379")
    (tmp_path / "memrelay.toml").write_text("[drivers.redis]\n[drivers.redis]\n")
    found = doctor(environment_in(tmp_path))
    assert found.status == exits.FAILED
    assert found.bad() == {"settings"}
    assert "twice" in found.text


def test_what_up_has_is_started_by_up(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / ".memrelay").mkdir()
    (tmp_path / ".memrelay" / "redis-port").write_text(str(free_port()))
    found = doctor(environment_in(tmp_path))
    assert found.status == exits.UNAVAILABLE
    for check in ("journal", "broker"):
        assert found.checks[check]["mend"].startswith("start memrelay up")


def test_a_whole_installation_is_found_whole(service: Service, doctor: Doctor) -> None:
    found = doctor(service.env)
    assert found.status == exits.OK, found.text
    assert found.bad() == set()
    assert {"settings", "journal", "clock", "broker", "workers", "port"} < found.checks.keys()
    assert {"driver redis", "driver sqlite", "sources", "disk"} < found.checks.keys()
    assert {"embedding local/wordllama", "embedding external"} < found.checks.keys()
    assert found.checks["port"]["detail"].startswith("memrelay serves on")
    shared = found.checks["journal and stores"]
    assert shared["status"] == "warning"
    assert "drivers.redis is in the journal's own Redis" in shared["detail"]


@pytest.mark.parametrize(
    ("setting", "check", "status"),
    [
        ({"MEMRELAY_PORT": "abc"}, "settings", exits.FAILED),
        ({"MEMRELAY_JOURNL_URL": "redis://:canary@h"}, "environment", exits.FAILED),
        ({"MEMRELAY_DRIVERS__REDIS__TYPE": "nope"}, "driver redis", exits.FAILED),
        ({"MEMRELAY_JOURNAL_URL": "redis://:canary@127.0.0.1:1/0"}, "journal", exits.UNAVAILABLE),
        ({"MEMRELAY_BROKER_URL": "redis://:canary@127.0.0.1:1/0"}, "broker", exits.UNAVAILABLE),
        ({"MEMRELAY_BROKER_URL": "amqp://u:canary@127.0.0.1:1//"}, "broker", exits.UNAVAILABLE),
        (
            {"MEMRELAY_DRIVERS__REDIS__URL": "redis://:canary@127.0.0.1:1/0"},
            "driver redis",
            exits.UNAVAILABLE,
        ),
        (
            {"MEMRELAY_SOURCES": '{"default": {"drivers": ["redis"], "embedding": "local/x"}}'},
            "embedding local/x",
            exits.FAILED,
        ),
        (
            {"MEMRELAY_SOURCES": '{"default": {"drivers": ["redis"], "dimensions": 100}}'},
            "sources",
            exits.FAILED,
        ),
        ({"MEMRELAY_HOST": "0.0.0.0"}, "exposure", exits.FAILED),
    ],
)
def test_what_is_wrong_is_named(
    service: Service, doctor: Doctor, setting: dict[str, str], check: str, status: int
) -> None:
    found = doctor(service.env, **setting)
    assert found.bad() == {check}, found.text
    assert found.status == status
    assert found.checks[check]["detail"]
    assert "canary" not in found.text


def test_a_setting_that_there_is_not_is_named_with_its_line_and_the_one_that_was_meant(
    doctor: Doctor, tmp_path: Path
) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith(SILENT)}
    file = tmp_path / "memrelay.toml"
    file.write_text('[drivers.redis]\nurl = "redis://h"\n\n[sources.default]\ndriver = ["redis"]\n')
    said = doctor(env).checks["settings"]["detail"]
    assert "sources.default.driver" in said
    assert "memrelay.toml line 5" in said
    assert "did you mean drivers?" in said
    file.write_text('journal_url = "redis://h\n')
    assert "line 1" in doctor(env).checks["settings"]["detail"]


@pytest.fixture
def locked(redis_server_factory: Callable[..., RedisServer]) -> RedisServer:
    """A Redis that asks for a password."""
    server = redis_server_factory()
    with redis.Redis.from_url(server.url) as client:
        client.config_set("requirepass", "secret")
    return server


def test_wrong_passwords_are_wrong_and_not_away(
    doctor: Doctor, locked: RedisServer, tmp_path: Path
) -> None:
    url = locked.url.replace("//", "//:canary@")
    env = {**os.environ, **_settings(url, tmp_path)}
    found = doctor(env)
    assert found.status == exits.FAILED
    assert found.bad() == {"journal", "broker", "driver redis"}
    for check in found.bad():
        assert found.checks[check]["status"] == "wrong", check
        assert "password" in found.checks[check]["mend"]
    assert "canary" not in found.text


def _settings(redis_url: str, directory: Path) -> dict[str, str]:
    port = {"MEMRELAY_PORT": str(free_port())}
    return port | settings_env(
        broker_url=f"{redis_url}/2",
        journal_url=f"{redis_url}/0",
        redis_url=f"{redis_url}/1",
        directory=directory,
    )


def test_a_password_that_rabbitmq_refuses_is_wrong(
    service: Service, doctor: Doctor, rabbitmq_server_factory: Callable[[], RabbitMQServer]
) -> None:
    host = rabbitmq_server_factory().url.partition("@")[2]
    found = doctor(service.env, MEMRELAY_BROKER_URL=f"amqp://guest:canary@{host}")
    assert found.bad() == {"broker"}
    assert found.checks["broker"]["status"] == "wrong", found.text
    assert "canary" not in found.text


def test_a_journal_that_forgets_and_has_no_worker_is_named(
    doctor: Doctor, redis_server_factory: Callable[..., RedisServer], tmp_path: Path
) -> None:
    server = redis_server_factory(appendonly=False)
    found = doctor({**os.environ, **_settings(server.url, tmp_path)})
    assert found.status == exits.FAILED
    assert found.bad() == {"journal", "workers"}
    assert "CONFIG SET appendonly yes" in found.checks["journal"]["detail"]
    assert found.checks["workers"] == {
        "check": "workers",
        "status": "unavailable",
        "detail": "no worker is running",
        "mend": "start one: memrelay worker",
    }
    assert "is free for memrelay api" in found.checks["port"]["detail"]
    with redis.Redis.from_url(f"{server.url}/0") as client:
        client.config_set("appendonly", "yes")
        later = 1000 * int(time.time() + 600)  # alive still when a slow machine looks
        beat = Beat(host="h", pid=1, queues=[], at=later, spaces=True, version="0.0.9")
        client.hset(f"{PREFIX}workers", "h:1", msgspec.json.encode(beat))
    again = doctor({**os.environ, **_settings(server.url, tmp_path)})
    assert again.bad() == {"workers"}
    assert "there are workers of 0.0.9" in again.checks["workers"]["detail"]


def test_workers_that_do_not_get_on_are_named() -> None:
    version = {"h:1": __version__}
    assert judged(Pulse(workers={"h:1": 0.5}, stalled={}, versions=version)) == "1 running"
    stuck = judged(Pulse(workers={"h:1": 0.5}, stalled={"deliver.bulk": 90.0}, versions=version))
    assert not isinstance(stuck, str)
    assert (stuck.status, "deliver.bulk" in stuck.detail) == ("wrong", True)


async def test_a_clock_that_is_off_is_named(journal_url: str) -> None:
    journal = Journal(journal_url)
    try:
        assert isinstance(await clock(journal), str)
        off = await clock(journal, time.time() - 60)
        assert not isinstance(off, str)
        assert off.status == "wrong"
        assert "60 s behind the journal's Redis" in off.detail
    finally:
        await journal.close()


def test_a_disk_that_is_full_is_named(tmp_path: Path) -> None:
    assert machine.disk([tmp_path], least=0).status == "ok"
    full = machine.disk([tmp_path], least=2**70)
    assert full.status == "wrong"
    assert str(tmp_path) in full.detail


@pytest.fixture
def stranger() -> Iterator[Scripted]:
    with Scripted() as server:
        server.script(Reply(200, "<html>hello</html>"))
        yield server


def test_a_port_that_is_taken_is_named(
    service: Service, doctor: Doctor, stranger: Scripted
) -> None:
    port = stranger.url.rpartition(":")[2]
    found = doctor(service.env, MEMRELAY_PORT=port)
    assert found.bad() == {"port"}
    assert "something else than memrelay" in found.checks["port"]["detail"]
    assert "MEMRELAY_PORT" in found.checks["port"]["mend"]
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = str(mute.getsockname()[1])
        found = doctor(service.env, MEMRELAY_PORT=port)
    assert found.bad() == {"port"}


def test_a_package_that_is_missing_is_named_with_its_extra(
    service: Service, doctor: Doctor, tmp_path: Path
) -> None:
    missing = tmp_path / "missing" / "apsw"
    missing.mkdir(parents=True)
    (missing / "__init__.py").write_text("raise ModuleNotFoundError('gone', name='apsw')\n")
    path = f"{missing.parent}{os.pathsep}{service.env['PYTHONPATH']}"
    found = doctor(service.env, PYTHONPATH=path)
    assert found.bad() == {"driver sqlite"}
    assert "pip install 'memrelay[sqlite]'" in found.checks["driver sqlite"]["detail"]


async def test_a_model_that_refuses_our_key_is_wrong_and_one_that_is_away_is_away(
    service: Service, doctor: Doctor
) -> None:
    away = f"http://127.0.0.1:{free_port()}/v1"
    async with ModelServer(Behaviour(fault="unauthorized")) as server:
        models = {
            "openai/refused": {"api_base": server.url, "api_key": "canary"},
            "openai/away": {"api_base": away, "api_key": "canary", "dimensions": 8},
            "openai/keyless": {"api_base": server.url},
        }
        sources = {
            name: {"drivers": ["redis"], "embedding": f"openai/{name}"}
            for name in ("refused", "away", "keyless")
        }
        sources["default"] = sources.pop("refused")
        more = {"MEMRELAY_MODELS": json.dumps(models), "MEMRELAY_SOURCES": json.dumps(sources)}
        found = await asyncio.to_thread(doctor, service.env, **more)
    checks = found.checks
    assert checks["embedding openai/refused"]["status"] == "wrong", found.text
    assert "api_key" in checks["embedding openai/refused"]["mend"]
    assert checks["embedding openai/keyless"]["status"] == "wrong"
    assert checks["embedding openai/away"]["status"] == "unavailable"
    assert "canary" not in found.text


def test_what_postgresql_lacks_is_named(
    service: Service, doctor: Doctor, postgres_server_factory: Callable[[], PostgresServer]
) -> None:
    server = postgres_server_factory()
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE guest LOGIN")
        connection.execute("CREATE DATABASE bare")
    place = server.url.partition("@")[2].partition("/")[0]
    bare = server.superuser_url.rpartition("/")[0] + "/bare"
    with psycopg.connect(bare, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA memrelay AUTHORIZATION guest")
    drivers: dict[str, Any] = {
        "bare": {"type": "pgvector", "url": f"postgresql://guest@{place}/bare"},
        "nobody": {"type": "pgvector", "url": f"postgresql://nobody:canary@{place}/memrelay"},
    }
    env = {key: value for key, value in service.env.items() if "DRIVERS" not in key}
    sources = {"default": {"drivers": list(drivers)}}
    found = doctor(env, MEMRELAY_DRIVERS=json.dumps(drivers), MEMRELAY_SOURCES=json.dumps(sources))
    assert found.bad() == {"driver bare", "driver nobody"}
    assert "CREATE EXTENSION vector" in found.checks["driver bare"]["detail"]
    assert 'role "nobody" does not exist' in found.checks["driver nobody"]["detail"]
    assert "correct drivers.nobody" in found.checks["driver nobody"]["mend"]
    assert "canary" not in found.text


def test_for_people_each_check_is_a_line_with_its_mend(tmp_path: Path) -> None:
    env = {**os.environ, **_settings(f"redis://127.0.0.1:{free_port()}", tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "memrelay.cli", "doctor"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exits.UNAVAILABLE
    assert "ok     settings: sources: default (redis > sqlite)\n" in done.stdout
    assert "AWAY   journal: " in done.stdout
    assert "; mend: start the Redis at 127.0.0.1:" in done.stdout
    assert "\x1b" not in done.stdout
