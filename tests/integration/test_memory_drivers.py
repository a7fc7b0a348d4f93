"""What every memory driver does alike: one suite over all of them, on real servers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from memrelay.compat.memory_driver import BaseMemoryDriver, get_memory_driver
from memrelay.compat.memory_driver.base import NewMemory
from memrelay.compat.memory_driver.record import KINDS, Record
from memrelay.compat.memory_driver.shelved import ShelfDriver
from tests.memory_drivers import NAMES, chosen

PAGE = 40
"""Records: a shared service has many that others have left."""


@pytest.fixture(scope="module", params=NAMES)
def driver(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BaseMemoryDriver]:
    folder = tmp_path_factory.mktemp("drivers")
    with chosen(request.param, folder, request.getfixturevalue):
        yield get_memory_driver()


@pytest.fixture
def topic() -> str:
    """A category that no other test knows."""
    return f"topic-{uuid4().hex}"


def contents(found: list[dict[str, Any]]) -> list[str]:
    return [memory["content"] for memory in found]


def test_what_was_stored_is_recalled(driver: BaseMemoryDriver, user: str) -> None:
    stored = driver.store(
        user_id=user,
        content="User prefers window seats.",
        conversation_id="conv456",
        tags=["travel", "seat"],
        metadata={"source": "chat", "depth": {"list": [1, 2.5, None, "ü"]}},
    )
    [found] = driver.recall(user_id=user, query="where does the user like to sit?")
    assert found["score"] is not None
    assert {**found, "score": None} == stored
    assert found["id"]
    assert isinstance(found["id"], str)
    assert found["content"] == "User prefers window seats."
    assert (found["user_id"], found["conversation_id"]) == (user, "conv456")
    assert found["tags"] == ["travel", "seat"]
    assert found["metadata"] == {"source": "chat", "depth": {"list": [1, 2.5, None, "ü"]}}
    assert found["memory"] == {key: found[key] for key in ("content", "tags", "metadata")}
    assert datetime.fromisoformat(found["created_at"]).tzinfo is not None


def test_the_nearest_come_first(driver: BaseMemoryDriver, user: str) -> None:
    for content in ("The cat sleeps.", "Invoices are due in March.", "A dog barks at night."):
        driver.store(user, content)
    found = driver.recall(user, query="when are invoices due?", top_k=2)
    assert contents(found)[0] == "Invoices are due in March."
    assert len(found) == 2
    assert found[0]["score"] >= found[1]["score"]


def test_without_a_query_the_newest_come_first(driver: BaseMemoryDriver, user: str) -> None:
    for n in range(5):
        driver.store(user, f"Message {n}")
    found = driver.recall(user, top_k=3)
    assert contents(found) == ["Message 4", "Message 3", "Message 2"]
    assert [memory["score"] for memory in found] == [None] * 3
    assert contents(driver.recall(user, query="  ", top_k=1)) == ["Message 4"]


def test_without_vectors_words_decide(driver: BaseMemoryDriver, user: str) -> None:
    driver.store(user, "The password of the router is on its back.")
    driver.store(user, "Feline companions purr.")
    found = driver.recall(user, query="router password", use_vector=False)
    assert contents(found) == ["The password of the router is on its back."]
    assert found[0]["score"] > 0
    assert driver.recall(user, query="zebra", use_vector=False) == []


@pytest.mark.parametrize("query", [None, "hello there", "hello"])
def test_conversations_and_tags_narrow_what_is_found(
    driver: BaseMemoryDriver, user: str, query: str | None
) -> None:
    driver.store(user, "hello from one", "one", ["greeting"])
    driver.store(user, "hello from two", "two", ["greeting", "secret"])
    driver.store(user, "hello from nowhere")
    vector = query != "hello"

    def recalled(**narrowed: Any) -> set[str]:
        return set(contents(driver.recall(user, query=query, use_vector=vector, **narrowed)))

    assert len(recalled()) == 3
    assert recalled(conversation_id="one") == {"hello from one"}
    assert recalled(exclude_tags=["secret"]) == {"hello from one", "hello from nowhere"}
    assert recalled(exclude_tags=["secret", "greeting"]) == {"hello from nowhere"}
    assert recalled(exclude_tags=[], conversation_id="two") == {"hello from two"}


@pytest.mark.parametrize("how", [{}, {"query": "plan"}, {"query": "plan", "use_vector": False}])
def test_users_never_see_each_other(
    driver: BaseMemoryDriver, user: str, how: dict[str, Any]
) -> None:
    others = [user.upper(), f"{user} ", f"{user}:x", user[:-1], f"{user}%", f"{user}'--"]
    driver.store(user, "the plan of one")
    for other in others:
        assert driver.recall(other, **how) == []
        driver.store(other, f"the plan of {other}")
    assert contents(driver.recall(user, **how)) == ["the plan of one"]
    for other in others:
        assert contents(driver.recall(other, **how)) == [f"the plan of {other}"]


def test_knowledge_is_found_by_category(driver: BaseMemoryDriver, topic: str) -> None:
    stored = driver.store_global_knowledge(
        content="Employees may work from home two days a week.",
        category=topic.upper(),
        title="Remote Work Policy",
        doc_id=f"{topic}-1",
        metadata={"pages": 2},
    )
    driver.store_global_knowledge("The cantine opens at noon.", f"{topic}-other")
    found = driver.recall_global_knowledge("working from home", top_k=5, category=topic)
    assert [{**document, "score": None} for document in found] == [stored]
    assert (stored["category"], stored["title"]) == (topic, "Remote Work Policy")
    assert stored["doc_id"] == f"{topic}-1"
    about = {key: stored[key] for key in ("category", "title", "doc_id")}
    assert stored["metadata"] == {"pages": 2, **about}
    assert stored["tags"] == [f"category_{topic}", "global_knowledge"]
    everything = driver.recall_global_knowledge("Employees work from home two days", top_k=50)
    assert stored["id"] in [document["id"] for document in everything]
    assert driver.recall_global_knowledge("home", category=f"{topic}-none") == []


def test_a_document_replaces_the_one_with_its_doc_id(driver: BaseMemoryDriver, topic: str) -> None:
    for text in ("first edition", "second edition"):
        driver.store_global_knowledge(text, topic, doc_id=topic)
    driver.store_global_knowledge("without id", topic)
    driver.store_global_knowledge("without id", topic)
    found = driver.recall_global_knowledge("edition", category=topic)
    assert sorted(contents(found)) == ["second edition", "without id", "without id"]


def test_knowledge_and_memories_stay_apart(driver: BaseMemoryDriver, user: str, topic: str) -> None:
    document = driver.store_global_knowledge(f"holidays {topic}", topic, doc_id=topic)
    driver.store(user, f"holidays {topic}", tags=["global_knowledge", f"category_{topic}"])
    for how in ({}, {"query": "holidays"}, {"query": "holidays", "use_vector": False}):
        [memory] = driver.recall(user, **how)
        assert memory["id"] != document["id"]
    [found] = driver.recall_global_knowledge(f"holidays {topic}", category=topic)
    assert found["id"] == document["id"]
    assert not driver.delete(document["id"], user)
    assert not driver.delete(document["id"])
    assert driver.recall_global_knowledge("holidays", category=topic) == [
        {**found, "score": driver.recall_global_knowledge("holidays", category=topic)[0]["score"]}
    ]


def test_only_ones_own_memory_is_deleted(driver: BaseMemoryDriver, user: str) -> None:
    mine = driver.store(user, "mine")["id"]
    assert driver.delete(mine, f"{user}-other") is False
    assert contents(driver.recall(user)) == ["mine"]
    assert driver.delete(memory_id=mine, user_id=user) is True
    assert driver.delete(mine, user) is False
    assert driver.recall(user) == []
    assert driver.recall(user, query="mine") == []


def test_without_a_user_any_memory_is_deleted(driver: BaseMemoryDriver, user: str) -> None:
    assert driver.delete(driver.store(user, "gone")["id"]) is True
    assert driver.recall(user) == []
    assert driver.delete("mem123", user_id="user123") is False


def test_many_are_stored_at_once(driver: BaseMemoryDriver, user: str) -> None:
    many: list[NewMemory] = [
        {"user_id": user, "content": f"note number {n}", "tags": [f"t{n}"]} for n in range(120)
    ]
    stored = driver.store_many(many)
    assert contents(stored) == [memory["content"] for memory in many]
    assert len({memory["id"] for memory in stored}) == 120
    assert len(driver.recall(user, top_k=150)) == 120


def test_numbers_are_taken_for_users_and_conversations(driver: BaseMemoryDriver) -> None:
    number: Any = uuid4().int >> 80
    driver.store(number, "numbered", conversation_id=number)
    [found] = driver.recall(str(number), str(number))
    assert (found["user_id"], found["conversation_id"]) == (str(number), str(number))


@pytest.mark.parametrize(
    "wrong",
    [
        {"user_id": ""},
        {"user_id": None},
        {"content": ""},
        {"content": "  "},
        {"tags": "one"},
        {"tags": [1]},
        {"metadata": ["x"]},
        {"metadata": {"at": datetime.now()}},
        {"metadata": {"score": float("nan")}},
        {"conversation_id": ""},
        {"content": "half \ud83d"},
        {"user_id": "u\0"},
    ],
)
def test_wrong_arguments_are_value_errors(
    driver: BaseMemoryDriver, user: str, wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        driver.store(**({"user_id": user, "content": "text"} | wrong))


@pytest.mark.parametrize("top_k", [0, -1, "3", True])
def test_top_k_is_a_number_above_zero(driver: BaseMemoryDriver, user: str, top_k: Any) -> None:
    with pytest.raises(ValueError, match="top_k"):
        driver.recall(user, top_k=top_k)


def test_a_healthy_driver_says_so(driver: BaseMemoryDriver) -> None:
    status = driver.health_check()
    assert status["status"] == "healthy"
    assert status["connected"] is True
    assert status["driver"] == os.environ["MEMORY_DRIVER"]


def test_texts_of_all_kinds_come_back_as_they_were(driver: BaseMemoryDriver, user: str) -> None:
    texts = ["naïve ☕ 日本語 🚀", "'; DROP TABLE memories; --", '%s {} \\ "quoted"', "x" * 5000]
    for text in texts:
        driver.store(user, text)
    assert set(contents(driver.recall(user))) == set(texts)


def test_everything_can_be_read_page_by_page_and_put_elsewhere(
    driver: BaseMemoryDriver, user: str
) -> None:
    """What copies and replicas stand on."""
    if not isinstance(driver, ShelfDriver):
        pytest.skip("hybrid stands on others")
    driver.store_many([{"user_id": user, "content": f"{n}"} for n in range(PAGE + 5)])
    driver.store_global_knowledge("a page", user)
    seen: dict[str, Record] = {}
    for kind in KINDS:
        after: str | None = None
        while page := driver.page(kind, after, PAGE):
            ids = [record.id for record in page]
            assert ids == sorted(ids)
            assert after is None or after < ids[0]
            seen |= {record.id: record for record in page}
            after = ids[-1]
    mine = [record for record in seen.values() if user in (record.user_id, record.category)]
    assert len(mine) == PAGE + 6
    copies = [replace(r, id=f"copy-{r.id}", content=f"{r.content}!", created_at=7) for r in mine]
    assert driver.put(copies) == copies == driver.put(copies)
    memories = driver.recall(user, top_k=200)
    assert len(memories) == 2 * (PAGE + 5)
    assert [memory["created_at"][:4] for memory in memories[PAGE + 5 :]] == ["1970"] * (PAGE + 5)
    assert driver.delete(f"copy-{memories[0]['id']}", user)


def test_many_threads_use_one_driver(driver: BaseMemoryDriver, user: str) -> None:
    users = [f"{user}-{n}" for n in range(8)]

    def use(one: str) -> list[str]:
        for n in range(4):
            driver.store(one, f"{one} says {n}")
            assert driver.recall(one, query=f"says {n}")
        return contents(driver.recall(one))

    with ThreadPoolExecutor(8) as pool:
        for one, found in zip(users, pool.map(use, users), strict=True):
            assert found == [f"{one} says {n}" for n in (3, 2, 1, 0)]


_FORKS = """
import os, sys, threading
from memrelay.compat.memory_driver import get_memory_driver
from memrelay.errors import Unavailable
driver, user, survives = get_memory_driver(), sys.argv[1], sys.argv[2] == "survives"

def in_child(work):
    child = os.fork()
    if child == 0:
        try:
            os._exit(work())
        finally:
            os._exit(9)
    assert os.waitpid(child, 0)[1] == 0

def unused():
    driver.store(user, "child of an idle parent")
    return 0

def used():
    try:
        driver.store(user, "child of a busy parent")
    except Unavailable as error:
        return 8 if survives or error.code != "forked" else 0
    return 0 if len(driver.recall(user)) >= 3 else 7

in_child(unused)
driver.store(user, "parent before")
busy = [threading.Thread(target=driver.recall, args=(user,)) for _ in range(4)]
for thread in busy: thread.start()
in_child(used)
for thread in busy: thread.join()
driver.store(user, "parent after")
assert len(get_memory_driver().recall(user)) == 3 + survives

def late():
    while True: driver.recall(user)

threading.Thread(target=late, daemon=True).start()
"""


def test_it_works_on_both_sides_of_a_fork_and_lets_the_interpreter_end(
    driver: BaseMemoryDriver, user: str
) -> None:
    """With threads at work when it forks, and one at work when it ends. gRPC says that it cannot."""
    survives = "" if os.environ["MEMORY_DRIVER"] == "weaviate" else "survives"
    root = str(Path(__file__).parent.parent.parent)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FORKS, user, survives],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": root},
    )
    assert done.returncode == 0, done.stderr
