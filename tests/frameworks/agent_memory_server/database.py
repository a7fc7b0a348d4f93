"""The database itself: six methods, every operator of every filter, modes and scores, pages, loops."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from agent_memory_server.filters import CreatedAt, Id, MemoryType, Namespace, Topics, UserId
from agent_memory_server.memory_vector_db_factory import create_embeddings, create_memory_vector_db
from agent_memory_server.models import (
    MemoryRecord,
    MemoryRecordResult,
    SearchModeEnum,
    SearchScoreTypeEnum,
)
from filter_cases import ARGUMENTS, CORPUS, DAY, FILTERS, RUN, expected

from memrelay.client import AsyncMemrelay
from memrelay.compat.agent_memory_server import MemrelayMemoryVectorDatabase
from memrelay.errors import ConfigError, InvalidRequest, Unavailable


@pytest.fixture(scope="module", autouse=True)
def _corpus() -> None:
    """Added on a loop of its own: the database of a process serves many."""

    async def add() -> None:
        database = create_memory_vector_db()
        assert await database.add_memories(CORPUS) == [record.id for record in CORPUS]
        await database.close()  # type: ignore[attr-defined]

    asyncio.run(add())


@pytest.mark.parametrize("filter", FILTERS, ids=repr)
async def test_a_filter_selects_what_its_operators_say(
    database: MemrelayMemoryVectorDatabase, filter: Any
) -> None:
    wanted = {"id": Id(startswith=RUN), ARGUMENTS[filter.field]: filter}
    listed = await database.list_memories(**wanted, limit=1000)
    ids = [memory.id for memory in listed.memories if memory.id.startswith(RUN)]
    assert ids == expected(wanted.values())
    assert listed.total == len(listed.memories)


async def test_every_operator_finds_something_and_leaves_something_out() -> None:
    for kind in {type(filter) for filter in FILTERS}:
        found = [len(expected([filter])) for filter in FILTERS if type(filter) is kind]
        assert any(0 < number < len(CORPUS) for number in found), kind


async def test_filters_hold_together_in_lists_and_searches(
    database: MemrelayMemoryVectorDatabase,
) -> None:
    wanted = {
        "id": Id(startswith=RUN),
        "user_id": UserId(ne="anna"),
        "topics": Topics(any=["tea", "tea-time"]),
        "memory_type": MemoryType(any=["semantic", "episodic"]),
        "created_at": CreatedAt(gte=DAY + timedelta(hours=2), lt=DAY + timedelta(hours=20)),
    }
    ids = expected(wanted.values())
    assert 1 < len(ids) < 12
    listed = await database.list_memories(**wanted)
    assert [memory.id for memory in listed.memories] == ids
    for mode in SearchModeEnum:
        found = await database.search_memories("note number", search_mode=mode, **wanted)
        assert {memory.id for memory in found.memories} == set(ids), mode


@pytest.mark.parametrize(
    "filter",
    [
        {"user_id": UserId(eq="")},
        {"user_id": UserId(ne="")},
        {"topics": Topics(any=["tea", ""])},
        {"namespace": Namespace(all=[""])},
        {"user_id": UserId()},
        {"created_at": CreatedAt()},
    ],
    ids=repr,
)
async def test_a_filter_that_says_nothing_is_refused(
    database: MemrelayMemoryVectorDatabase, filter: dict[str, Any]
) -> None:
    """agent-memory-server's Redis answers UserId(eq="") with the memories of everyone."""
    with pytest.raises(ValueError, match=r"empty value|no filter"):
        await database.list_memories(**filter)
    with pytest.raises(ValueError, match=r"empty value|no filter"):
        await database.search_memories("note", **filter)


async def test_an_unknown_filter_is_refused(database: MemrelayMemoryVectorDatabase) -> None:
    with pytest.raises(TypeError, match="unknown filters: mood"):
        await database.list_memories(mood=UserId(eq="ana"))


async def test_a_record_comes_back_as_it_was(
    database: MemrelayMemoryVectorDatabase, own: str
) -> None:
    record = MemoryRecord(
        id=own,
        text="  all of it, with spaces and 😀  ",
        session_id="s",
        user_id="u",
        namespace="n",
        created_at=DAY,
        last_accessed=DAY + timedelta(microseconds=1),
        updated_at=DAY + timedelta(days=1),
        persisted_at=DAY + timedelta(days=2),
        event_date=datetime(1066, 10, 14, tzinfo=UTC),
        pinned=True,
        access_count=3,
        topics=["x", "y z"],
        entities=[],
        extracted_from=["message-1"],
        memory_type="episodic",
        discrete_memory_extracted="t",
        extraction_strategy="summary",
        extraction_strategy_config={"max": 3, "deep": {"list": [1, "2", None]}},
    )
    await database.add_memories([record])
    assert record.memory_hash == database.generate_memory_hash(record)
    (found,) = (await database.list_memories(id=Id(eq=own))).memories
    assert isinstance(found, MemoryRecordResult)
    assert found.model_dump(exclude={"dist", "score", "score_type"}) == record.model_dump()
    assert (found.dist, found.score, found.score_type) == (0.0, None, None)


async def test_an_update_may_be_what_was_found(
    database: MemrelayMemoryVectorDatabase, own: str
) -> None:
    await database.add_memories([MemoryRecord(id=own, text="before", user_id=own)])
    (found,) = (await database.search_memories("before", user_id=UserId(eq=own))).memories
    changed = found.model_copy(update={"text": "after", "user_id": None})
    assert await database.update_memories([changed]) == 1
    (there,) = (await database.list_memories(id=Id(eq=own))).memories
    assert (there.text, there.user_id) == ("after", None)
    assert await database.count_memories(user_id=own) == 0


async def test_what_was_added_is_found_at_once_in_every_mode(
    database: MemrelayMemoryVectorDatabase, own: str
) -> None:
    for index in range(5):
        text = f"the walrus counts to {index}"
        await database.add_memories([MemoryRecord(id=f"{own}{index}", text=text, user_id=own)])
        for mode in SearchModeEnum:
            found = await database.search_memories(
                text, search_mode=mode, user_id=UserId(eq=own), limit=10
            )
            assert found.memories[0].text == text, mode
        assert await database.count_memories(user_id=own) == index + 1


async def test_semantic_scores_are_cosines(database: MemrelayMemoryVectorDatabase) -> None:
    query = "coffee"
    found = await database.search_memories(query, id=Id(startswith=RUN), limit=24)
    (axis,) = await database.embeddings.aembed_documents([query])
    vectors = await database.embeddings.aembed_documents([one.text for one in found.memories])
    for memory, vector in zip(found.memories, vectors, strict=True):
        cosine = sum(a * b for a, b in zip(axis, vector, strict=True))
        assert memory.dist == pytest.approx(1 - cosine, abs=1e-3)
        assert memory.score == pytest.approx(max(0.0, 1 - memory.dist))
        assert memory.score_type == SearchScoreTypeEnum.SEMANTIC
    assert [one.dist for one in found.memories] == sorted(one.dist for one in found.memories)


@pytest.mark.parametrize("mode", [SearchModeEnum.KEYWORD, SearchModeEnum.HYBRID])
async def test_other_scores_are_shares_of_the_best(
    database: MemrelayMemoryVectorDatabase, mode: SearchModeEnum
) -> None:
    found = await database.search_memories(
        "note about coffee", search_mode=mode, id=Id(startswith=RUN), limit=24
    )
    scores = [memory.score for memory in found.memories]
    assert scores[0] == 1.0
    assert scores == sorted(scores, reverse=True)
    assert 0.0 <= scores[-1] < 1.0
    for memory in found.memories:
        assert memory.dist == pytest.approx(1 - memory.score)
        assert memory.score_type == SearchScoreTypeEnum(mode.value)


async def test_hybrid_alpha_is_what_vectors_count(
    database: MemrelayMemoryVectorDatabase, own: str
) -> None:
    texts = {
        "word": "zugzwang, says my grandmother, who bakes bread on Sundays",
        "meaning": "New York is a big city",
    }
    for name, text in texts.items():
        await database.add_memories([MemoryRecord(id=f"{own}{name}", text=text, user_id=own)])
    query = "zugzwang, Boston, Chicago, towns, urban metropolis"
    best = {}
    for alpha in (0.0, 1.0):
        found = await database.search_memories(
            query,
            search_mode=SearchModeEnum.HYBRID,
            hybrid_alpha=alpha,
            user_id=UserId(eq=own),
        )
        best[alpha] = found.memories[0].id.removeprefix(own)
    assert best == {0.0: "word", 1.0: "meaning"}


async def test_a_threshold_is_a_distance_and_only_of_vectors(
    database: MemrelayMemoryVectorDatabase,
) -> None:
    wanted = {"id": Id(startswith=RUN), "limit": 24}
    all_of_them = (await database.search_memories("coffee", **wanted)).memories
    threshold = all_of_them[7].dist
    near = await database.search_memories("coffee", distance_threshold=threshold, **wanted)
    assert [one.id for one in near.memories] == [
        one.id for one in all_of_them if one.dist <= threshold
    ]
    with pytest.raises(ValueError, match="only supported for semantic"):
        await database.search_memories(
            "coffee", SearchModeEnum.KEYWORD, distance_threshold=0.5, **wanted
        )


async def test_recency_brings_the_lately_used_to_the_top(
    database: MemrelayMemoryVectorDatabase, own: str
) -> None:
    now = datetime.now(UTC)
    ages = {"old": 300, "new": 0, "middle": 10}
    await database.add_memories(
        [
            MemoryRecord(
                id=f"{own}{name}",
                text="the same words",
                user_id=own,
                created_at=now - timedelta(days=days),
                last_accessed=now - timedelta(days=days),
            )
            for name, days in ages.items()
        ]
    )
    for mode in SearchModeEnum:
        found = await database.search_memories(
            "the same words",
            search_mode=mode,
            user_id=UserId(eq=own),
            server_side_recency=True,
            recency_params={"semantic_weight": 0.5, "recency_weight": 0.5},
        )
        names = [memory.id.removeprefix(own) for memory in found.memories]
        assert names == ["new", "middle", "old"], mode


@pytest.mark.parametrize("mode", [None, *SearchModeEnum])
async def test_pages_follow_each_other_to_the_end(
    database: MemrelayMemoryVectorDatabase, mode: SearchModeEnum | None
) -> None:
    seen: list[str] = []
    offset: int | None = 0
    while offset is not None:
        wanted = {"id": Id(startswith=RUN), "limit": 7, "offset": offset}
        if mode is None:
            page = await database.list_memories(**wanted)
        else:
            page = await database.search_memories("note", search_mode=mode, **wanted)
        assert page.total == offset + len(page.memories)
        assert page.next_offset in (offset + 7, None)
        seen += [memory.id for memory in page.memories]
        offset = page.next_offset
    assert sorted(seen) == [record.id for record in CORPUS]
    beyond = await database.list_memories(id=Id(startswith=RUN), limit=7, offset=100)
    assert (beyond.memories, beyond.total, beyond.next_offset) == ([], 24, None)


async def test_a_search_ranks_two_hundred(
    database: MemrelayMemoryVectorDatabase, own: str, caplog: pytest.LogCaptureFixture
) -> None:
    await database.add_memories(
        [MemoryRecord(id=f"{own}{i:03}", text=f"text {i}", user_id=own) for i in range(230)]
    )
    wanted = {"user_id": UserId(eq=own)}
    found = await database.search_memories("text", limit=220, **wanted)
    assert (len(found.memories), found.total, found.next_offset) == (200, 200, None)
    assert "200 are ranked" in caplog.text
    listed = await database.list_memories(limit=1000, **wanted)
    assert listed.total == await database.count_memories(user_id=own) == 230


async def test_counting_takes_plain_strings(
    database: MemrelayMemoryVectorDatabase, own: str
) -> None:
    await database.add_memories(
        [
            MemoryRecord(id=f"{own}1", text="one", user_id=own, namespace="n", session_id="s"),
            MemoryRecord(id=f"{own}2", text="two", user_id=own, namespace="n"),
            MemoryRecord(id=f"{own}3", text="three", user_id=own),
        ]
    )
    assert await database.count_memories(user_id=own) == 3
    assert await database.count_memories(user_id=own, namespace="n") == 2
    assert await database.count_memories("n", own, "s") == 1
    assert await database.count_memories() >= 3
    for name in ("user_id", "namespace", "session_id"):
        with pytest.raises(ValueError, match="empty"):
            await database.count_memories(**{name: ""})


async def test_deletes_are_counted_and_final(
    database: MemrelayMemoryVectorDatabase, own: str
) -> None:
    ids = [f"{own}{index}" for index in range(4)]
    await database.add_memories([MemoryRecord(id=id, text=id, user_id=own) for id in ids])
    assert await database.delete_memories([]) == 0
    assert await database.delete_memories([ids[0], ids[1], ids[1], f"{own}-none"]) == 2
    assert await database.delete_memories(ids[:2]) == 0
    listed = await database.list_memories(user_id=UserId(eq=own))
    assert [memory.id for memory in listed.memories] == ids[2:]
    await database.add_memories([MemoryRecord(id=ids[0], text="again", user_id=own)])
    assert await database.count_memories(user_id=own) == 3


async def test_nothing_added_is_nothing(database: MemrelayMemoryVectorDatabase) -> None:
    assert await database.add_memories([]) == []
    assert await database.update_memories([]) == 0


def test_one_database_serves_loop_after_loop(own: str) -> None:
    database = create_memory_vector_db()
    assert isinstance(database, MemrelayMemoryVectorDatabase)

    async def once(index: int) -> int:
        await database.add_memories([MemoryRecord(id=f"{own}{index}", text="x", user_id=own)])
        return await database.count_memories(user_id=own)

    assert [asyncio.run(once(index)) for index in range(3)] == [1, 2, 3]


async def test_a_source_that_embeds_itself_is_refused(own: str) -> None:
    database = MemrelayMemoryVectorDatabase(create_embeddings(), AsyncMemrelay, source="own")
    with pytest.raises(ConfigError, match='embedding = "external" and dimensions = 256'):
        await database.add_memories([MemoryRecord(id=own, text="text")])
    await database.close()


async def test_a_source_of_other_dimensions_is_refused(own: str) -> None:
    database = MemrelayMemoryVectorDatabase(create_embeddings(), AsyncMemrelay, source="narrow")
    with pytest.raises(ConfigError, match="does not take vectors of 256 dimensions"):
        await database.add_memories([MemoryRecord(id=own, text="text")])
    with pytest.raises(ConfigError, match="does not take vectors of 256 dimensions"):
        await database.search_memories("text")
    await database.close()


async def test_a_source_that_declares_no_fields_says_which_it_needs(own: str) -> None:
    database = MemrelayMemoryVectorDatabase(create_embeddings(), AsyncMemrelay, source="plain")
    await database.add_memories([MemoryRecord(id=own, text="text", namespace="n")])
    assert (await database.list_memories(namespace=Namespace(eq="n"))).total == 1
    with pytest.raises(InvalidRequest, match="declares as filterable"):
        await database.list_memories(namespace=Namespace(startswith="n"))
    await database.close()


async def test_a_service_that_is_away_is_unavailable(own: str) -> None:
    def connect() -> AsyncMemrelay:
        return AsyncMemrelay("http://127.0.0.1:9", patience=0.1)

    database = MemrelayMemoryVectorDatabase(create_embeddings(), connect, source="default")
    with pytest.raises(Unavailable):
        await database.add_memories([MemoryRecord(id=own, text="text")])
    with pytest.raises(Unavailable):
        await database.count_memories()
    await database.close()
