"""``ShelfDriver``: the six methods over a shelf. What is given is checked here, once for all drivers."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from itertools import batched
from typing import Any

from memrelay.compat.memory_driver.base import BaseMemoryDriver, NewMemory, PartlyStored
from memrelay.compat.memory_driver.record import Found, Kind, Recall, Record, knowledge, to_dict
from memrelay.compat.memory_driver.room import Room
from memrelay.compat.memory_driver.shelf import MOST, Shelf
from memrelay.errors import MemrelayError
from memrelay.times import now_us


class ShelfDriver(BaseMemoryDriver):
    """A driver of ours. Nothing is opened before the first call; any thread may call it."""

    def __init__(self, name: str, make_shelf: Callable[[], Shelf], *, forks: bool = True) -> None:
        self.name = name
        self._room = Room(make_shelf, forks=forks)

    def recall(
        self,
        user_id: str,
        conversation_id: str | None = None,
        query: str | None = None,
        top_k: int = 10,
        use_vector: bool = True,
        exclude_tags: list[str] | None = None,
    ) -> list[dict[str, Any]]:
        asked = query is not None and query.strip() != ""
        recall = Recall(
            kind="memories",
            mode=("semantic" if use_vector else "keyword") if asked else "recent",
            top_k=_count(top_k),
            query=query or "",
            user_id=_name("user_id", user_id),
            conversation_id=_name_or_none("conversation_id", conversation_id),
            exclude_tags=_texts("exclude_tags", exclude_tags),
        )
        return self._found(recall)

    def recall_global_knowledge(
        self, query: str, top_k: int = 5, category: str | None = None
    ) -> list[dict[str, Any]]:
        category = _name_or_none("category", category)
        recall = Recall(
            kind="global_knowledge",
            mode="semantic" if query and query.strip() else "recent",
            top_k=_count(top_k),
            query=query or "",
            category=None if category is None else category.lower(),
        )
        return self._found(recall)

    def store(
        self,
        user_id: str,
        content: str,
        conversation_id: str | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        given: NewMemory = {
            "user_id": user_id,
            "content": content,
            "conversation_id": conversation_id,
            "tags": tags,
            "metadata": metadata,
        }
        return self._stored(_memory(given))

    def store_global_knowledge(
        self,
        content: str,
        category: str,
        title: str | None = None,
        doc_id: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        record = knowledge(
            content=_content(content),
            category=_name("category", category),
            title=title,
            doc_id=_name_or_none("doc_id", doc_id),
            metadata=_metadata(metadata),
            created_at=now_us(),
        )
        return self._stored(record)

    def delete(self, memory_id: str, user_id: str | None = None) -> bool:
        id, user = _name("memory_id", memory_id), _name_or_none("user_id", user_id)
        return self._run(lambda shelf: shelf.remove(id, user))

    def health_check(self) -> dict[str, Any]:
        about = {"driver": self.name}
        try:
            details = self._run(lambda shelf: shelf.check())
        except Exception as error:  # the promise of this one method
            return {**about, "status": "unhealthy", "connected": False, "error": str(error)}
        return {**about, "status": "healthy", "connected": True, **details}

    def store_many(self, memories: Sequence[NewMemory]) -> list[dict[str, Any]]:
        """Store them in batches, in order; ``PartlyStored`` if some are refused."""
        results = self.put([_memory(memory) for memory in memories])
        done = {n: to_dict(Found(r)) for n, r in enumerate(results) if isinstance(r, Record)}
        failed = {n: r for n, r in enumerate(results) if isinstance(r, MemrelayError)}
        if failed:
            raise PartlyStored(done, failed)
        return list(done.values())

    def put(self, records: Sequence[Record]) -> list[Record | MemrelayError]:
        """``Shelf.put`` for any number: as they are, ids and times included."""
        results: list[Record | MemrelayError] = []
        for part in batched(records, MOST):
            results += self._run(lambda shelf, part=part: shelf.put(part))  # type: ignore[misc]
        return results

    def page(self, kind: Kind, after: str | None = None, limit: int = MOST) -> list[Record]:
        """``Shelf.page``."""
        return self._run(lambda shelf: shelf.page(kind, after, limit))

    def close(self) -> None:
        self._room.close()

    def _run[T](self, work: Callable[[Shelf], Coroutine[Any, Any, T]]) -> T:
        return self._room.run(work)

    def _found(self, recall: Recall) -> list[dict[str, Any]]:
        return [to_dict(found) for found in self._run(lambda shelf: shelf.find(recall))]

    def _stored(self, record: Record) -> dict[str, Any]:
        [result] = self.put([record])
        if isinstance(result, MemrelayError):
            raise result
        return to_dict(Found(result))


def _memory(given: NewMemory) -> Record:
    return Record(
        kind="memories",
        content=_content(given["content"]),
        user_id=_name("user_id", given["user_id"]),
        conversation_id=_name_or_none("conversation_id", given.get("conversation_id")),
        tags=tuple(dict.fromkeys(_texts("tags", given.get("tags")))),
        metadata=_metadata(given.get("metadata")),
        created_at=now_us(),
    )


def _name(what: str, value: object) -> str:
    """Numbers are taken too: they are what a table's own ids look like."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text or "\0" in text:
        raise ValueError(f"{what} is a string that is not empty")
    return _unicode(what, text)


def _name_or_none(what: str, value: object) -> str | None:
    return None if value is None else _name(what, value)


def _content(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("content is a text that is not empty")
    return _unicode("content", value)


def _unicode(what: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} holds half of a surrogate pair, which is not text") from None
    return text


def _texts(what: str, values: Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(values, str) or not all(isinstance(value, str) for value in values or ()):
        raise ValueError(f"{what} is a list of strings")
    return tuple(_unicode(what, value) for value in values or ())


def _metadata(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """As JSON gives it back: what is stored is what is returned."""
    if given is not None and not isinstance(given, Mapping):
        raise ValueError("metadata is a dict")
    try:
        text = json.dumps(dict(given or {}), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"metadata is not JSON: {error}") from None
    metadata: dict[str, Any] = json.loads(_unicode("metadata", text))
    return metadata


def _count(top_k: object) -> int:
    if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
        raise ValueError("top_k is a number above 0")
    return top_k
