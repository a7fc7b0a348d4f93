"""Answers that are kept for some seconds: a driver before a driver."""

from __future__ import annotations

import copy
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from memrelay.compat.memory_driver.base import BaseMemoryDriver, NewMemory

_SHARDS = 256

Answer = list[dict[str, Any]]
Key = tuple[Hashable, ...]


class CachedMemoryDriver(BaseMemoryDriver):
    """Keeps at most ``entries`` answers of ``driver`` for ``seconds``; every write passes through.

    A user's write makes all that is kept for that user void, also what is being read meanwhile. Writes of
    other processes are seen when the seconds are over. ``clock`` is monotonic seconds.
    """

    def __init__(
        self,
        driver: BaseMemoryDriver,
        *,
        seconds: float,
        entries: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.driver = driver
        self._answers = _Answers(seconds, entries, clock)

    def recall(
        self,
        user_id: str,
        conversation_id: str | None = None,
        query: str | None = None,
        top_k: int = 10,
        use_vector: bool = True,
        exclude_tags: list[str] | None = None,
    ) -> Answer:
        excluded = tuple(exclude_tags or ())
        key = ("user", str(user_id), conversation_id, query, top_k, use_vector, excluded)
        return self._answers.get(
            key,
            lambda: self.driver.recall(
                user_id=user_id,
                conversation_id=conversation_id,
                query=query,
                top_k=top_k,
                use_vector=use_vector,
                exclude_tags=exclude_tags,
            ),
        )

    def recall_global_knowledge(
        self, query: str, top_k: int = 5, category: str | None = None
    ) -> Answer:
        key = ("knowledge", "", query, top_k, category)
        return self._answers.get(
            key,
            lambda: self.driver.recall_global_knowledge(
                query=query, top_k=top_k, category=category
            ),
        )

    def store(
        self,
        user_id: str,
        content: str,
        conversation_id: str | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        with self._answers.changing(("user", str(user_id))):
            return self.driver.store(
                user_id=user_id,
                content=content,
                conversation_id=conversation_id,
                tags=tags,
                metadata=metadata,
            )

    def store_many(self, memories: Sequence[NewMemory]) -> list[dict[str, Any]]:
        users = {("user", str(memory["user_id"])) for memory in memories}
        with self._answers.changing(*users):
            return self.driver.store_many(memories)

    def store_global_knowledge(
        self,
        content: str,
        category: str,
        title: str | None = None,
        doc_id: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        with self._answers.changing(("knowledge", "")):
            return self.driver.store_global_knowledge(
                content=content, category=category, title=title, doc_id=doc_id, metadata=metadata
            )

    def delete(self, memory_id: str, user_id: str | None = None) -> bool:
        """Without a user nobody knows whose it was: all that is kept is void."""
        changed = [] if user_id is None else [("user", str(user_id))]
        with self._answers.changing(*changed):
            return self.driver.delete(memory_id=memory_id, user_id=user_id)

    def health_check(self) -> dict[str, Any]:
        return self.driver.health_check()

    def close(self) -> None:
        self.driver.close()


class _Answers:
    """Least recently used first. An answer counts as long as the count of its shard is the same."""

    def __init__(self, seconds: float, most: int, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._kept: OrderedDict[Key, tuple[float, int, Answer]] = OrderedDict()
        self._counts = [0] * _SHARDS
        self._lock = threading.Lock()
        _all.add(self)

    def get(self, key: Key, ask: Callable[[], Answer]) -> Answer:
        """A copy of what is kept, or what ``ask`` gives: callers may change what they get."""
        shard = _shard(key[:2])
        with self._lock:
            count = self._counts[shard]
            until, then, kept = self._kept.get(key, (0.0, -1, []))
            if self._clock() < until and then == count:
                self._kept.move_to_end(key)
                return copy.deepcopy(kept)
        answer = ask()
        with self._lock:
            if self._counts[shard] == count:
                self._keep(key, count, answer)
        return answer

    @contextmanager
    def changing(self, *owners: Key) -> Iterator[None]:
        """Around a write of these, or of anybody: void before it, and again after it, also if it fails."""
        self._void(owners)
        try:
            yield
        finally:
            self._void(owners)

    def _keep(self, key: Key, count: int, answer: Answer) -> None:
        self._kept[key] = (self._clock() + self._seconds, count, copy.deepcopy(answer))
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def _void(self, owners: Sequence[Key]) -> None:
        with self._lock:
            for shard in {_shard(owner) for owner in owners} or range(_SHARDS):
                self._counts[shard] += 1

    def forked(self) -> None:
        self._lock = threading.Lock()


def _shard(owner: Key) -> int:
    """Owners who share one void each other's answers, which costs a question and no more."""
    return hash(owner) % _SHARDS


_all: WeakSet[_Answers] = WeakSet()


def _all_forked() -> None:
    for answers in list(_all):
        answers.forked()


os.register_at_fork(after_in_child=_all_forked)
