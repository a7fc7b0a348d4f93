"""Answers that are kept: for so long, so many, and never after a write of the same user."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from memrelay.compat.memory_driver.base import BaseMemoryDriver
from memrelay.compat.memory_driver.cache import CachedMemoryDriver


class Book(BaseMemoryDriver):
    """Keeps lists; counts the questions. ``before`` is called before a question is answered."""

    def __init__(self) -> None:
        self.asked = 0
        self.lines: dict[str, list[str]] = {}
        self.after_look: Callable[[], None] = lambda: None

    def recall(self, user_id: str, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        self.asked += 1
        found = [{"content": line, "tags": []} for line in self.lines.get(user_id, [])]
        self.after_look()
        return found

    def recall_global_knowledge(
        self, query: str, *args: Any, **kwargs: Any
    ) -> list[dict[str, Any]]:
        return self.recall("")

    def store(self, user_id: str, content: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        self.lines.setdefault(user_id, []).append(content)
        return {}

    def store_global_knowledge(self, content: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return self.store("", content)

    def delete(self, memory_id: str, user_id: str | None = None) -> bool:
        self.lines.clear()
        return True

    def health_check(self) -> dict[str, Any]:
        return {}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def cached(book: Book, clock: Clock) -> CachedMemoryDriver:
    return CachedMemoryDriver(book, seconds=10, entries=3, clock=clock)


def test_the_same_question_is_asked_once(cached: CachedMemoryDriver, book: Book) -> None:
    for _ in range(3):
        assert cached.recall("ana", query="x") == []
    assert book.asked == 1
    cached.recall("ana", query="y")
    cached.recall("ana", query="x", exclude_tags=["t"])
    cached.recall("bo", query="x")
    assert book.asked == 4


def test_an_answer_is_kept_for_so_long(
    cached: CachedMemoryDriver, book: Book, clock: Clock
) -> None:
    cached.recall("ana")
    clock.now += 9.9
    cached.recall("ana")
    assert book.asked == 1
    clock.now += 0.2
    cached.recall("ana")
    assert book.asked == 2


def test_the_least_recently_used_go_first(cached: CachedMemoryDriver, book: Book) -> None:
    for query in ("1", "2", "3", "1", "4"):
        cached.recall("ana", query=query)
    assert book.asked == 4
    cached.recall("ana", query="1")
    assert book.asked == 4
    cached.recall("ana", query="2")
    assert book.asked == 5


@pytest.mark.parametrize(
    "write",
    [
        lambda cached: cached.store("ana", "new"),
        lambda cached: cached.store_many([{"user_id": "ana", "content": "new"}]),
        lambda cached: cached.delete("id", "ana"),
        lambda cached: cached.delete("id"),
    ],
)
def test_a_write_is_seen_at_once(
    cached: CachedMemoryDriver, book: Book, write: Callable[[CachedMemoryDriver], None]
) -> None:
    cached.store("ana", "old")
    assert [found["content"] for found in cached.recall("ana")] == ["old"]
    write(cached)
    assert [found["content"] for found in cached.recall("ana")] == book.lines.get("ana", [])


def test_others_keep_their_answers(cached: CachedMemoryDriver, book: Book) -> None:
    cached.recall("bo")
    cached.recall_global_knowledge("pages")
    cached.store("ana", "new")
    cached.recall("bo")
    cached.recall_global_knowledge("pages")
    assert book.asked == 2
    cached.store_global_knowledge("page", "category")
    assert len(cached.recall_global_knowledge("pages")) == 1


def test_an_answer_from_before_a_write_is_not_kept(cached: CachedMemoryDriver, book: Book) -> None:
    """The write falls between the look and the answer."""

    def write() -> None:
        book.after_look = lambda: None
        cached.store("ana", "meanwhile")

    book.after_look = write
    assert cached.recall("ana") == []
    assert [found["content"] for found in cached.recall("ana")] == ["meanwhile"]


def test_what_a_caller_does_to_an_answer_stays_with_the_caller(
    cached: CachedMemoryDriver, book: Book
) -> None:
    cached.store("ana", "mine")
    for _ in range(2):
        answer = cached.recall("ana")
        answer[0]["tags"].append("scribble")
        answer.clear()
    assert cached.recall("ana") == [{"content": "mine", "tags": []}]


def test_threads_never_see_less_than_they_wrote(book: Book) -> None:
    cached = CachedMemoryDriver(book, seconds=60, entries=100)
    started = threading.Barrier(4)

    def write(user: str) -> None:
        started.wait()
        for n in range(200):
            cached.store(user, f"{n}")
            assert len(cached.recall(user)) == n + 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, ["ana", "bo", "cy", "di"]))
