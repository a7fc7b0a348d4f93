"""What ``StorageBackend`` promises: all 14 methods."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta
from typing import Any

import pytest
from conftest import DIMENSIONS, embed
from crewai.memory.storage.backend import EmbeddingDimensionMismatchError, StorageBackend
from crewai.memory.types import MemoryRecord

from memrelay.client import Memrelay
from memrelay.compat.crewai import MemrelayStorage
from memrelay.errors import ConfigError

THEN = datetime(2026, 9, 1, 12)


def record(content: str, scope: str = "/", **more: Any) -> MemoryRecord:
    return MemoryRecord(content=content, scope=scope, embedding=embed([content])[0], **more)


def contents(records: list[MemoryRecord]) -> list[str]:
    return [one.content for one in records]


def nearest(storage: MemrelayStorage, text: str, **which: Any) -> list[str]:
    return [found.content for found, _ in storage.search(embed([text])[0], **which)]


def test_a_record_comes_back_with_all_it_has(storage: MemrelayStorage) -> None:
    assert isinstance(storage, StorageBackend)
    saved = record(
        "Ana likes window seats.",
        "/ana/travel",
        categories=["seats", "a, b"],
        metadata={"n": 1, "deep": {"list": [None, True, "x"]}},
        importance=0.9,
        created_at=THEN,
        last_accessed=THEN + timedelta(days=1, microseconds=7),
        source="ana",
        private=True,
    )
    storage.save([saved])
    held = storage.get_record(saved.id)
    assert held is not None
    assert held.model_dump() == saved.model_dump()
    assert held.embedding == pytest.approx(saved.embedding, abs=1e-6)
    ((found, score),) = storage.search(saved.embedding or [])
    assert found.model_dump() == saved.model_dump()
    assert score == pytest.approx(1.0)
    assert storage.get_record("missing") is None


def test_searches_give_the_nearest_first_of_those_that_were_asked_for(
    storage: MemrelayStorage,
) -> None:
    storage.save(
        [
            record("red fast car", "/a", categories=["x"], metadata={"n": 1}),
            record("red fast bike", "/a/b", categories=["y"], metadata={"n": 2}),
            record("red boat", "/ab", categories=["x", "z"], metadata={"n": 1}),
        ]
    )
    assert nearest(storage, "red fast car") == ["red fast car", "red fast bike", "red boat"]
    assert nearest(storage, "red fast car", limit=2) == ["red fast car", "red fast bike"]
    assert nearest(storage, "red fast car", limit=0) == []
    assert nearest(storage, "red fast car", min_score=0.9) == ["red fast car"]
    assert nearest(storage, "red bike", scope_prefix="/a") == ["red fast bike", "red fast car"]
    assert nearest(storage, "red", scope_prefix="/a/b/") == ["red fast bike"]
    assert nearest(storage, "red", categories=["z", "y"]) == ["red boat", "red fast bike"]
    assert nearest(storage, "red", metadata_filter={"n": 1}) == ["red boat", "red fast car"]
    assert nearest(storage, "red", metadata_filter={"n": 1, "m": 1}) == []
    assert nearest(storage, "red", scope_prefix="/c") == []


def test_records_are_deleted_that_have_all_that_is_given(storage: MemrelayStorage) -> None:
    old = record("old", "/a", created_at=THEN, categories=["x"], metadata={"n": 1})
    new = record("new", "/a", created_at=THEN + timedelta(days=1), categories=["x"])
    other = record("other", "/ab", created_at=THEN, categories=["y"])
    storage.save([old, new, other])
    assert storage.delete(record_ids=[]) == 0
    assert storage.delete(record_ids=[other.id, "missing"], scope_prefix="/a") == 0
    assert storage.delete(categories=["x"], older_than=THEN) == 0
    assert storage.delete(categories=["x"], older_than=THEN + timedelta(hours=1)) == 1
    assert sorted(contents(storage.list_records())) == ["new", "other"]
    assert storage.delete(metadata_filter={"n": 1}) == 0
    assert storage.delete(record_ids=[new.id, new.id]) == 1
    storage.save([record(f"many {n}", "/many") for n in range(120)])
    ids = [one.id for one in storage.list_records("/many")]
    assert storage.delete(record_ids=[*ids, other.id], scope_prefix="/many") == 120
    assert storage.delete() == 1
    assert storage.count() == 0


def test_an_update_replaces_and_keeps_the_vector_unless_it_brings_one(
    storage: MemrelayStorage,
) -> None:
    first = record("red fast car", "/a", importance=0.1)
    storage.save([first])
    storage.update(first.model_copy(update={"importance": 0.7, "embedding": None}))
    held = storage.get_record(first.id)
    assert held is not None
    assert held.importance == 0.7
    assert held.embedding == pytest.approx(first.embedding, abs=1e-6)
    storage.update(record("blue boat", "/b", id=first.id))
    assert nearest(storage, "blue boat", min_score=0.9) == ["blue boat"]
    assert storage.count("/a") == 0
    with pytest.raises(ValueError, match="without an embedding"):
        storage.update(MemoryRecord(content="nothing is known of this"))


def test_records_are_listed_newest_first(storage: MemrelayStorage) -> None:
    days = [3, 1, 4, 0, 2]
    storage.save([record(str(n), "/n", created_at=THEN + timedelta(days=n)) for n in days])
    assert contents(storage.list_records()) == ["4", "3", "2", "1", "0"]
    assert contents(storage.list_records("/n", limit=2, offset=1)) == ["3", "2"]
    assert storage.list_records("/m") == storage.list_records(limit=0) == []


def test_scopes_and_categories_are_told(storage: MemrelayStorage) -> None:
    storage.save(
        [
            record("one", "/a/b/c", categories=["x", "y"], created_at=THEN),
            record("two", "/a/d", categories=["x"], created_at=THEN + timedelta(days=1)),
            record("three", "/ab/e"),
            record("four"),
        ]
    )
    assert storage.list_scopes() == storage.list_scopes("/") == ["/a", "/ab"]
    assert storage.list_scopes("/a/") == ["/a/b", "/a/d"]
    assert storage.list_scopes("/a/d") == []
    assert storage.list_categories() == {"x": 2, "y": 1}
    assert storage.list_categories("/a/d") == {"x": 1}
    assert (storage.count(), storage.count("/"), storage.count("/a")) == (4, 4, 2)
    info = storage.get_scope_info("/a")
    assert (info.path, info.record_count, info.categories) == ("/a", 2, ["x", "y"])
    assert (info.oldest_record, info.newest_record) == (THEN, THEN + timedelta(days=1))
    assert info.child_scopes == ["/a/b", "/a/d"]
    assert storage.get_scope_info("/none").record_count == 0


def test_a_scope_is_reset_and_its_neighbours_stay(storage: MemrelayStorage) -> None:
    storage.save([record("one", "/a/b"), record("two", "/a"), record("three", "/ab")])
    storage.reset("/a")
    assert contents(storage.list_records()) == ["three"]
    storage.reset()
    assert storage.count() == 0


def test_a_copied_crew_remembers_in_the_same_place(storage: MemrelayStorage) -> None:
    assert copy.deepcopy({"storage": storage})["storage"] is storage


async def test_the_asynchronous_methods_do_the_same(storage: MemrelayStorage) -> None:
    await storage.asave([record("red car", "/a"), record("red boat", "/b")])
    found = await storage.asearch(embed(["red car"])[0], scope_prefix="/a", limit=5)
    assert [one.content for one, _ in found] == ["red car"]
    assert await storage.adelete(scope_prefix="/a") == 1
    assert storage.count() == 1


def test_vectors_that_do_not_fit_are_named(storage: MemrelayStorage, relay: Memrelay) -> None:
    short = record("one").model_copy(update={"embedding": [1.0] * (DIMENSIONS - 1)})
    with pytest.raises(EmbeddingDimensionMismatchError):
        storage.save([record("two"), short])
    with pytest.raises(EmbeddingDimensionMismatchError):
        storage.search([1.0])
    assert storage.count() == 0
    with pytest.raises(ConfigError, match="embeds itself"):
        MemrelayStorage(relay, source="default").save([record("one")])
