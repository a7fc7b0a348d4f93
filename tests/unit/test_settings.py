from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from memrelay.errors import ConfigError
from memrelay.seeds import SEED_NAMES
from memrelay.settings import Settings, load_settings

URL = "redis://127.0.0.1:6379/2"
DRIVERS = {"MEMRELAY_DRIVERS": json.dumps({"redis": {"url": URL}, "sqlite": {"path": "a.db"}})}
FILE = f"""
broker_url = "amqp://broker"
[drivers.redis]
url = "{URL}"
[sources.default]
drivers = ["redis"]
filterable = {{ category = "string" }}
"""


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in SEED_NAMES:
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.startswith("MEMRELAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def loaded(monkeypatch: pytest.MonkeyPatch, **env: str) -> Settings:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_all_drivers_make_the_default_source_where_none_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = loaded(monkeypatch, **DRIVERS)
    assert settings.sources["default"].drivers == ["redis", "sqlite"]
    assert settings.driver_names == ["redis", "sqlite"]
    assert settings.sources["default"].embedding == "local/wordllama"


def test_file_in_the_working_directory_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "memrelay.toml").write_text(FILE)
    settings = loaded(monkeypatch)
    assert settings.broker_url == "amqp://broker"
    assert settings.sources["default"].filterable == {"category": "string"}


def test_environment_goes_before_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "elsewhere.toml"
    config.write_text(FILE)
    settings = loaded(
        monkeypatch,
        MEMRELAY_CONFIG=str(config),
        MEMRELAY_BROKER_URL="redis://other/1",
        MEMRELAY_DRIVERS__REDIS__URL="redis://other/2",
    )
    assert settings.broker_url == "redis://other/1"
    assert settings.drivers == {"redis": {"url": "redis://other/2"}}


def test_names_that_other_systems_set_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, REDIS_URL=URL, WEAVIATE_URL="http://127.0.0.1:8080")
    assert settings.drivers == {
        "redis": {"url": URL},
        "weaviate": {"url": "http://127.0.0.1:8080"},
    }
    assert settings.sources["default"].drivers == ["redis", "weaviate"]


def test_a_database_url_is_a_store_if_it_names_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://ana@127.0.0.1/app"
    assert loaded(monkeypatch, DATABASE_URL=url).drivers == {"pgvector": {"url": url}}
    assert loaded(monkeypatch, DATABASE_URL="mysql://app", REDIS_URL=URL).driver_names == ["redis"]


def test_the_factory_of_agent_memory_server_goes_before_redis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    factory = "my_backends.create_my_backend"
    settings = loaded(monkeypatch, REDIS_URL=URL, MEMORY_VECTOR_DB_FACTORY=factory)
    assert settings.drivers["custom"] == {"factory": factory}
    assert settings.sources["default"].drivers == ["custom", "redis"]


def test_what_runs_agent_memory_server_on_us_is_no_store_for_us(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = "memrelay.compat.agent_memory_server.create"
    settings = loaded(monkeypatch, REDIS_URL=URL, MEMORY_VECTOR_DB_FACTORY=ours)
    assert settings.sources["default"].drivers == ["redis"]


def test_own_drivers_go_before_names_of_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, REDIS_URL="redis://theirs", **DRIVERS)
    assert settings.drivers["redis"] == {"url": URL}


def source(**settings: object) -> str:
    return json.dumps({"default": {"drivers": ["redis"], **settings}})


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({}, ["no drivers are configured", "memrelay.toml", "DATABASE_URL", "memrelay up"]),
        ({"MEMRELAY_CONFIG": "nowhere.toml"}, ["MEMRELAY_CONFIG", "nowhere.toml"]),
        ({"MEMRELAY_SOURCES": source(drivers=["oracle"])}, ["sources.default", "oracle"]),
        ({"MEMRELAY_SOURCES": source(drivers=[])}, ["sources.default.drivers"]),
        ({"MEMRELAY_SOURCES": source(drivers=["redis", "redis"])}, ["sources.default", "twice"]),
        ({"MEMRELAY_SOURCES": source(embedding="external")}, ["sources.default", "dimensions"]),
        ({"MEMRELAY_SOURCES": source(dimensions=0)}, ["sources.default.dimensions"]),
        ({"MEMRELAY_SOURCES": source(dimensions=4097)}, ["sources.default.dimensions"]),
        ({"MEMRELAY_SOURCES": source(filterable={"a": "date"})}, ["sources.default.filterable.a"]),
        ({"MEMRELAY_SOURCES": source(driver="redis")}, ["sources.default.driver"]),
        ({"MEMRELAY_SOURCES": json.dumps({"A b": {"drivers": ["redis"]}})}, ["sources.A b"]),
        ({"MEMRELAY_SOURCES": json.dumps({"x": {"drivers": ["redis"]}})}, ["sources.default"]),
        ({"MEMRELAY_SOURCES": "canary{"}, ["sources"]),
        ({"MEMRELAY_SOURCES": "[]"}, ["sources"]),
        ({"MEMRELAY_DRIVERS": json.dumps({"Redis!": {}})}, ["drivers.Redis!"]),
        ({"MEMRELAY_DRIVERS__REDIS": "canary"}, ["drivers"]),
        ({"MEMRELAY_PORT": "canary"}, ["setting port"]),
        ({"MEMRELAY_PORT": "65536"}, ["setting port", "65535"]),
        ({"MEMRELAY_DURABILITY": "canary"}, ["setting durability", "fsync"]),
        ({"MEMRELAY_LINGER_MS": "101"}, ["setting linger_ms"]),
        ({"MEMRELAY_SEARCH_TIMEOUT": "0"}, ["setting search_timeout"]),
        ({"MEMRELAY_JOURNAL_URL": "amqp://u:canary@h"}, ["setting journal_url", "redis://"]),
        ({"MEMRELAY_JOURNAL_URL": "redis://u:canary/x@h"}, ["setting journal_url", "redis://"]),
        ({"MEMRELAY_JOURNAL_URL": "canary"}, ["setting journal_url", "redis://"]),
        ({"MEMRELAY_BROKER_URL": "http://u:canary@h"}, ["setting broker_url", "amqp://"]),
        ({"MEMRELAY_BROKER_URL": ""}, ["setting broker_url", "amqp://"]),
    ],
)
def test_wrong_setting_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], words: list[str]
) -> None:
    drivers = (
        DRIVERS if env and not any(name.startswith("MEMRELAY_DRIVERS") for name in env) else {}
    )
    with pytest.raises(ConfigError) as caught:
        loaded(monkeypatch, **drivers, **env)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert "canary" not in message


@pytest.mark.parametrize("text", ["a = [", "jurnal_url = 'x'", "\xff"])
def test_file_that_is_wrong_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    config = tmp_path / "wrong.toml"
    config.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"wrong\.toml|jurnal_url") as caught:
        loaded(monkeypatch, MEMRELAY_CONFIG=str(config))
    assert "\n" not in str(caught.value)


def test_every_setting_is_documented() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_namespace_of_requests_without_keys_is_default_or_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert loaded(monkeypatch, **DRIVERS).namespace == "default"
    assert loaded(monkeypatch, MEMRELAY_NAMESPACE="team-a").namespace == "team-a"


@pytest.mark.parametrize("name", ["", "Team", "a|b", "a:b", "-a", "a" * 65])
def test_namespace_that_no_store_could_keep_apart_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with pytest.raises(ConfigError, match="namespace"):
        loaded(monkeypatch, **DRIVERS, MEMRELAY_NAMESPACE=name)


def sources(**which: dict[str, object]) -> str:
    return json.dumps({name: {"drivers": ["redis"], **options} for name, options in which.items()})


def test_source_may_be_marked_as_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    marked = sources(cache={"default": True, "options": {"table": "agent"}}, docs={})
    settings = loaded(monkeypatch, MEMRELAY_SOURCES=marked, **DRIVERS)
    assert settings.default_source == "cache"
    assert settings.sources["cache"].options == {"table": "agent"}


def test_source_named_default_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for named in (sources(default={}, docs={}), sources(default={"default": True}, docs={})):
        settings = loaded(monkeypatch, MEMRELAY_SOURCES=named, **DRIVERS)
        assert settings.default_source == "default"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (sources(a={"default": True}, b={"default": True}), "one default, not a and b"),
        (sources(default={}, b={"default": True}), "one default, not default and b"),
        (sources(a={}, b={}), r"sources.default is missing: .* \(there: a, b\)"),
        (sources(default={"drivers": ["nowhere"]}), "names 'nowhere'"),
        (sources(default={"default": "perhaps"}), "setting sources.default.default"),
        (sources(default={"opts": {}}), "setting sources.default.opts"),
    ],
)
def test_sources_that_do_not_fit_are_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, given: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as raised:
        loaded(monkeypatch, MEMRELAY_SOURCES=given, **DRIVERS)
    assert "\n" not in str(raised.value)
