"""What NAT's callers expect of a MemoryEditor, against a real memrelay."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from nat.builder.workflow_builder import WorkflowBuilder
from nat.plugin_api import MemoryEditor, MemoryItem
from nat.plugins.memrelay.errors import NotGone, NothingSelected, NotStored, UserIdRequired
from nat.plugins.memrelay.register import MemrelayMemoryConfig
from pydantic import SecretStr

from memrelay import AsyncMemrelay
from memrelay.errors import InvalidRequest, MemrelayError, NotFound, Unavailable

type MakeEditor = Callable[..., Awaitable[Any]]
type Session = Callable[..., AbstractContextManager[None]]

ALEX = [
    {"role": "user", "content": "Hi, I'm Alex. I'm a vegetarian and I'm allergic to nuts."},
    {"role": "assistant", "content": "Hello Alex! I've noted your diet and your allergy."},
]
METADATA = {
    "key_value_pairs": {"type": "profile", "relevance": "high"},
    "numbers": [0, -1, 2**53, 0.1, 1.0, 1e300],
    "nothing": None,
    "yes": True,
    "empty": {"list": [], "object": {}, "text": ""},
    "Ключ.with $dots": 'naïve 😀 \n\t"quoted"',
}


async def found(editor: Any, user: str, query: str = "anything", **options: Any) -> list[Any]:
    return await editor.search(query=query, user_id=user, **{"top_k": 50, **options})


async def texts(editor: Any, user: str) -> list[str]:
    return sorted(item.memory for item in await found(editor, user))


async def test_what_was_added_is_found_by_the_very_next_search(editor: Any, user: str) -> None:
    for number in range(10):
        await editor.add_items([MemoryItem(user_id=user, memory=f"Fact number {number}")])
        (best,) = await editor.search(f"Fact number {number}", top_k=1, user_id=user)
        assert best.memory == f"Fact number {number}"


@pytest.mark.parametrize(
    "given",
    [
        {"memory": "User prefers expensive hotels and is vegan.", "tags": ["hotel", "restaurant"]},
        {
            "memory": "As the tool adds it.",
            "conversation": [{"role": "user", "content": "As the tool adds it."}],
        },
        {
            "memory": "A summary",
            "conversation": ALEX,
            "tags": ["diet", "allergy"],
            "metadata": METADATA,
        },
        {"memory": "No one spoke", "conversation": []},
        {
            "memory": " spaces and\nlines are kept \n",
            "conversation": [{"role": "user", "content": "spaces"}],
        },
        {"memory": "Strange messages", "conversation": [{}, {"content": ""}]},
    ],
)
async def test_an_item_comes_back_as_it_was(editor: Any, user: str, given: dict[str, Any]) -> None:
    item = MemoryItem(user_id=user, **given)
    await editor.add_items([item])
    (back,) = await found(editor, user)
    assert isinstance(back, MemoryItem)
    assert back.similarity_score is not None
    assert back.model_dump(exclude={"similarity_score", "memory_id"}) == item.model_dump(
        exclude={"similarity_score"}
    )
    assert type(back.metadata.get("numbers", [1.0])[-2]) is float if given.get("metadata") else True


async def test_a_conversation_alone_is_remembered_as_what_was_said(editor: Any, user: str) -> None:
    await editor.add_items([MemoryItem(user_id=user, conversation=ALEX[:1], tags=["one"])])
    await editor.add_items([MemoryItem(user_id=user, conversation=ALEX, tags=["two"])])
    back = {item.tags[0]: item for item in await found(editor, user, "a vegetarian")}
    assert (back["one"].memory, back["one"].conversation) == (ALEX[0]["content"], ALEX[:1])
    assert back["two"].memory == "\n".join(f"{m['role']}: {m['content']}" for m in ALEX)
    assert back["two"].conversation == ALEX


async def test_a_long_conversation_is_not_limited_by_the_size_of_metadata(
    editor: Any, user: str
) -> None:
    said = [
        {"role": "user", "content": "ä 😀 " * 2000},
        {"role": "assistant", "content": "b" * 40_000},
    ]
    await editor.add_items([MemoryItem(user_id=user, conversation=said)])
    assert (await found(editor, user))[0].conversation == said


async def test_metadata_that_json_does_not_know_comes_back_as_json(editor: Any, user: str) -> None:
    when = datetime(2026, 1, 31, 12, tzinfo=UTC)
    item = MemoryItem(
        user_id=user, memory="x", metadata={"when": when, "where": Path("a/b"), "two": (1, 2)}
    )
    await editor.add_items([item])
    (back,) = await found(editor, user)
    assert back.metadata == {"when": "2026-01-31T12:00:00Z", "where": "a/b", "two": [1, 2]}
    json.dumps(back.model_dump(mode="json"))
    assert item.metadata["when"] is when


@pytest.mark.parametrize(
    "metadata",
    [
        {"x": object()},
        {"x": float("nan")},
        {"x": [float("inf")]},
        {"x": 2**53 + 1},
        {"": 1},
        {"nat_conversation": []},
    ],
)
async def test_metadata_that_would_not_come_back_is_refused(
    editor: Any, user: str, metadata: dict[str, Any]
) -> None:
    with pytest.raises((ValueError, InvalidRequest)):
        await editor.add_items([MemoryItem(user_id=user, memory="x", metadata=metadata)])
    assert await found(editor, user) == []


async def test_a_batch_is_one_request_and_all_or_nothing(
    editor: Any, relay: AsyncMemrelay, user: str
) -> None:
    items = [MemoryItem(user_id=user, memory=f"Fact number {n}") for n in range(300)]
    await editor.add_items(items)
    job = (await relay.jobs(limit=1)).jobs[0]
    assert (job.total, (await relay.count(user_id=user)).count) == (300, 300)
    items[7] = MemoryItem(user_id=user, memory="x", tags=[""])
    with pytest.raises(InvalidRequest, match="/memories/7/tags/0"):
        await editor.add_items(items)
    assert (await relay.count(user_id=user)).count == 300
    await editor.add_items([])


async def test_more_than_one_request_may_hold_are_several(
    editor: Any, relay: AsyncMemrelay, user: str
) -> None:
    await editor.add_items([MemoryItem(user_id=user, memory=f"Fact {n}") for n in range(1001)])
    assert (await relay.count(user_id=user)).count == 1001


async def test_items_in_which_nothing_is_said_are_left_out(editor: Any, user: str) -> None:
    silent = [
        None,
        [],
        [{"role": "assistant", "content": ""}],
        [{"role": "user", "content": " \n"}],
    ]
    items = [MemoryItem(user_id=user, conversation=said) for said in silent]
    await editor.add_items([*items, MemoryItem(user_id=user, memory="Something")])
    assert await texts(editor, user) == ["Something"]


async def test_parameters_of_other_providers_do_not_stop_an_add(editor: Any, user: str) -> None:
    await editor.add_items([MemoryItem(user_id=user, memory="x")], ignore_roles=["assistant"])
    assert await texts(editor, user) == ["x"]


async def test_what_the_store_refuses_is_an_error(make_editor: MakeEditor, user: str) -> None:
    editor = await make_editor(source="picky")
    with pytest.raises(NotStored, match="1 of 2 memories were refused"):
        await editor.add_items([MemoryItem(user_id=user, memory=m) for m in ("good", "a poison")])
    assert await texts(editor, user) == ["good"]


async def test_an_add_may_return_at_once(
    make_editor: MakeEditor, user: str, relay: AsyncMemrelay
) -> None:
    editor = await make_editor(wait="accepted")
    await editor.add_items([MemoryItem(user_id=user, memory="On its way")])
    job = (await relay.jobs(limit=1)).jobs[0]
    assert (await relay.wait_job(job.id)).status == "stored"
    assert await texts(editor, user) == ["On its way"]


async def test_when_waiting_takes_too_long_it_is_said(
    make_editor: MakeEditor, user: str, relay: AsyncMemrelay, caplog: pytest.LogCaptureFixture
) -> None:
    editor = await make_editor(wait_seconds=0.001)
    await editor.add_items([MemoryItem(user_id=user, memory=f"Fact {n}") for n in range(500)])
    assert "accepted, not findable yet" in caplog.text
    job = (await relay.jobs(limit=1)).jobs[0]
    assert (await relay.wait_job(job.id)).status == "stored"
    with pytest.raises(NotGone, match="accepted, and not done yet"):
        await editor.remove_items(user_id=user)
    assert await texts(editor, user) == [], "searches leave out what is about to go"


async def test_a_search_without_a_user_is_an_error_for_callers_of_any_provider(editor: Any) -> None:
    for given in ({}, {"user_id": None}, {"user_id": ""}):
        for error in (KeyError, ValueError, UserIdRequired):
            with pytest.raises(error, match="user_id"):
                await editor.search("anything", top_k=3, **given)


async def test_in_a_session_its_user_and_conversation_are_meant(
    editor: Any, user: str, session: Session
) -> None:
    other = f"{user}-other"
    await editor.add_items([MemoryItem(user_id=other, memory="Somebody else's")])
    with session(user_id=user, conversation_id=f"talk-{user}"):
        await editor.add_items([MemoryItem(user_id=user, memory="Said in a talk")])
        assert [item.memory for item in await editor.search("talk")] == ["Said in a talk"]
        assert await texts(editor, other) == ["Somebody else's"]
    await editor.add_items([MemoryItem(user_id=user, memory="Said otherwise")], session_id="s")
    (one,) = await found(editor, user, session_id=f"talk-{user}")
    assert one.memory == "Said in a talk"


async def test_no_user_reaches_the_memories_of_another(editor: Any, user: str) -> None:
    others = [f"{user} ", f" {user}", user.upper(), f"{user}*", f'{user}" OR 1', "*", "%"]
    await editor.add_items([MemoryItem(user_id=user, memory="The code word is marzipan")])
    for other in others:
        await editor.add_items([MemoryItem(user_id=other, memory=f"Of {other!r}")])
    for other in others:
        assert f"Of {other!r}" in await texts(editor, other)
        assert "marzipan" not in " ".join(await texts(editor, other))
        for mode in ("semantic", "keyword", "hybrid"):
            hits = await found(editor, other, "The code word is marzipan", mode=mode)
            assert not any("marzipan" in hit.memory for hit in hits)
        await editor.remove_items(user_id=other)
    assert await texts(editor, user) == ["The code word is marzipan"]


async def test_the_best_come_first_and_no_more_than_asked_for(editor: Any, user: str) -> None:
    told = ["Ana prefers window seats on trains.", "The stove is broken.", "Paris is in France."]
    await editor.add_items([MemoryItem(user_id=user, memory=text) for text in told])
    hits = await editor.search("Where does Ana like to sit on a train?", top_k=2, user_id=user)
    assert (len(hits), hits[0].memory) == (2, told[0])
    assert hits[0].similarity_score > hits[1].similarity_score
    assert len(await found(editor, user, top_k=100_000)) == 3
    assert len(await editor.search("seats", user_id=user)) == 3


async def test_a_blank_question_finds_nothing(editor: Any, user: str) -> None:
    await editor.add_items([MemoryItem(user_id=user, memory="x")])
    assert await found(editor, user, " \n") == []


async def test_a_search_may_be_narrowed_but_not_by_what_nobody_knows(
    editor: Any, user: str
) -> None:
    await editor.add_items(
        [
            MemoryItem(user_id=user, memory=f"Fact {n}", tags=[f"t{n}"], metadata={"kind": n})
            for n in range(3)
        ]
    )
    (one,) = await found(editor, user, filter={"tags": {"$contains": "t1"}})
    (two,) = await found(editor, user, filter={"metadata.kind": 2})
    assert (one.memory, two.memory) == ("Fact 1", "Fact 2")
    for wider in ({"user_ids": ["bob"]}, {"users": "bob"}, {"drivers": ["redis"]}):
        with pytest.raises(TypeError, match="unknown"):
            await found(editor, user, **wider)


async def test_a_memory_that_nat_did_not_write_is_found(
    editor: Any, relay: AsyncMemrelay, user: str
) -> None:
    accepted = await relay.add({"text": "By hand", "user_id": user, "tags": ["t"]}, wait=60)
    (item,) = await found(editor, user)
    assert (item.memory, item.conversation, item.tags) == ("By hand", None, ["t"])
    assert item.memory_id == accepted.memories[0].id


async def test_one_memory_is_removed_and_really_gone(
    editor: Any, relay: AsyncMemrelay, user: str
) -> None:
    await editor.add_items([MemoryItem(user_id=user, memory=f"Fact {n}") for n in range(4)])
    ids = {item.memory: item.memory_id for item in await found(editor, user)}
    await editor.remove_items(memory_id=ids["Fact 0"])
    assert await texts(editor, user) == ["Fact 1", "Fact 2", "Fact 3"]
    await editor.remove_items(memory_ids=[ids["Fact 1"], ids["Fact 2"], "no-such-memory"])
    assert await texts(editor, user) == ["Fact 3"]
    for text in ("Fact 0", "Fact 1", "Fact 2"):
        with pytest.raises(NotFound):
            await relay.get(ids[text])
    assert (await relay.count(user_id=user)).count == 1


async def test_all_of_a_user_are_removed_and_nobody_elses(
    editor: Any, relay: AsyncMemrelay, user: str
) -> None:
    other = f"{user}-other"
    await editor.add_items(
        [MemoryItem(user_id=u, memory=f"{u} {n}") for u in (user, other) for n in range(20)]
    )
    await editor.remove_items(user_id=user)
    assert await texts(editor, user) == []
    assert (await relay.count(user_id=user)).count == 0
    for driver in ("redis", "sqlite"):
        assert (await relay.search(user, user_id=user, drivers=[driver])).hits == ()
    assert (await relay.count(user_id=other)).count == 20
    await editor.add_items([MemoryItem(user_id=user, memory="Afterwards")])
    assert await texts(editor, user) == ["Afterwards"]


async def test_selectors_narrow_each_other(editor: Any, user: str) -> None:
    other = f"{user}-other"
    await editor.add_items([MemoryItem(user_id=other, memory="Not yours")])
    await editor.add_items([MemoryItem(user_id=user, memory="In a talk")], session_id="talk")
    await editor.add_items([MemoryItem(user_id=user, memory="Elsewhere")])
    (theirs,) = await found(editor, other)
    await editor.remove_items(memory_id=theirs.memory_id, user_id=user)
    assert await texts(editor, other) == ["Not yours"]
    await editor.remove_items(user_id=user, session_id="talk")
    assert await texts(editor, user) == ["Elsewhere"]
    strangers = [f"{user}-{n}" for n in range(400)]
    await editor.remove_items(memory_ids=[*strangers, theirs.memory_id], user_id=other)
    assert await texts(editor, other) == []


@pytest.mark.parametrize(
    "empty",
    [
        {},
        {"user_id": None},
        {"user_id": ""},
        {"memory_id": None},
        {"memory_id": ""},
        {"memory_ids": None},
        {"session_id": None},
        {"session_id": "talk"},
        {"user_id": "user", "memory_id": None},
        {"user_id": "user", "memory_ids": None},
        {"user_id": "user", "session_id": ""},
    ],
)
async def test_an_empty_delete_is_an_error_and_deletes_nothing(
    editor: Any, relay: AsyncMemrelay, user: str, empty: dict[str, Any]
) -> None:
    await editor.add_items([MemoryItem(user_id=user, memory="Still here")])
    before = (await relay.count()).count
    given = empty | ({"user_id": user} if empty.get("user_id") == "user" else {})
    with pytest.raises(NothingSelected):
        await editor.remove_items(**given)
    with pytest.raises(TypeError, match="unknown"):
        await editor.remove_items(user_id=user, tags=["t"])
    assert (await relay.count()).count == before


async def test_no_ids_are_no_memories(editor: Any, user: str) -> None:
    await editor.add_items([MemoryItem(user_id=user, memory="Still here")])
    await editor.remove_items(memory_ids=[])
    await editor.remove_items(memory_ids=[], user_id=user)
    assert await texts(editor, user) == ["Still here"]


async def test_what_is_busy_or_breaks_off_is_repeated_and_stored_once(
    make_editor: MakeEditor, proxy: Any, user: str
) -> None:
    editor = await make_editor(base_url=proxy.url, api_key=SecretStr("mr_secret"))
    proxy.faults += [503, 429, "answer lost"]
    await editor.add_items([MemoryItem(user_id=user, memory="Once")])
    keys = {request["idempotency-key"] for request in proxy.requests}
    assert (len(proxy.requests), len(keys)) == (4, 1)
    assert {request["authorization"] for request in proxy.requests} == {"Bearer mr_secret"}
    gaps = [later["at"] - earlier["at"] for earlier, later in pairwise(proxy.requests)]
    assert min(gaps[:2]) >= 1.0, "Retry-After asks for a second"
    assert await texts(editor, user) == ["Once"]
    proxy.faults += [503, "answer lost"]
    await editor.remove_items(user_id=user)
    assert await texts(editor, user) == []


async def test_impatience_gives_up(make_editor: MakeEditor, proxy: Any, user: str) -> None:
    editor = await make_editor(base_url=proxy.url, patience=0)
    proxy.faults += [503]
    with pytest.raises(MemrelayError):
        await editor.add_items([MemoryItem(user_id=user, memory="x")])
    editor = await make_editor(base_url="http://127.0.0.1:1", patience=0)
    with pytest.raises(Unavailable, match="is it running"):
        await found(editor, user)


async def test_the_client_is_closed_with_its_builder(user: str) -> None:
    async with WorkflowBuilder() as builder:
        editor = await builder.add_memory_client("store", MemrelayMemoryConfig())
        assert isinstance(editor, MemoryEditor)
        assert await found(editor, user) == []
    with pytest.raises(RuntimeError, match="closed"):
        await found(editor, user)


def test_the_key_is_a_secret() -> None:
    config = MemrelayMemoryConfig(api_key=SecretStr("mr_secret"))
    assert "mr_secret" not in repr(config) + str(config)


def test_nat_lists_it() -> None:
    nat = Path(sys.executable).parent / "nat"
    words = [nat, "info", "components", "-t", "memory"]
    wide = {**os.environ, "COLUMNS": "400"}
    done = subprocess.run(words, capture_output=True, text=True, env=wide, check=True)
    (row,) = [line for line in done.stdout.splitlines() if "nemo-agent-toolkit-memrelay" in line]
    assert [cell.strip() for cell in row.split("│")][3:5] == ["memory", "memrelay"]


def test_nat_starts_without_loading_the_client() -> None:
    code = "import sys, nat.plugins.memrelay.register; print('memrelay' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
