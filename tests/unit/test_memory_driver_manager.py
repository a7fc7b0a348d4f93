"""Which driver is had by which name, when it is made, and what is imported for it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from memrelay.compat.memory_driver import (
    BaseMemoryDriver,
    MemoryDriverManager,
    get_memory_driver,
    set_memory_driver,
)
from memrelay.compat.memory_driver.cache import CachedMemoryDriver
from memrelay.compat.memory_driver.settings import Settings
from memrelay.errors import ConfigError
from tests.memory_drivers import clean

ROOT = Path(__file__).parent.parent.parent


class Counted(BaseMemoryDriver):
    """Counts how often it was made and closed, and what it was asked."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.closed = 0
        self.stored: list[tuple[str, str]] = []

    def recall(self, user_id: str, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        return [{"content": content} for user, content in self.stored if user == user_id]

    def recall_global_knowledge(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        return []

    def store(self, user_id: str, content: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        self.stored.append((user_id, content))
        return {"content": content}

    def store_global_knowledge(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {}

    def delete(self, *args: Any, **kwargs: Any) -> bool:
        return False

    def health_check(self) -> dict[str, Any]:
        return {"status": "healthy"}

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Counted.made = 0
    with clean(MEMORY_DRIVER="Counted"):
        MemoryDriverManager.register_driver("COUNTED", Counted)
        yield


def test_a_driver_is_made_when_it_is_first_asked_for_and_once() -> None:
    assert Counted.made == 0
    started = threading.Barrier(8)

    def ask(_: int) -> BaseMemoryDriver:
        started.wait()
        return get_memory_driver()

    with ThreadPoolExecutor(8) as pool:
        drivers = set(pool.map(ask, range(8)))
    assert len(drivers) == 1
    assert Counted.made == 1


def test_the_driver_stays_what_it_was_when_the_environment_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver = get_memory_driver()
    monkeypatch.setenv("MEMORY_DRIVER", "xyz")
    assert get_memory_driver() is driver
    MemoryDriverManager.reset_cache()
    with pytest.raises(ValueError, match="'xyz' not found"):
        get_memory_driver()


def test_a_switch_that_fails_changes_nothing() -> None:
    driver = get_memory_driver()
    with pytest.raises(ValueError, match="not found"):
        set_memory_driver("xyz")
    assert get_memory_driver() is driver


def test_another_driver_can_be_had_without_a_switch() -> None:
    driver = get_memory_driver()
    assert MemoryDriverManager.get_driver("sqlite") is not driver
    assert get_memory_driver() is driver


def test_a_reset_closes_what_was_made() -> None:
    driver = get_memory_driver()
    assert isinstance(driver, Counted)
    MemoryDriverManager.reset_cache()
    assert driver.closed == 1


def test_only_memory_drivers_can_be_registered() -> None:
    for wrong in (dict, Counted(), "Counted"):
        with pytest.raises(ValueError, match="must inherit from BaseMemoryDriver"):
            MemoryDriverManager.register_driver("wrong", wrong)  # type: ignore[arg-type]


def test_a_built_in_name_can_be_taken_over() -> None:
    MemoryDriverManager.register_driver("automem", Counted)
    assert isinstance(set_memory_driver("automem"), Counted)


def test_all_names_are_listed() -> None:
    names = MemoryDriverManager.get_available_drivers()
    assert {"automem", "pgvector", "redis", "weaviate", "sqlite", "relay", "hybrid"} < set(names)
    assert "counted" in names


def test_many_are_stored_one_by_one_by_a_driver_that_knows_no_batches() -> None:
    driver = get_memory_driver()
    stored = driver.store_many(
        [{"user_id": "ana", "content": "a"}, {"user_id": "bo", "content": "b"}]
    )
    assert stored == [{"content": "a"}, {"content": "b"}]


def test_answers_are_kept_if_the_environment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMORY_CACHE_SECONDS", "60")
    driver = get_memory_driver()
    assert isinstance(driver, CachedMemoryDriver)
    assert get_memory_driver() is driver
    plain = MemoryDriverManager.plain_driver("counted")
    assert driver.driver is plain
    driver.store("ana", "through the cache")
    assert len(driver.recall("ana")) == 1
    plain.store("ana", "past it")
    assert len(driver.recall("ana")) == 1


@pytest.mark.parametrize("wrong", ["-1", "often", "nan", "inf"])
def test_a_wrong_number_is_named(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("MEMORY_CACHE_SECONDS", wrong)
    with pytest.raises(ConfigError, match="MEMORY_CACHE_SECONDS"):
        Settings()


def test_a_variable_that_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMORY_DRIVER", "")
    monkeypatch.setenv("DATABASE_URL", "")
    assert Settings().MEMORY_DRIVER == "automem"
    assert Settings().DATABASE_URL is None


def test_every_setting_is_in_the_documents() -> None:
    text = (ROOT / "docs" / "memory-drivers.md").read_text()
    assert [name for name in vars(Settings()) if f"`{name}" not in text] == []


def test_pgvector_without_a_database_says_what_is_missing() -> None:
    driver = MemoryDriverManager.get_driver("pgvector")
    with pytest.raises(ConfigError, match="DATABASE_URL is missing"):
        driver.recall("ana")
    assert driver.health_check()["status"] == "unhealthy"


_IMPORTS = """
import sys
import memrelay.client
assert not any(name.startswith("memrelay.compat") for name in sys.modules)
from memrelay.compat.memory_driver import MemoryDriverManager
servers = {"backends", "celery", "redis", "weaviate", "psycopg", "apsw", "numpy"}
assert not servers & set(sys.modules), servers & set(sys.modules)
assert MemoryDriverManager.get_driver("relay").health_check()["status"] == "unhealthy"
assert not servers & set(sys.modules), servers & set(sys.modules)
MemoryDriverManager.get_driver("sqlite")
assert "backends" in sys.modules and not {"redis", "weaviate", "psycopg"} & set(sys.modules)
"""


def test_nothing_of_a_server_is_imported_before_it_is_chosen() -> None:
    subprocess.run(
        [sys.executable, "-c", _IMPORTS],
        check=True,
        env={"PYTHONPATH": str(ROOT), "MEMRELAY_URL": "http://127.0.0.1:1"},
    )


def test_anothers_package_of_the_name_backends_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "backends").mkdir()
    (tmp_path / "backends" / "__init__.py").touch()
    code = (
        "from memrelay.compat.memory_driver import set_memory_driver; set_memory_driver('sqlite')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )
    assert "hides memrelay's own package" in done.stderr
