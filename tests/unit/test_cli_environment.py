"""The settings of an embedded installation: what the user names still wins."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from memrelay.embedded.environment import choose_redis_port, known_redis_port, stack_environment
from memrelay.embedded.ports import free_port
from memrelay.errors import ConfigError
from memrelay.seeds import SEED_NAMES
from memrelay.settings import Settings, load_settings
from tests.unit.scripted import Scripted


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("MEMRELAY_") or name in SEED_NAMES:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def _settings(monkeypatch: pytest.MonkeyPatch, data: Path) -> Settings:
    """What the processes of the stack see."""
    for name, value in stack_environment(data, 7000).items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_without_any_setting_all_is_embedded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = _settings(monkeypatch, tmp_path)
    assert settings.journal_url == "redis://127.0.0.1:7000/0"
    assert settings.broker_url == "redis://127.0.0.1:7000/1"
    assert settings.drivers == {
        "redis": {"url": "redis://127.0.0.1:7000/2"},
        "sqlite": {"path": str(tmp_path / "replica.db")},
    }
    assert settings.sources["default"].drivers == ["redis", "sqlite"]


def test_drivers_in_the_file_win(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Path("memrelay.toml").write_text('[drivers.weaviate]\nurl = "http://127.0.0.1:8080"\n')
    settings = _settings(monkeypatch, tmp_path)
    assert list(settings.drivers) == ["weaviate"]
    assert settings.sources["default"].drivers == ["weaviate"]
    assert settings.journal_url == "redis://127.0.0.1:7000/0"


def test_sources_may_name_the_embedded_drivers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path("memrelay.toml").write_text('[sources.default]\ndrivers = ["sqlite"]\n')
    settings = _settings(monkeypatch, tmp_path)
    assert settings.sources["default"].drivers == ["sqlite"]


@pytest.mark.parametrize("variable", ["MEMRELAY_DRIVERS__REDIS__URL", "REDIS_URL"])
def test_drivers_in_the_environment_win(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    monkeypatch.setenv(variable, "redis://127.0.0.1:6399/5")
    settings = _settings(monkeypatch, tmp_path)
    assert settings.drivers == {"redis": {"url": "redis://127.0.0.1:6399/5"}}


def test_broker_and_journal_in_the_environment_win(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MEMRELAY_BROKER_URL", "amqp://127.0.0.1//")
    monkeypatch.setenv("MEMRELAY_JOURNAL_URL", "redis://127.0.0.1:6399/5")
    settings = _settings(monkeypatch, tmp_path)
    assert settings.broker_url == "amqp://127.0.0.1//"
    assert settings.journal_url == "redis://127.0.0.1:6399/5"
    assert list(settings.drivers) == ["redis", "sqlite"]


def test_a_file_that_is_not_toml_is_one_line(tmp_path: Path) -> None:
    Path("memrelay.toml").write_text("[drivers")
    with pytest.raises(ConfigError, match=r"^memrelay.toml: [^\n]*$"):
        stack_environment(tmp_path, 7000)


def test_the_port_of_redis_is_remembered_while_it_is_free(tmp_path: Path) -> None:
    assert known_redis_port(tmp_path) is None
    port = choose_redis_port(tmp_path)
    assert choose_redis_port(tmp_path) == known_redis_port(tmp_path) == port


def test_a_taken_port_is_replaced(tmp_path: Path) -> None:
    with Scripted() as other:
        taken = int(other.url.rpartition(":")[2])
        (tmp_path / "redis-port").write_text(f"{taken}\n")
        assert choose_redis_port(tmp_path) != taken
    assert known_redis_port(tmp_path) != taken


def test_settings_that_stay_as_they_are_are_valid_json(tmp_path: Path) -> None:
    added = stack_environment(tmp_path, free_port())
    assert json.loads(added["MEMRELAY_SOURCES"]) == {"default": {"drivers": ["redis", "sqlite"]}}
