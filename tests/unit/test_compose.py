"""docker-compose.yml, as far as it can be checked without a daemon."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from backends.pgvector.settings import Settings as PgvectorSettings
from backends.weaviate.settings import Settings as WeaviateSettings
from memrelay.seeds import SEED_NAMES
from memrelay.settings import load_settings
from tests.servers import cannot_be_had

_ROOT = Path(__file__).parents[2]
_KEY = "mr_" + 48 * "0"
_DEFAULT = re.compile(r"\$\{\w+:-([^}]*)\}")
_COMPOSE: dict[str, Any] = yaml.safe_load((_ROOT / "docker-compose.yml").read_text())
_SERVICES: dict[str, dict[str, Any]] = _COMPOSE["services"]
_PROFILES = sorted({name for service in _SERVICES.values() for name in service.get("profiles", [])})
_OURS = [name for name, service in _SERVICES.items() if "build" in service]


def _compose(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["docker", "compose", *words],
            cwd=_ROOT,
            env=os.environ | {"MEMRELAY_ADMIN_KEY": _KEY},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(words, 127, "", "no docker client is installed")


def _configured(*options: str) -> str:
    """What compose makes of the file: the names of the services that would run."""
    if _compose("version").returncode != 0:
        cannot_be_had("the docker client with its compose plugin is not installed")
    done = _compose(*options, "config", "--services")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("profile", _PROFILES)
def test_compose_accepts_every_profile(profile: str) -> None:
    services = set(_configured("--profile", profile).split())
    assert services >= {"api", "worker", "journal", "redis"}
    assert {name for name in services if profile in _SERVICES[name].get("profiles", [])}


def test_compose_without_a_profile_needs_redis_alone() -> None:
    assert set(_configured().split()) == {"api", "worker", "journal", "redis"}


@pytest.mark.parametrize(
    ("driver", "service"), [("weaviate", "weaviate"), ("pgvector", "postgres")]
)
def test_the_file_of_a_driver_brings_the_server_and_its_use(driver: str, service: str) -> None:
    options = ("--env-file", f"deploy/{driver}.env")
    assert service in _configured(*options).split()
    rendered = yaml.safe_load(_compose(*options, "config").stdout)
    environment = rendered["services"]["worker"]["environment"]
    assert environment["MEMRELAY_SOURCES__DEFAULT__DRIVERS"] == f'["redis","{driver}"]'


def test_every_port_is_published_on_loopback_alone() -> None:
    published = [port for service in _SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 8
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize("name", _SERVICES)
def test_every_service_tells_of_its_health_is_restarted_and_has_time_to_end(name: str) -> None:
    service = _SERVICES[name]
    own = name == "api" and "HEALTHCHECK" in (_ROOT / "deploy/Dockerfile").read_text()
    assert own or "test" in service["healthcheck"]
    assert service["restart"] in ("unless-stopped", "on-failure:3")
    assert int(service["stop_grace_period"].removesuffix("s")) >= 15


@pytest.mark.parametrize("name", ["worker", "api", "flower"])
def test_whatever_a_profile_brings_is_waited_for(name: str) -> None:
    needs = _SERVICES[name]["depends_on"]
    assert set(needs) == {"journal", "redis", "weaviate", "postgres", "rabbitmq"}
    for need, how in needs.items():
        assert how["condition"] == "service_healthy"
        assert how.get("required", True) is ("profiles" not in _SERVICES[need])


@pytest.mark.parametrize("name", _OURS)
def test_containers_write_nothing_but_their_volumes_and_have_no_rights(name: str) -> None:
    service = _SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_nothing_starts_without_a_key() -> None:
    _configured()
    done = subprocess.run(
        ["docker", "compose", "--env-file", os.devnull, "config", "--quiet"],
        cwd=_ROOT,
        env={k: v for k, v in os.environ.items() if k != "MEMRELAY_ADMIN_KEY"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "MEMRELAY_ADMIN_KEY is missing" in done.stderr


@pytest.mark.parametrize(
    ("name", "variable"),
    [("flower", "FLOWER_BASIC_AUTH"), ("grafana", "GF_SECURITY_ADMIN_PASSWORD")],
)
def test_a_service_without_its_password_ends_at_once(name: str, variable: str) -> None:
    service = _SERVICES[name]
    words = service.get("entrypoint") or service["command"]
    script = words[-1].replace("$$", "$").replace("exec ", "exit 0; exec ")
    for value, status in (("", 1), ("something", 0)):
        done = subprocess.run(["sh", "-c", script], env={variable: value}, check=False)
        assert done.returncode == status


@pytest.mark.parametrize("name", _OURS)
def test_the_settings_of_a_container_are_ours_and_valid(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in list(os.environ):
        if variable.startswith(("MEMRELAY_", *SEED_NAMES)):
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)  # no memrelay.toml here
    told = {k: _DEFAULT.sub(r"\1", v) for k, v in _SERVICES[name]["environment"].items()}
    for variable, value in told.items():
        monkeypatch.setenv(variable, _KEY if variable == "MEMRELAY_ADMIN_KEY" else value)

    settings = load_settings()

    assert (settings.admin_key_text == _KEY) is (name == "api")
    assert settings.host == "0.0.0.0"
    assert settings.sources["default"].drivers == ["redis"]
    weaviate = WeaviateSettings(**settings.drivers["weaviate"])
    assert (weaviate.url, weaviate.grpc_port) == ("http://weaviate:8080", 50051)
    postgres = PgvectorSettings(**settings.drivers["pgvector"])
    assert postgres.place == "PostgreSQL at postgres:5432/memrelay"
    assert settings.journal_url != settings.drivers["redis"]["url"]


def test_postgres_serves_us_as_an_ordinary_role() -> None:
    service = _SERVICES["postgres"]
    assert "POSTGRES_USER" not in service["environment"]  # the superuser is not the role in our URL
    [script] = [volume for volume in service["volumes"] if "initdb" in volume]
    made = (_ROOT / script.partition(":")[0]).read_text()
    assert "CREATE ROLE memrelay LOGIN;" in made
    assert "CREATE EXTENSION vector;" in made


def test_the_journal_is_durable_and_never_evicts() -> None:
    command = " ".join(_SERVICES["journal"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_containers_run_as_an_ordinary_user_with_the_tested_lock() -> None:
    dockerfile = (_ROOT / "deploy/Dockerfile").read_text()
    runtime = dockerfile.rpartition("FROM ")[2]
    assert re.search(r"^USER 10001$", runtime, re.MULTILINE)
    assert "--require-hashes -r requirements.lock" in dockerfile
