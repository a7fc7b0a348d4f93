"""Our LangGraph store where there is nothing to compare it with: times to live, the service's embeddings."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from functools import partial
from uuid import uuid4

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)

from memrelay import AsyncMemrelay, Memrelay
from memrelay.compat.langgraph import MemrelayStore
from memrelay.compat.langgraph.places import Place
from memrelay.compat.langgraph.refresh import Refresh
from memrelay.errors import ConfigError

EMBEDDINGS = DeterministicFakeEmbedding(size=6)
ANA = ("memories", "ana")
SIX_SECONDS = 6 / 60


@pytest.fixture
def name() -> str:
    return uuid4().hex


@pytest.fixture
def store(relay: Memrelay, name: str) -> MemrelayStore:
    """The service embeds, and what is said in ``text`` is what is found."""
    return MemrelayStore(relay=relay, name=name, index={"fields": ["text"]})


@pytest.fixture
def brought(relay: Memrelay, name: str) -> MemrelayStore:
    index = {"dims": 6, "embed": EMBEDDINGS, "fields": ["text", "notes[*]"]}
    return MemrelayStore(relay=relay, source="brought", name=name, index=index)


def keys(found: list) -> list[str]:
    return [item.key for item in found]


def test_what_was_put_is_got_and_found_by_what_it_says(store: MemrelayStore) -> None:
    store.put(ANA, "seat", {"text": "Ana prefers window seats.", "kind": "travel"})
    store.put(ANA, "food", {"text": "Ana is allergic to peanuts.", "kind": "health"})
    store.put(("memories", "ben"), "cello", {"text": "Ben plays the cello.", "kind": "music"})
    assert store.get(ANA, "seat").value == {"text": "Ana prefers window seats.", "kind": "travel"}
    assert store.get(ANA, "none") is None
    best = store.search(("memories",), query="where does Ana like to sit?", limit=1)
    assert keys(best) == ["seat"]
    assert 0 < best[0].score <= 1
    assert keys(store.search(ANA, query="music", filter={"kind": "health"})) == ["food"]
    assert keys(store.search(("memories", "ben"))) == ["cello"]
    store.delete(ANA, "seat")
    assert store.get(ANA, "seat") is None
    assert "seat" not in keys(store.search(ANA, query="where does Ana like to sit?"))


async def test_the_asynchronous_form_does_the_same(store: MemrelayStore) -> None:
    await asyncio.gather(*(store.aput(ANA, f"{n}", {"text": f"number {n}"}) for n in range(5)))
    assert (await store.aget(ANA, "3")).value == {"text": "number 3"}
    assert keys(await store.asearch(ANA, query="number 3", limit=1)) == ["3"]
    assert await store.alist_namespaces(prefix=("memories",)) == [ANA]
    await store.adelete(ANA, "3")
    assert await store.aget(ANA, "3") is None


def test_an_item_keeps_the_time_of_its_creation(store: MemrelayStore) -> None:
    store.put(ANA, "seat", {"text": "window"})
    first = store.get(ANA, "seat")
    store.put(ANA, "seat", {"text": "aisle"})
    second = store.get(ANA, "seat")
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at


def test_an_item_is_found_by_the_best_of_its_texts(brought: MemrelayStore) -> None:
    brought.put(ANA, "a", {"text": "first", "notes": ["second", "third"]})
    brought.put(ANA, "b", {"text": "fourth"})
    for text, key in (("first", "a"), ("third", "a"), ("fourth", "b")):
        (best, other) = brought.search(ANA, query=text)
        assert (best.key, best.score) == (key, pytest.approx(1, abs=1e-4))
        assert other.score < 0.999


def test_what_an_item_said_before_finds_it_no_more(brought: MemrelayStore, relay: Memrelay) -> None:
    brought.put(ANA, "a", {"text": "first", "notes": ["second", "third"]})
    brought.put(ANA, "a", {"text": "fourth"})
    (found,) = brought.search(ANA, query="third")
    assert found.score < 0.999
    assert relay.source("brought", namespace=brought.name).count() == 2
    brought.delete(ANA, "a")
    assert brought.search(ANA, query="fourth") == []
    assert relay.source("brought", namespace=brought.name).count() == 0


def test_an_item_that_is_not_indexed_comes_last_and_has_no_score(brought: MemrelayStore) -> None:
    brought.put(ANA, "hidden", {"text": "first"}, index=False)
    brought.put(ANA, "shown", {"text": "second"})
    found = brought.search(ANA, query="first")
    assert keys(found) == ["shown", "hidden"]
    assert found[1].score is None
    assert keys(brought.search(ANA, query="first", limit=1)) == ["shown"]


def test_values_come_back_exactly(store: MemrelayStore) -> None:
    value = {"": None, "text": " é\n\t😀 ", "n": [2**80, 0.1, -0.0, True], "d": {"x": {}}}
    deep: dict = {}
    for _ in range(40):
        deep = {"deeper": deep}
    store.put(ANA, "a", value | {"deep": deep})
    got = store.get(ANA, "a").value
    assert json.dumps(got) == json.dumps(value | {"deep": deep})
    with pytest.raises(ValueError, match="JSON"):
        store.put(ANA, "a", {"n": float("nan")})


def test_a_filter_finds_among_more_than_are_ranked(brought: MemrelayStore) -> None:
    ops = [PutOp(ANA, f"{n:03}", {"text": f"number {n}", "n": n}) for n in range(230)]
    brought.batch(ops)
    assert len(brought.search(ANA, limit=300)) == 230
    assert keys(brought.search(ANA, limit=3, offset=101)) == ["101", "102", "103"]
    assert keys(brought.search(ANA, filter={"n": {"$gte": 228}})) == ["228", "229"]
    farthest = brought.search(ANA, query="number 0", limit=200)
    left = {f"{n:03}" for n in range(230)} - {*keys(farthest)}
    for key in sorted(left)[:5]:
        assert keys(brought.search(ANA, query="number 0", filter={"n": int(key)})) == [key]


def test_conditions_that_memrelay_cannot_compare_are_decided_here(store: MemrelayStore) -> None:
    long = "x" * 2000
    store.put(
        ANA,
        "a",
        {"text": "t", "long": long, "many": True} | {f"f{n}": "y" * 100 for n in range(90)},
    )
    store.put(ANA, "b", {"text": "t", "long": long + "x", "many": 1})
    for query in (None, "t"):
        assert keys(store.search(ANA, query=query, filter={"long": long})) == ["a"]
        assert keys(store.search(ANA, query=query, filter={"f89": "y" * 100})) == ["a"]
        assert keys(store.search(ANA, query=query, filter={"many": True})) == ["a"]
        assert keys(store.search(ANA, query=query, filter={"many": 1})) == ["b"]
        assert keys(store.search(ANA, query=query, filter={"text": {"$gt": "s"}, "many": 1})) == [
            "b"
        ]
        assert store.search(ANA, query=query, filter={"long": {"$lt": 3}}) == []
        for absent in ({"f0": None}, {"f0": {"$ne": "y"}, "many": 1}):
            assert keys(store.search(ANA, query=query, filter=absent)) == ["b"]
    with pytest.raises(ValueError, match=r"\$near"):
        store.search(ANA, filter={"long": {"$near": 3}})


def test_namespaces_are_listed_by_their_ends(store: MemrelayStore) -> None:
    for space in (
        ("a", "b", "c"),
        ("a", "b", "d", "e"),
        ("a", "b", "d", "i"),
        ("a", "c", "c"),
        ("z",),
    ):
        store.put(space, "k", {"text": "t"})
    assert store.list_namespaces(prefix=("a", "b"), max_depth=3) == [
        ("a", "b", "c"),
        ("a", "b", "d"),
    ]
    assert store.list_namespaces(suffix=("c",)) == [("a", "b", "c"), ("a", "c", "c")]
    assert store.list_namespaces(prefix=("a", "*", "c")) == [("a", "b", "c"), ("a", "c", "c")]
    assert store.list_namespaces(limit=1, offset=4) == [("z",)]
    (found,) = store.batch([ListNamespacesOp((MatchCondition("suffix", ("*", "e")),))])
    assert found == [("a", "b", "d", "e")]


@pytest.mark.parametrize(
    "namespace", [(), ("",), ("a.b",), ("a", "x\0"), ("a", 3), ("langgraph", "a")]
)
def test_a_namespace_that_none_can_have_is_refused(store: MemrelayStore, namespace: tuple) -> None:
    with pytest.raises(InvalidNamespaceError):
        store.put(namespace, "k", {"text": "t"})
    if namespace and namespace[0] != "langgraph":
        for op in (PutOp(namespace, "k", {}), GetOp(namespace, "k"), SearchOp(namespace)):
            with pytest.raises(InvalidNamespaceError):
                store.batch([op])


def test_stores_with_other_names_are_apart(relay: Memrelay, store: MemrelayStore) -> None:
    other = MemrelayStore(relay=relay, name=f"{store.name}x", index={"fields": ["text"]})
    other.put(ANA, "k", {"text": "theirs"})
    store.put(ANA, "k", {"text": "ours"})
    assert store.get(ANA, "k").value == {"text": "ours"}
    assert [item.value["text"] for item in store.search((), query="theirs")] == ["ours"]


def wait_until(what: Callable[[], bool], seconds: float = 60) -> None:
    began = time.monotonic()
    while not what():
        assert time.monotonic() < began + seconds
        time.sleep(0.1)


def test_an_item_expires_after_it_was_last_read(
    store: MemrelayStore, brought: MemrelayStore
) -> None:
    for one in (store, brought):
        for key, text in (("read", "one"), ("found", "two"), ("unread", "three")):
            one.put(ANA, key, {"text": text}, ttl=SIX_SECONDS)
        one.put(ANA, "kept", {"text": "four"})
    until = time.monotonic() + 9
    while time.monotonic() < until:
        for one in (store, brought):
            assert one.get(ANA, "read") is not None
            assert keys(one.search(ANA, query="two", limit=1)) == ["found"]
            one.search(ANA, refresh_ttl=False)
        time.sleep(0.3)
    for one in (store, brought):
        assert keys(one.search(ANA, refresh_ttl=False)) == ["found", "kept", "read"]
    for one in (store, brought):
        wait_until(partial(only_what_was_kept, one))


def only_what_was_kept(store: MemrelayStore) -> bool:
    return keys(store.search(ANA, query="one", refresh_ttl=False)) == ["kept"]


def test_a_time_to_live_may_be_the_stores(relay: Memrelay, name: str) -> None:
    store = MemrelayStore(
        relay=relay, name=name, ttl={"default_ttl": SIX_SECONDS, "refresh_on_read": False}
    )
    store.put(ANA, "k", {"text": "one"})
    store.put(ANA, "kept", {"text": "one"}, ttl=None)
    wait_until(lambda: store.get(ANA, "k") is None)
    assert store.get(ANA, "kept") is not None


@pytest.mark.parametrize("written", [{"text": "new"}, None])
def test_a_read_undoes_no_write(
    relay: Memrelay, store: MemrelayStore, written: dict | None
) -> None:
    """Reads write too, to begin a time anew: under the version that they read."""
    store.put(ANA, "k", {"text": "old"}, ttl=SIX_SECONDS)
    source = relay.source(namespace=store.name)
    read = source.entry(Place(ANA, "k").name)
    time.sleep(1)
    store.batch([PutOp(ANA, "k", written)])

    async def refresh(client: AsyncMemrelay) -> None:
        await Refresh(client, client.source(namespace=store.name), None).refresh([read])

    relay.run(refresh)
    time.sleep(1)
    assert (source.count() > 0) == (written is not None)
    item = store.get(ANA, "k")
    assert (item and item.value) == written


def test_a_text_that_an_earlier_write_left_finds_nothing(
    relay: Memrelay, brought: MemrelayStore
) -> None:
    """As a driver that lags may have it, or one of two writes at once."""
    brought.put(ANA, "a", {"text": "first"})
    place = Place(ANA, "a")
    relay.source("brought", namespace=brought.name).store(
        place.part(7),
        "second",
        metadata={"of": place.name, "stamp": "earlier"},
        tags=[*place.tags, "ranked"],
        vector=EMBEDDINGS.embed_query("second"),
        wait=30,
    )
    (found,) = brought.search(ANA, query="second")
    assert found.score < 0.999


def test_an_index_that_does_not_fit_the_source_is_refused(relay: Memrelay) -> None:
    with pytest.raises(ConfigError, match="needs an index with embed"):
        MemrelayStore(relay=relay, source="brought", index={"fields": ["text"]}).get(ANA, "k")
    with pytest.raises(ConfigError, match="embeds itself"):
        MemrelayStore(relay=relay, index={"dims": 6, "embed": EMBEDDINGS}).get(ANA, "k")
