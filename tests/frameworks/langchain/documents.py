"""Our LangChain adapters beyond LangChain's own tests."""

from __future__ import annotations

import math
import sys
import time
from uuid import uuid4

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from memrelay import Memrelay
from memrelay.compat.langchain import MemrelayRetriever, MemrelayValueStore, MemrelayVectorStore
from memrelay.errors import InvalidRequest

TEXTS = ["Ana prefers window seats.", "Ana is allergic to peanuts.", "Ben plays the cello."]
METADATAS = [
    {"year": 2020, "who": "ana"},
    {"year": 2024, "who": "ana"},
    {"year": 2024, "who": "ben"},
]


class Angles(Embeddings):
    """A text is an angle in degrees: a vector of six, of which two count."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        angle = math.radians(float(text))
        return [math.cos(angle), math.sin(angle), 0.0, 0.0, 0.0, 0.0]


@pytest.fixture
def store(relay: Memrelay, user: str) -> MemrelayVectorStore:
    return MemrelayVectorStore.from_texts(TEXTS, None, METADATAS, relay=relay, user_id=user)


@pytest.fixture
def angles(relay: Memrelay, user: str) -> MemrelayVectorStore:
    return MemrelayVectorStore(Angles(), relay=relay, source="brought", user_id=user)


def texts(found: list[Document]) -> list[str]:
    return [document.page_content for document in found]


def test_no_package_of_the_server_is_needed() -> None:
    ours = {"celery", "kombu", "redis", "fastapi", "msgspec", "api", "backends", "workers", "mcp"}
    assert not ours & sys.modules.keys()


def test_filters_are_memrelays(store: MemrelayVectorStore) -> None:
    assert len(store.similarity_search("Ana", k=9)) == 3
    for filter, expected in [
        ({"metadata.who": "ben"}, TEXTS[2:]),
        ({"metadata.year": {"$gt": 2020}, "metadata.who": "ana"}, TEXTS[1:2]),
    ]:
        assert texts(store.similarity_search("Ana", k=9, filter=filter)) == expected
    retriever = store.as_retriever(search_kwargs={"k": 9, "filter": {"metadata.who": "ben"}})
    assert texts(retriever.invoke("Ana")) == TEXTS[2:]
    assert len(retriever.invoke("Ana", filter={"metadata.who": "ana"})) == 2
    ours = MemrelayRetriever(vectorstore=store, filter={"metadata.who": "ben"})
    assert texts(ours.invoke("Ana", mode="keyword")) == []
    assert texts(ours.invoke("cello", mode="keyword")) == TEXTS[2:]


def test_scores_are_cosines_and_relevance_is_from_0_to_1(angles: MemrelayVectorStore) -> None:
    angles.add_texts(["0", "60", "180"])
    scored = angles.similarity_search_with_score("0", k=3)
    assert [document.page_content for document, _ in scored] == ["0", "60", "180"]
    assert [score for _, score in scored] == pytest.approx([1, 0.5, -1], abs=1e-3)
    relevant = angles.similarity_search_with_relevance_scores("0", k=3, score_threshold=0.5)
    assert [score for _, score in relevant] == pytest.approx([1, 0.75], abs=1e-3)
    by_vector = angles.similarity_search_by_vector(Angles().embed_query("170"), k=1)
    assert texts(by_vector) == ["180"]


async def test_marginal_relevance_is_that_of_langchain(angles: MemrelayVectorStore) -> None:
    given = ["0", "5", "10", "40", "70", "100", "133", "179"]
    angles.add_texts(given)
    vectors = Angles().embed_documents(given)
    for query, lambda_mult in (("3", 0.5), ("91", 0.2), ("47", 0.8), ("21", 0.0), ("21", 1.0)):
        vector = Angles().embed_query(query)
        expected = maximal_marginal_relevance(np.array(vector), vectors, lambda_mult, k=4)
        options = {"k": 4, "lambda_mult": lambda_mult}
        theirs = [given[at] for at in expected]
        assert texts(angles.max_marginal_relevance_search(query, **options)) == theirs
        found = await angles.amax_marginal_relevance_search_by_vector(vector, **options)
        assert texts(found) == theirs


def test_marginal_relevance_needs_no_embedding_of_the_caller(store: MemrelayVectorStore) -> None:
    store.add_texts(["Ana prefers window seats!", "Ana prefers a window seat."])
    found = store.max_marginal_relevance_search("where does Ana sit?", k=3, lambda_mult=0.2)
    assert len({text[:12] for text in texts(found)}) == 3


def test_a_store_of_one_user_deletes_hers_alone(relay: Memrelay, user: str) -> None:
    hers = MemrelayVectorStore(relay=relay, user_id=user)
    his = MemrelayVectorStore(relay=relay, user_id=f"{user}-2")
    hers.add_texts(["a", "b", "c"], ids=[f"{user}-{n}" for n in range(3)])
    his.add_texts(["d"], ids=[f"{user}-d"])
    his.delete([f"{user}-0", f"{user}-d"])
    assert his.similarity_search("d") == []
    assert len(hers.get_by_ids([f"{user}-{n}" for n in range(3)])) == 3
    assert his.get_by_ids([f"{user}-0"]) == []
    hers.delete([])
    assert relay.count(user_id=user).count == 3
    hers.delete(filter={"id": f"{user}-0"})
    assert relay.count(user_id=user).count == 2
    hers.delete()
    assert relay.count(user_id=user).count == 0


def test_more_than_one_request_can_bring_are_added_and_deleted(relay: Memrelay, user: str) -> None:
    embedding = DeterministicFakeEmbedding(size=6)
    store = MemrelayVectorStore(embedding, relay=relay, source="brought", user_id=user)
    given = [f"text {n} " + "x" * 12000 for n in range(1100)]
    ids = [f"{user}-{n:04}-" + "é" * 100 for n in range(1100)]
    assert store.add_texts(given, ids=ids) == ids
    assert texts(store.get_by_ids(ids)) == given
    store.delete(ids[:-1])
    assert [document.id for document in store.similarity_search("text", k=9)] == ids[-1:]


def test_a_write_need_not_be_waited_for(relay: Memrelay, user: str) -> None:
    store = MemrelayVectorStore(relay=relay, user_id=user, wait=0)
    (id,) = store.add_texts(["Ana plays the cello."])
    until = time.monotonic() + 60
    while not store.get_by_ids([id]):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_what_does_not_fit_is_refused(relay: Memrelay, store: MemrelayVectorStore) -> None:
    with pytest.raises(ValueError, match="1 metadatas for 2 texts"):
        store.add_texts(["a", "b"], [{}])
    with pytest.raises(InvalidRequest, match="/memories/0/text"):
        store.add_texts([" "])
    brought = MemrelayVectorStore(Angles(), relay=relay)
    with pytest.raises(InvalidRequest, match="embeds texts itself"):
        brought.add_texts(["0"])


def test_values_come_back_exactly(relay: Memrelay) -> None:
    store = MemrelayValueStore(relay=relay, namespace=uuid4().hex)
    given = {
        "bytes": bytes(range(256)) * 100,
        "text": " é\t😀\r\n ",
        "blank": "",
        "like ours": {"$bytes": "AA=="},
        "like ours, too": {"$json": {"$bytes": 1}},
        "json": {"a": [None, True, 1, 0.5]},
        "null": None,
    }
    store.mset(list(given.items()))
    assert dict(zip(given, store.mget(list(given)), strict=True)) == given
    assert store.mget(["text", "none", "text"]) == [given["text"], None, given["text"]]


def test_keys_are_gone_through_by_any_prefix(relay: Memrelay) -> None:
    store = MemrelayValueStore(relay=relay, namespace=uuid4().hex)
    several = [f"many/{n:04}" for n in range(1500)]
    odd = ["*star", "?what", "[a]", "a*b", "axb", "100%"]
    store.mset([(key, b"x" * 600) for key in several + odd])
    assert sorted(store.yield_keys()) == sorted(several + odd)
    assert list(store.yield_keys(prefix="many/")) == several
    for key in odd:
        assert list(store.yield_keys(prefix=key)) == [key]
    store.mdelete(several)
    assert sorted(store.yield_keys()) == sorted(odd)
