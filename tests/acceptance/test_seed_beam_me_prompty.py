"""What users of BeamMePrompty know, on memrelay: the callbacks of its behaviour and of its manager.

After its ``ets_test.exs`` and ``memory_manager_test.exs``, test by test, and its guide to memory backends.
Adding and removing sources while agents run is not here: sources are settings of the service.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from memrelay import Memrelay, errors
from memrelay.client import Source
from tests.acceptance.conftest import BEAM_SOURCES
from tests.service import Service


@pytest.fixture
def memory(beam: Memrelay) -> Source:
    """The default source, in a namespace that is empty at first."""
    return beam.source("_", namespace=uuid4().hex)


@pytest.fixture
def users(memory: Source) -> Source:
    """As set up for upstream's tests of ``search``."""
    memory.store_many({"user:123": {"name": "Alice"}, "user:456": {"name": "Bob"}})
    memory.store_many({"session:abc": {"user_id": 123}, "config:theme": "dark"})
    return memory


@pytest.fixture
def named(memory: Source) -> Source:
    """As set up for upstream's tests of ``list_keys``."""
    memory.store_many(
        {"user:1": "Alice", "user:2": "Bob", "admin:1": "Charlie", "config:theme": "dark"}
    )
    return memory


# store


def test_store_stores_a_key_value_pair(memory: Source) -> None:
    before = datetime.now(UTC)
    result = memory.store("test_key", "test_value")
    assert (result.key, result.stored) == ("test_key", True)
    assert before - timedelta(seconds=1) < result.stored_at <= datetime.now(UTC)
    assert (result.ttl_ms, result.tags, result.metadata) == (None, (), {})


def test_store_takes_a_time_to_live(memory: Source) -> None:
    result = memory.store("ttl_key", "ttl_value", ttl=5)
    assert result.ttl_ms == 5000
    assert result.expires_at == result.stored_at + timedelta(seconds=5)


def test_store_takes_tags(memory: Source) -> None:
    assert memory.store("k", "v", tags=["user", "session"]).tags == ("user", "session")


def test_store_overwrites_an_existing_key(memory: Source) -> None:
    memory.store("overwrite_key", "old_value")
    memory.store("overwrite_key", "new_value")
    assert memory.retrieve("overwrite_key") == "new_value"


def test_store_does_not_overwrite_where_it_is_told_not_to(memory: Source) -> None:
    memory.store("k", "old_value", overwrite=False)
    with pytest.raises(errors.Conflict) as raised:
        memory.store("k", "new_value", overwrite=False)
    assert raised.value.code == "exists"
    assert memory.retrieve("k") == "old_value"


# retrieve


def test_retrieve_gives_an_existing_value(memory: Source) -> None:
    memory.store("retrieve_key", "retrieve_value")
    assert memory.retrieve("retrieve_key") == "retrieve_value"


def test_retrieve_gives_metadata_too(memory: Source) -> None:
    memory.store("metadata_key", "metadata_value", tags=["test"], metadata={"source": "a form"})
    entry = memory.entry("metadata_key")
    assert (entry.value, entry.tags, entry.metadata) == (
        "metadata_value",
        ("test",),
        {"source": "a form"},
    )
    assert entry.stored_at


def test_retrieve_of_a_key_that_is_not_there_is_not_found(memory: Source) -> None:
    with pytest.raises(errors.NotFound) as raised:
        memory.retrieve("non_existent")
    assert raised.value.code == "not_found"


def test_retrieve_does_not_find_what_has_expired(memory: Source) -> None:
    memory.store("expired_key", "expired_value", ttl=0.001)
    time.sleep(0.01)
    with pytest.raises(errors.NotFound):
        memory.retrieve("expired_key")


# search


def _keys(source: Source, *args: Any, **options: Any) -> list[str]:
    return [entry.key for entry in source.search(*args, **options)]


def test_search_with_a_string_pattern(users: Source) -> None:
    assert _keys(users, "user:") == ["user:123", "user:456"]


def test_search_with_a_map_pattern(users: Source) -> None:
    assert _keys(users, {"pattern": "session"}) == ["session:abc"]


def test_search_with_a_wildcard(users: Source) -> None:
    assert len(_keys(users, "*")) == 4


def test_search_with_a_limit(users: Source) -> None:
    assert len(_keys(users, "*", limit=2)) == 2


def test_search_with_an_offset_and_an_order(users: Source) -> None:
    assert _keys(users, "*", limit=2, offset=1, order_by="key") == ["session:abc", "user:123"]


def test_search_leaves_out_what_has_expired(users: Source) -> None:
    users.store("temp:data", "value", ttl=0.001)
    time.sleep(0.01)
    assert _keys(users, "temp:") == []


def test_search_gives_whole_results(users: Source) -> None:
    [result] = users.search("config:")
    assert (result.key, result.value) == ("config:theme", "dark")
    assert (result.ttl_ms, result.tags) == (None, ())
    assert result.stored_at


def test_search_understands_what_is_asked(memory: Source) -> None:
    """As a source of vectors does, with the same calls."""
    memory.store("a", {"note": "The user prefers window seats on trains."}, tags=["travel"])
    memory.store("b", {"note": "The user is allergic to peanuts."}, tags=["health"])
    assert _keys(memory, "which seats on trains does the user prefer?")[0] == "a"
    assert _keys(memory, {"query": "food allergies"})[0] == "b"
    assert _keys(memory, {"query": "the user", "filter": {"tags": "health"}}) == ["b"]


# delete


def test_delete_of_an_existing_key(memory: Source) -> None:
    memory.store("delete_key", "value")
    memory.delete("delete_key")
    assert not memory.exists("delete_key")


def test_delete_of_a_key_that_is_not_there_succeeds(memory: Source) -> None:
    memory.delete("non_existent")


# list_keys


def test_list_keys_lists_all(named: Source) -> None:
    assert named.list_keys() == ["admin:1", "config:theme", "user:1", "user:2"]


def test_list_keys_with_a_pattern(named: Source) -> None:
    assert named.list_keys("user:") == named.list_keys("user:*") == ["user:1", "user:2"]


def test_list_keys_with_a_limit(named: Source) -> None:
    assert len(named.list_keys(limit=2)) == 2


def test_list_keys_leaves_out_what_has_expired(named: Source) -> None:
    named.store("temp:key", "value", ttl=0.001)
    time.sleep(0.01)
    assert named.list_keys("temp:") == []


def test_list_keys_in_pages(named: Source) -> None:
    first = named.keys_page(limit=3)
    assert first.cursor is not None
    second = named.keys_page(limit=3, cursor=first.cursor)
    assert (*first.keys, *second.keys) == ("admin:1", "config:theme", "user:1", "user:2")
    assert second.cursor is None


# the optional callbacks


def test_store_many_and_retrieve_many(memory: Source) -> None:
    results = memory.store_many(
        [{"key": "key1", "value": "value1"}, {"key": "key2", "value": "value2", "ttl": 60}]
    )
    assert [(result.key, result.ttl_ms) for result in results] == [("key1", None), ("key2", 60_000)]
    assert memory.retrieve_many(["key1", "gone", "key2"]) == {"key1": "value1", "key2": "value2"}


def test_delete_many_counts(memory: Source) -> None:
    memory.store_many({"key1": 1, "key2": 2})
    assert memory.delete_many(["key1", "key2"]) == 2
    assert memory.delete_many(["key1"]) == 0


def test_count_counts_matching_items(users: Source) -> None:
    assert (users.count("user:"), users.count(), users.count({"pattern": "*:a*"})) == (2, 4, 1)


def test_update_applies_a_function(memory: Source) -> None:
    memory.store("test_key", "old_value", tags=["t"], metadata={"m": 1}, ttl=60)
    assert memory.update("test_key", lambda old: {"old_value": "new_value"}[old]) == "new_value"
    entry = memory.entry("test_key")
    assert (entry.value, entry.tags, entry.metadata) == ("new_value", ("t",), {"m": 1})
    assert entry.ttl_ms is not None
    assert 30_000 < entry.ttl_ms <= 60_000


def test_update_loses_nothing_to_others(memory: Source) -> None:
    """Somebody else writes between the look and the write: the function is applied again."""
    memory.store("n", 1)
    seen = []

    def change(value: int) -> int:
        seen.append(value)
        if len(seen) == 1:
            memory._relay.source("_", namespace=memory.namespace).store("n", 10)
        return value + 1

    assert memory.update("n", change) == 11
    assert seen == [1, 10]


def test_update_of_a_key_that_is_not_there_is_not_found(memory: Source) -> None:
    with pytest.raises(errors.NotFound):
        memory.update("missing", lambda value: value)


def test_exists_tells(memory: Source) -> None:
    memory.store("test_key", None)
    assert memory.exists("test_key")
    assert not memory.exists("other")


def test_clear_clears_all_entries_of_a_namespace(memory: Source, beam: Memrelay) -> None:
    other = beam.source("_", namespace=uuid4().hex)
    other.store("key1", "kept")
    memory.store_many({"key1": "value1", "key2": "value2"})
    memory.clear()
    assert memory.list_keys() == []
    assert other.retrieve("key1") == "kept"


def test_clear_without_a_namespace_clears_the_source(beam: Memrelay) -> None:
    for namespace in (None, "a"):
        beam.source("persistent", namespace=namespace).store("k", 1)
    beam.source("persistent").clear()
    for namespace in (None, "a"):
        assert beam.source("persistent", namespace=namespace).list_keys() == []


def test_info_tells_what_a_source_is(beam: Memrelay) -> None:
    info = beam.source("cache").info()
    assert [driver.type for driver in info.drivers] == ["redis", "sqlite"]
    assert info.description == "Fast temporary cache for session data"
    assert info.options == {"table": "agent_cache", "cleanup_interval": 30_000}
    assert (info.dimensions, info.default) == (256, True)


# edges


def test_keys_are_found_by_any_part(memory: Source) -> None:
    memory.store_many({"atom_key": "atom_value", "123": "number", "string_key": "string_value"})
    for part in ("atom", "123", "string"):
        assert len(memory.search(part)) == 1


def test_complex_values_come_back(memory: Source) -> None:
    value = {
        "user": {"id": 1, "name": "Alice"},
        "permissions": ["read", "write"],
        "metadata": {"created_at": "2026-01-31T12:00:00Z"},
    }
    memory.store("complex_key", value)
    assert memory.retrieve("complex_key") == value


def test_no_time_to_live_is_for_ever(memory: Source) -> None:
    memory.store("no_ttl", "value", ttl=None)
    time.sleep(0.01)
    assert memory.retrieve("no_ttl") == "value"


def test_zero_time_to_live_is_over_at_once(memory: Source) -> None:
    memory.store("zero_ttl", "value", ttl=0)
    assert not memory.exists("zero_ttl")


def test_time_to_live_is_precise(memory: Source) -> None:
    stored = memory.store("precise_ttl", "value", ttl=4)
    assert memory.retrieve("precise_ttl") == "value"
    assert stored.expires_at is not None
    time.sleep(max(0.0, (stored.expires_at - datetime.now(UTC)).total_seconds()) + 0.01)
    assert not memory.exists("precise_ttl")


# the manager


def test_sources_of_the_guide_are_listed_with_one_default(beam: Memrelay) -> None:
    found = {source.name: (source.default, source.description) for source in beam.sources()}
    assert found == {
        "cache": (True, "Fast temporary cache for session data"),
        "persistent": (False, "Long-term persistent storage"),
        "vectors": (False, "Vector storage for semantic search"),
    }


def test_default_source_is_used_where_none_is_named(beam: Memrelay) -> None:
    namespace = uuid4().hex
    beam.source(namespace=namespace).store("key", "value")
    for name in ("_", "default", "cache"):
        assert beam.source(name, namespace=namespace).retrieve("key") == "value"
    assert not beam.source("persistent", namespace=namespace).exists("key")
    beam.add({"text": "a memory of the default source", "id": namespace}, wait=60)
    assert beam.get(namespace, source="cache").source == "cache"


def test_named_source_is_used(beam: Memrelay) -> None:
    namespace = uuid4().hex
    for name in BEAM_SOURCES:
        beam.source(name, namespace=namespace).store("key", name)
    for name in BEAM_SOURCES:
        assert beam.source(name, namespace=namespace).retrieve("key") == name


OPERATIONS: dict[str, Callable[[Source], Any]] = {
    "store": lambda source: source.store("key", "value"),
    "retrieve": lambda source: source.retrieve("key"),
    "delete": lambda source: source.delete("key"),
    "exists?": lambda source: source.exists("key"),
    "search": lambda source: source.search("query"),
    "count": lambda source: source.count("query"),
    "list_keys": lambda source: source.list_keys(),
    "clear": lambda source: source.clear(),
    "update": lambda source: source.update("key", lambda value: value),
    "store_many": lambda source: source.store_many({"key": "value"}),
    "retrieve_many": lambda source: source.retrieve_many(["key"]),
    "delete_many": lambda source: source.delete_many(["key"]),
    "info": lambda source: source.info(),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_unknown_source_is_the_same_error_in_every_operation(
    beam: Memrelay, operation: str
) -> None:
    with pytest.raises(errors.NotFound) as raised:
        OPERATIONS[operation](beam.source("unknown"))
    assert raised.value.code == "unknown_source"


def test_clear_over_http_needs_to_be_confirmed(beam_service: Service) -> None:
    answer = httpx.delete(f"{beam_service.url}/v1/sources/cache")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/confirm")
