"""agent-memory-server's own tests of long-term memory that work on the database, on ours.

Its releases hold no tests. These are its repository's (``TestLongTermMemoryIntegration`` and those of
deduplication, compaction and forgetting), told again: its own functions, with real embeddings.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from agent_memory_server.filters import Entities, Namespace, SessionId, Topics, UserId
from agent_memory_server.long_term_memory import (
    count_long_term_memories,
    deduplicate_by_hash,
    deduplicate_by_id,
    deduplicate_by_semantic_search,
    delete_long_term_memories,
    forget_long_term_memories,
    get_long_term_memory_by_id,
    index_long_term_memories,
    search_long_term_memories,
    update_long_term_memory,
)
from agent_memory_server.models import MemoryRecord, MemoryTypeEnum
from redis.asyncio import Redis

pytestmark = pytest.mark.usefixtures("database", "redis")

COFFEE = (
    "User likes coffee, flat white usually",
    "They are a coffee enthusiast, favorite coffee is flatwhite",
    "User loves coffee, especially flat white",
)


def record(id: str, text: str, **fields: Any) -> MemoryRecord:
    return MemoryRecord(id=id, text=text, **fields)


async def indexed(*records: MemoryRecord) -> None:
    await index_long_term_memories(list(records))


async def test_the_best_message_of_a_session_is_found(own: str) -> None:
    await indexed(
        record(f"{own}-1", "Paris is the capital of France", session_id=own),
        record(f"{own}-2", "France is a country in Europe", session_id=own),
    )
    results = await search_long_term_memories(
        "What is the capital of France?", session_id=SessionId(eq=own), limit=1
    )
    assert results.total == 1
    assert [memory.text for memory in results.memories] == ["Paris is the capital of France"]
    assert results.memories[0].session_id == own
    assert results.memories[0].memory_type == "message"


async def test_a_strict_threshold_leaves_fewer(own: str) -> None:
    await indexed(
        record(f"{own}-1", "Paris is the capital of France", session_id=own),
        record(f"{own}-2", "France is a country in Europe", session_id=own),
    )
    totals = []
    for threshold in (0.9, 0.3, 0.05):
        results = await search_long_term_memories(
            "What is the capital of France?",
            session_id=SessionId(eq=own),
            distance_threshold=threshold,
            limit=2,
        )
        assert all(memory.dist <= threshold for memory in results.memories)
        totals.append(results.total)
    assert totals == [2, 1, 0]


@pytest.mark.parametrize("query", ["", "   "])
async def test_an_empty_query_returns_all_that_pass_the_filters(own: str, query: str) -> None:
    ids = {f"{own}-{index}" for index in range(3)}
    await indexed(
        *(record(id, f"text of {id}", session_id=own, namespace=own) for id in ids),
        record(f"{own}-other", "of another session", session_id=f"{own}x", namespace=own),
    )
    results = await search_long_term_memories(
        query, session_id=SessionId(eq=own), namespace=Namespace(eq=own), limit=10
    )
    assert results.total == 3
    assert {memory.id for memory in results.memories} == ids


async def test_topics_and_entities_filter(own: str) -> None:
    """Its issue 156."""
    rows = [
        ("Family photos are stored at home", ["family", "home", "documents"], ["photos", "folder"]),
        ("Work documents are in the office", ["work", "office", "documents"], ["documents"]),
        ("Vacation memories of last summer", ["family", "vacation"], ["summer", "folder"]),
    ]
    await indexed(
        *(
            record(f"{own}-{index}", text, namespace=own, topics=topics, entities=entities)
            for index, (text, topics, entities) in enumerate(rows)
        )
    )

    async def found(**filters: Any) -> set[str]:
        results = await search_long_term_memories(
            "family", namespace=Namespace(eq=own), limit=10, **filters
        )
        assert results.total == len(results.memories)
        return {memory.id.removeprefix(f"{own}-") for memory in results.memories}

    assert await found() == {"0", "1", "2"}
    assert await found(topics=Topics(any=["family"])) == {"0", "2"}
    assert await found(topics=Topics(eq="documents")) == {"0", "1"}
    assert await found(entities=Entities(any=["folder"])) == {"0", "2"}
    assert await found(topics=Topics(any=["family", "work"])) == {"0", "1", "2"}
    assert await found(topics=Topics(all=["family", "vacation"])) == {"2"}


async def test_an_id_that_is_there_is_replaced(own: str, redis: Redis) -> None:
    fields = {"user_id": own, "session_id": own, "namespace": own}
    persisted = datetime(2026, 1, 2, tzinfo=UTC)
    await indexed(record(own, "the old text", persisted_at=persisted, **fields))
    new, overwrote = await deduplicate_by_id(
        record(own, "the new text", **fields), redis_client=redis
    )
    assert overwrote
    assert new is not None
    assert new.persisted_at == persisted
    assert await get_long_term_memory_by_id(own) is None
    await indexed(new)
    there = await get_long_term_memory_by_id(own)
    assert there is not None
    assert there.text == "the new text"
    assert await count_long_term_memories(user_id=own) == 1


async def test_an_id_of_another_user_is_no_duplicate(own: str, redis: Redis) -> None:
    await indexed(record(own, "a text", user_id=own))
    memory = record(own, "a text", user_id=f"{own}-other", memory_type=MemoryTypeEnum.SEMANTIC)
    assert await deduplicate_by_id(memory, redis_client=redis) == (memory, False)


async def test_the_same_content_is_stored_once(own: str, redis: Redis) -> None:
    await indexed(record(f"{own}-1", "the same", user_id=own))
    again = record(f"{own}-2", "the same", user_id=own)
    assert await deduplicate_by_hash(again, redis_client=redis) == (None, True)
    other = record(f"{own}-3", "the same", user_id=f"{own}x")
    assert await deduplicate_by_hash(other, redis_client=redis) == (other, False)


async def test_paraphrases_are_merged_into_one(own: str, redis: Redis) -> None:
    counts = []
    for index, text in enumerate(COFFEE):
        await index_long_term_memories(
            [record(f"{own}-{index}", text, namespace=own, user_id=own, memory_type="semantic")],
            redis_client=redis,
            deduplicate=index > 0,
        )
        counts.append(await count_long_term_memories(namespace=own, user_id=own))
    assert counts == [1, 1, 1]
    results = await search_long_term_memories(
        "coffee preference flat white", namespace=Namespace(eq=own), user_id=UserId(eq=own)
    )
    assert len(results.memories) == 1
    assert "coffee" in results.memories[0].text


async def test_distinct_memories_are_kept_apart(own: str, redis: Redis) -> None:
    for index, text in enumerate(
        ["User eats a healthy diet with vegetables", "User played basketball in high school"]
    ):
        memory = record(f"{own}-{index}", text, namespace=own, user_id=own, memory_type="semantic")
        await index_long_term_memories([memory], redis_client=redis, deduplicate=True)
    assert await count_long_term_memories(namespace=own, user_id=own) == 2


async def test_paraphrases_of_another_user_are_left_alone(own: str, redis: Redis) -> None:
    await indexed(record(f"{own}-1", COFFEE[0], namespace=own, user_id=f"{own}-ana"))
    memory = record(f"{own}-2", COFFEE[2], namespace=own, user_id=f"{own}-ben")
    _, merged = await deduplicate_by_semantic_search(memory, redis_client=redis)
    assert not merged
    assert await count_long_term_memories(namespace=own) == 1


async def test_an_edited_memory_is_what_is_found(own: str) -> None:
    await indexed(record(own, "Ana lives in Rome", user_id=own, topics=["places", "old"]))
    event = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
    updates = {"text": "Ana lives in Oslo", "topics": ["places"], "event_date": event}
    edited = await update_long_term_memory(own, updates)
    assert edited is not None
    there = await get_long_term_memory_by_id(own)
    assert there is not None
    assert (there.text, there.topics, there.event_date) == ("Ana lives in Oslo", ["places"], event)
    assert there.memory_hash == edited.memory_hash
    assert await update_long_term_memory(f"{own}-none", {"text": "nobody"}) is None


async def test_deleted_memories_are_gone(own: str) -> None:
    await indexed(*(record(f"{own}-{index}", f"text {index}", user_id=own) for index in range(3)))
    assert await delete_long_term_memories([f"{own}-0", f"{own}-1", f"{own}-none"]) == 2
    assert await count_long_term_memories(user_id=own) == 1
    assert await delete_long_term_memories([]) == 0
    results = await search_long_term_memories("text 0", user_id=UserId(eq=own))
    assert [memory.id for memory in results.memories] == [f"{own}-2"]


async def test_what_is_too_old_is_forgotten(own: str) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=400)
    old = {"last_accessed": long_ago, "created_at": long_ago, "namespace": own}
    await indexed(
        record(f"{own}-old", "an old memory", **old),
        record(f"{own}-pinned", "an old memory that is pinned", pinned=True, **old),
        record(f"{own}-new", "a new memory", namespace=own),
    )
    policy = {"max_age_days": 365.0}
    tried = await forget_long_term_memories(policy, namespace=own, dry_run=True)
    assert (tried["scanned"], tried["deleted_ids"]) == (3, [f"{own}-old"])
    assert await count_long_term_memories(namespace=own) == 3
    done = await forget_long_term_memories(policy, namespace=own, dry_run=False)
    assert done["deleted"] == 1
    assert await get_long_term_memory_by_id(f"{own}-old") is None
    assert await count_long_term_memories(namespace=own) == 2
